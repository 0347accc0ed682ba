"""Checkpoints: whole wherever writing is cut short or fails; what is damaged, or of another model, is refused."""

import copy
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, text
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.cutter import CUTTER, Step
from cortexzoo.harness.checking.training.saving import accepted, equal, not_written, of_policies
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.errors import CheckpointError

MOST = 200
"""Operations after which the harness stops counting."""


def interruption_cases(_: Subject) -> Iterable[Case]:
    """The first checkpoint, one in the place of another, with the other kept, pruning, going back; damage."""
    for what in (*OPERATIONS, "damaged", "of another model", "of policies", "not written"):
        yield {"what": what}


def checkpoints_survive_interruption(subject: Subject, case: Case) -> Finding:
    """Each operation that changes a folder is the last one once; then reading and the same again must work."""
    what = text(case, "what")
    with tempfile.TemporaryDirectory() as name, torch.random.fork_rng(devices=[]):
        if what == "damaged":
            wrong = _damaged(Path(name))
        elif what == "of another model":
            wrong = _of_another(Path(name))
        elif what == "of policies":
            wrong = of_policies(subject, Path(name))
        elif what == "not written":
            wrong = not_written(subject, Path(name)) + _without_links(Path(name))
        else:
            wrong = _cut_short(what, Path(name))
    if not wrong:
        return Finding(0, "nothing was lost, and nothing wrong was read", case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0]})


def _save(folder: Path, value: int, keep: Path | None = None) -> None:
    checkpoints.begin(folder)
    weights = torch.full((3,), float(value))
    tensors: Mapping[str, Mapping[str, Tensor]] = {
        "model": {"weight": weights, "tied": weights},
        "rng": {"cpu": weights},
    }
    checkpoints.write_files(folder, tensors, {"trainer": {"position": value}})
    checkpoints.publish(folder, keep)


def _saved(folder: Path) -> int | None:
    """Which checkpoint is read; None: there is none. Raises `CheckpointError` also for a mixture of two."""
    if not checkpoints.exists(folder):
        return None
    reader = CheckpointReader(folder)
    found = {float(tensor.mean()) for name in ("model", "rng") for tensor in reader.tensors(name).values()}
    found.add(float(reader.json("trainer")["position"]))
    names = set(reader.tensors("model"))
    if len(found) != 1 or names != {"weight", "tied"}:
        raise CheckpointError(f"{folder}: has {sorted(found)} and {sorted(names)}")
    return int(found.pop())


def _without_links(folder: Path) -> list[str]:
    """What is kept where a file cannot have a second name."""
    with patch.object(os, "link", side_effect=OSError):
        _save(folder / "last", 1)
        _save(folder / "last", 2, folder / "kept")
    found = (_saved(folder / "last"), _saved(folder / "kept"))
    return [] if found == (2, 1) else [f"without links the checkpoints {found} are there, not (2, 1)"]


def _saved_at_all(folder: Path) -> None:
    reader = CheckpointReader(folder)
    reader.tensors("model"), reader.tensors("rng"), reader.json("trainer")


LAST, STEPS = "last", tuple(f"step-{number:02d}" for number in range(1, 5))


def _save_all(folder: Path) -> None:
    for number, name in enumerate(STEPS, start=1):
        _save(folder / name, number)
    _save(folder / LAST, 9)


@dataclass(frozen=True)
class _Operation:
    """Something that changes the checkpoints of a folder."""

    before: Step
    """What makes the folder."""
    change: Step
    cut: Mapping[str, set[int | None]]
    """What each checkpoint may be where it was cut short; None: absent."""
    end: Mapping[str, int]
    """All checkpoints at the end."""


OPERATIONS = {
    "first": _Operation(lambda folder: None, lambda folder: _save(folder / LAST, 2), {LAST: {None, 2}}, {LAST: 2}),
    "replaced": _Operation(
        lambda folder: _save(folder / LAST, 1), lambda folder: _save(folder / LAST, 2), {LAST: {1, 2}}, {LAST: 2}
    ),
    "kept": _Operation(
        lambda folder: _save(folder / LAST, 1),
        lambda folder: _save(folder / LAST, 2, folder / STEPS[0]),
        {LAST: {1, 2}, STEPS[0]: {None, 1}},
        {LAST: 2, STEPS[0]: 1},
    ),
    "pruned": _Operation(
        _save_all,
        lambda folder: checkpoints.prune(folder, "step-", 2),
        {STEPS[0]: {None, 1}, STEPS[1]: {None, 2}, STEPS[2]: {3}, STEPS[3]: {4}, LAST: {9}},
        {STEPS[2]: 3, STEPS[3]: 4, LAST: 9},
    ),
    "nothing to prune": _Operation(
        _save_all,
        lambda folder: checkpoints.prune(folder, "step-", 6),
        {**{name: {number} for number, name in enumerate(STEPS, start=1)}, LAST: {9}},
        {**{name: number for number, name in enumerate(STEPS, start=1)}, LAST: 9},
    ),
    "set back": _Operation(
        _save_all,
        lambda folder: checkpoints.set_back(folder / LAST, folder / STEPS[1], "step-", 2),
        {STEPS[0]: {1}, STEPS[1]: {2}, STEPS[2]: {None, 3}, STEPS[3]: {None, 4}, LAST: {9, 2}},
        {STEPS[0]: 1, STEPS[1]: 2, LAST: 2},
    ),
}


def _cut_short(what: str, place: Path) -> list[str]:
    operation, whole = OPERATIONS[what], place / "whole"
    whole.mkdir()
    operation.before(whole)
    for after in range(MOST):
        folder = place / f"cut-{after}"
        shutil.copytree(whole, folder)
        ended = CUTTER.run(operation.change, folder, after)
        torn = place / f"torn-{after}"
        if CUTTER.writing is not None and not ended:
            shutil.copytree(folder, torn)
        wrong = _mistakes(operation, folder, f"{what}, cut short after {after} operations")
        if torn.exists() and CUTTER.writing is not None:
            file = torn / CUTTER.writing.relative_to(folder)
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
            wrong += _mistakes(operation, torn, f"{what}, cut short while {file.name} is written")
        if ended or wrong:
            return wrong
    return [f"{what} takes more than {MOST} operations"]


def _mistakes(operation: _Operation, folder: Path, when: str) -> list[str]:
    """In what is read now, and once the operation was done again."""
    wrong = _read_as(folder, when, operation.cut)
    try:
        operation.change(folder)
    except (CheckpointError, OSError) as problem:
        wrong.append(f"{when}: the same again fails: {type(problem).__name__}")
    wrong += _read_as(folder, f"{when}, then done again", {name: {n} for name, n in operation.end.items()})
    if left := {path.name for path in folder.iterdir()} ^ set(operation.end):
        wrong.append(f"{when}, then done again: {sorted(left)[0]} is left or gone")
    shutil.rmtree(folder)
    return wrong


def _read_as(folder: Path, when: str, wanted: Mapping[str, set[int | None]]) -> list[str]:
    wrong = []
    for name, values in wanted.items():
        try:
            found: Any = _saved(folder / name)
        except (CheckpointError, OSError, KeyError) as problem:
            found = type(problem).__name__
        if found not in values:
            wrong.append(f"{when}: {name} is {_named(found)}, should be {' or '.join(map(_named, values))}")
    return wrong


def _named(found: Any) -> str:
    return "absent" if found is None else f"that of {found}" if isinstance(found, int) else str(found)


def _damaged(place: Path) -> list[str]:
    """Every file cut, changed in one byte, or gone."""
    folder, wrong = place / "last", []
    _save(folder, 1)
    for file in sorted(path.name for path in folder.iterdir()):
        content = (folder / file).read_bytes()
        middle = len(content) // 2
        for how, changed in {
            "cut": content[:middle],
            "changed": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            "gone": None,
        }.items():
            (folder / file).unlink() if changed is None else (folder / file).write_bytes(changed)
            wrong += accepted(f"{file} is {how}", lambda: _saved_at_all(folder))
            (folder / file).write_bytes(content)
    foreign = place / "foreign"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("of somebody", encoding="utf-8")
    wrong += accepted("a folder of somebody else's is to be replaced", lambda: _save(foreign, 1))
    if not (foreign / "notes.txt").exists():
        wrong.append("a file of somebody else is gone")
    return wrong


def _of_another(place: Path) -> list[str]:
    """Weights are those of the folder; those of another model are refused, and change nothing."""
    folder, saved = place / "last", nn.Linear(3, 2)
    checkpoints.begin(folder)
    checkpoints.write_files(folder, {"model": saved.state_dict()}, {})
    checkpoints.publish(folder)
    same = nn.Linear(3, 2)
    checkpoints.load_weights(same, folder)
    wrong = [] if equal(same, saved) else ["the weights are not those that were saved"]
    for what, other in {"wider": nn.Linear(4, 2), "without bias": nn.Linear(3, 2, bias=False),
                        "nested": nn.Sequential(nn.Linear(3, 2))}.items():  # fmt: skip
        before = copy.deepcopy(other)
        wrong += accepted(f"a model is {what}", partial(checkpoints.load_weights, other, folder))
        if not equal(other, before):
            wrong.append(f"a model that is {what} was changed")
    return wrong


INTERRUPTION = (Property("checkpoints_survive_interruption", checkpoints_survive_interruption, interruption_cases),)
