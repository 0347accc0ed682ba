"""Valid specs at the edges of their ranges: shown, so that their models are built without values, and some trained."""

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import torch

from cortexzoo.harness.errors import lines_and_code, print_errors
from cortexzoo.harness.fuzzing.campaign import CaseResult, Command, Report, Rules, called
from cortexzoo.harness.fuzzing.disk import limited
from cortexzoo.harness.fuzzing.killing import in_a_process
from cortexzoo.specs import ExperimentSpec, SpecError, load_experiment
from cortexzoo.specs.loading.dumping import dump_yaml
from cortexzoo.specs.loading.shipped import shipped_names
from cortexzoo.specs.loading.slots import Slot, field_slots, scalar_types

BUILT = Rules(codes=frozenset({0, 2, 3}), seconds=20.0, megabytes=3000.0)
TRAINED = Rules(codes=frozenset({0, 2, 3}), seconds=1e6, megabytes=1e6)
TRAINED_EVERY, SHOWN_EVERY = 10, 20
PATIENCE = 60.0
"""Seconds for two steps; a training that takes longer is ended, and breaks no rule."""
MOST_MEMORY = 2 << 30
"""Bytes that a training may take on top."""
MOST_CHANGES = 4
ATTEMPTS = 40
MADE_ELSEWHERE = ("hub", "folder", "gguf", "package", "trained")
"""Bases that are no part of the package, or that take minutes to train."""
PARTS = ("variant", "recipe", "data")
SMALL = (
    "variant.hidden_size=48", "recipe.batch_size=2", "recipe.sequence_length=32", "recipe.steps=2",
    "recipe.monitor.validation_sequences=2",
)  # fmt: skip
"""What most of a trained experiment is before its changes; a change that the spec refuses is left out."""
WHOLE = (2, 3, 7, 64, 1000, 65_537, 10**6, 10**9, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1)
REAL = (1e-300, 1e-30, 1e-9, 0.5, 1.0, 3.0, 1e4, 1e15, 1e300)
Content = dict[str, Any]
Place = tuple[tuple[str, ...], Any]
"""The keys of a value, and one to put there."""


def attacked(seed: int, cases: int, folder: Path, command: Command, watch: Callable[[Report], None]) -> Report:
    """Build experiments with up to four values at an edge of their range on the meta device.

    Every tenth is trained for two steps instead, every twentieth shown with its costs. All of them are valid. None may
    end with a traceback; what cannot be built or trained is refused in plain lines.
    """
    report = Report("edges", seed)
    for name in shipped_names("experiment"):
        called(command, ["show", name])
    for number in range(cases):
        dice = random.Random(f"{seed}/{number}")
        trains = number % TRAINED_EVERY == TRAINED_EVERY - 1
        experiment, places = drawn(dice, trains)
        file = folder / "edge.yaml"
        file.write_text(dump_yaml(experiment), encoding="utf-8")
        if trains:
            outcome, breaches = _trained(file, folder, command)
        else:
            shown = number % SHOWN_EVERY == 0
            outcome = called(command, ["show", str(file)]) if shown else called(_build, [str(file)])
            breaches = outcome.breaches(BUILT)
        report.add(number, outcome, [f"{', '.join(places)}: {breach}" for breach in breaches])
        watch(report)
    return report


def drawn(dice: random.Random, small: bool) -> tuple[ExperimentSpec, list[str]]:
    """A valid experiment, and its changed places with their values."""
    while True:
        base = dice.choice(shipped_names("experiment"))
        data = dice.choice(shipped_names("data")) if dice.random() < 0.3 else None
        if (text := _base(base, data, small)) is None:
            continue
        content: Content = json.loads(text)
        changed: list[str] = []
        wanted = dice.randint(1, MOST_CHANGES)
        for _ in range(ATTEMPTS):
            places = _places(dice, content, Slot.of_type(ExperimentSpec))
            keys, value = dice.choice([place for place in places if place[0] and place[0][0] in PARTS])
            other = json.loads(json.dumps(content))
            _put(other, keys, value)
            try:
                ExperimentSpec.model_validate_json(json.dumps(other))
            except ValueError:
                continue
            content = other
            changed.append(f"{'.'.join(keys)}={json.dumps(value)}"[:80])
            if len(changed) == wanted:
                return ExperimentSpec.model_validate_json(json.dumps(content)), [base, *filter(None, [data]), *changed]


def _build(arguments: Sequence[str]) -> int:
    """The model of a spec file, without values; an error ends as in a command."""
    from cortexzoo.zoo.build import build_model

    try:
        with torch.device("meta"):
            build_model(load_experiment(arguments[0]).variant)
    except Exception as problem:
        if (described := lines_and_code(problem)) is None:
            raise
        print_errors(described[0])
        return described[1]
    return 0


@cache
def _base(name: str, data: str | None, small: bool) -> str | None:
    """A shipped experiment with its own data or other, as JSON; None: they do not fit."""
    changes = ["variant=cortex-v2-hybrid-scratch"] if small and name == "cortex-v2-hybrid" else []
    changes += [f"data={data}"] if data else []
    for change in ("", *SMALL) if small else ("",):
        try:
            experiment = load_experiment(name, [*changes, *filter(None, [change])])
        except SpecError:
            if not change:
                return None
            continue
        changes += filter(None, [change])
    return experiment.model_dump_json()


def _places(dice: random.Random, content: Any, slot: Slot, keys: tuple[str, ...] = ()) -> Iterator[Place]:
    """Every value below `content` that could be another one, with one that it could be."""
    if classes := slot.classes():
        tags = [tag for tag in classes if tag and tag not in MADE_ELSEWHERE]
        if slot.tag_key is not None and tags:
            yield keys, {slot.tag_key: dice.choice(tags)}
        chosen = classes[str(content[slot.tag_key]) if slot.tag_key else ""] if isinstance(content, dict) else None
        for name, inner in field_slots(chosen).items() if chosen else ():
            if name in content and name not in ("provenance", "name", "description", "kind", "family", slot.tag_key):
                yield from _places(dice, content[name], inner, (*keys, name))
    elif get_origin(slot.annotation) is dict and isinstance(content, dict):
        for name, value in content.items():
            yield from _places(dice, value, Slot.of_type(get_args(slot.annotation)[1]), (*keys, name))
    else:
        values = [value for kind in scalar_types(slot.annotation) for value in edges(kind, slot.metadata)]
        if values:
            yield keys, dice.choice(values)


def edges(kind: Any, marks: tuple[Any, ...]) -> list[Any]:
    """The values of a scalar type at and near its bounds; none for texts and lists."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if kind is bool:
        return [True, False]
    if kind is type(None):
        return [None]
    if kind not in (int, float):
        return []
    found: list[Any] = list(WHOLE if kind is int else REAL)
    for mark in marks:
        for name, inside in (("gt", 1), ("ge", 0), ("lt", -1), ("le", 0)):
            edge = getattr(mark, name, None)
            if edge is not None and kind is int:
                found += [edge + inside, edge + inside + (1 if name in ("gt", "ge") else -1)] * 4
            elif edge is not None:
                found += [edge + inside * 1e-12, edge + inside * 1e-3] * 4
    return found


def _put(content: Content, keys: tuple[str, ...], value: Any) -> None:
    *way, last = keys
    for key in way:
        content = content[key]
    content[last] = value


def _trained(file: Path, folder: Path, command: Command) -> tuple[CaseResult, list[str]]:
    words = folder / "words"
    words.unlink(missing_ok=True)
    arguments = ["train", str(file), "--trackers=jsonl", "--no-check", "--runs", str(folder / "runs")]
    began = time.perf_counter()
    code = in_a_process(limited, "RLIMIT_DATA", MOST_MEMORY, words, command, arguments, kill_after=PATIENCE)
    seconds = time.perf_counter() - began
    errors = words.read_text(errors="replace") if words.exists() else ""
    outcome = CaseResult(tuple(arguments), code, "", errors, seconds, 0.0)
    return outcome, [] if code == -9 and seconds >= PATIENCE else outcome.breaches(TRAINED)
