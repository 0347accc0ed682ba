"""Run folders that a crash, a full disk, an editor or an enemy damaged, and the commands that read them."""

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.fuzzing.campaign import Command, Report, Rules, called
from cortexzoo.harness.runs.run_folder import MANIFEST as RUN_MANIFEST
from cortexzoo.harness.runs.run_folder import SUMMARY, Run
from cortexzoo.harness.tracking.jsonl import EVENTS, METRICS
from cortexzoo.specs import load_experiment
from cortexzoo.specs.regular_files import read_regular
from cortexzoo.zoo.checkpoints import MANIFEST

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**9, 10**18, 10**400, 1.5, "", "x",
    "\x1b[31m", "../../x", [], [1], [[]], {}, {"a": 1}, "NaN",
)  # fmt: skip
READERS: tuple[tuple[str, ...], ...] = (
    ("check", "{run}", "--budget", "1s"),
    ("generate", "{run}", "--tokens", "2", "--prompt", "a"),
    ("compare", "{run}", "{other}", "--runs", "{runs}", "--allow-different"),
    ("monitor", "{run}", "--snapshot", "{runs}/seen.svg"),
    ("aim-sync", "{run}", "--runs", "{runs}"),
    ("replay", "{run}", "--property", "causality"),
    ("runs", "--runs", "{runs}"),
    ("show", "{run}"),
    ("train", "--resume", "{run}", "--trackers=jsonl", "--no-check"),
    ("train", "--resume", "{run}", "--trackers=jsonl", "--no-check", "--allow-changes", "--set", "recipe.steps=8"),
)
OTHER = "transformer"
"""What `compare` has beside the damaged run."""
Damage = Callable[[random.Random, Path], None]


def attacked(
    seed: int, cases: int, run: Path, folder: Path, command: Command, watch: Callable[[Report], None]
) -> Report:
    """Damage copies of `run` in `folder` and read each with one of the commands; equal seeds, equal cases.

    Each must end with a documented code in bounded time and lines; where it ends with 2 or 3, the folder is unchanged.
    """
    report = Report("checkpoints", seed)
    rules = Rules(codes=frozenset({0, 1, 2, 3}), seconds=60.0, megabytes=500.0)
    copy = folder / run.parent.name / run.name
    other = _other(run, folder / "others")
    for number in range(cases):
        dice = random.Random(f"{seed}/{number}")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run, copy)
        damage = dice.choice(DAMAGES)
        damage(dice, copy)
        if dice.random() < 0.7:
            _sum_again(copy)
        arguments = [part.format(run=copy, other=other, runs=folder) for part in dice.choice(READERS)]
        before = _contents(copy)
        outcome = called(command, arguments)
        breaches = outcome.breaches(rules)
        if outcome.code in (2, 3) and _contents(copy) != before:
            breaches.append("the folder changed")
        report.add(number, outcome, [f"{damage.__name__.strip('_')}: {breach}" for breach in breaches])
        watch(report)
    return report


def _other(run: Path, runs: Path) -> Path:
    """A sound run of another variant, with the records and the verdicts of `run`."""
    made = Run.create(runs, load_experiment(OTHER))
    for name in (METRICS, EVENTS, SUMMARY, VERDICT):
        if (run / name).exists():
            shutil.copyfile(run / name, made.path / name)
    names = {"experiment": made.spec.name, "spec_hash": made.spec.hash(), "run": made.path.name}
    made.write_json(RUN_MANIFEST, {**Run.open(run).manifest, **names})
    return made.path


def _contents(run: Path) -> dict[str, str]:
    """A sum of every file, without the lock that a reader may leave."""
    found = {}
    for path in sorted(run.rglob("*")):
        if path.name != ".lock":
            regular = path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 26
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if regular else "other"
    return found


def _sum_again(run: Path) -> None:
    """Bring the sums of each checkpoint into step with its files, as somebody would who edits them on purpose."""
    for file in run.glob(f"checkpoints/*/{MANIFEST}"):
        try:
            manifest = json.loads(read_regular(file))
            for name in manifest["files"]:
                path = file.parent / name
                if path.is_file() and path.stat().st_size < 1 << 26:
                    manifest["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
            file.write_text(json.dumps(manifest))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue


def _files(run: Path, *endings: str) -> Sequence[Path]:
    return [path for path in sorted(run.rglob("*")) if path.is_file() and (not endings or path.suffix in endings)]


def _value(dice: random.Random, run: Path) -> None:
    """Another value, or none, somewhere in a JSON file."""
    file = dice.choice(_files(run, ".json"))
    content = json.loads(file.read_text())
    holder = content
    while isinstance(holder, dict | list) and holder:
        key: Any = dice.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        inner = holder[key]
        if isinstance(inner, dict | list) and inner and dice.random() < 0.7:
            holder = inner
            continue
        if dice.random() < 0.3:
            del holder[key]
        else:
            holder[key] = dice.choice(VALUES)
        break
    file.write_text(json.dumps(content))


def _line(dice: random.Random, run: Path) -> None:
    """A line of a record twice, gone, swapped, cut or of another form."""
    file = dice.choice([path for path in _files(run, ".jsonl") if path.stat().st_size] or _files(run))
    lines = file.read_bytes().split(b"\n")
    at = dice.randrange(len(lines))
    match dice.randrange(6):
        case 0:
            lines.insert(at, lines[at])
        case 1:
            del lines[at]
        case 2:
            lines[at : at + 2] = reversed(lines[at : at + 2])
        case 3:
            lines[at] = lines[at][: len(lines[at]) // 2]
        case 4:
            lines[at] = dice.choice(
                (b"[]", b"1", b"{}", b'{"step": "1"}', b'{"step": 1e9}', b"[" * 5000, b'{"step": 1}')
            )
        case _:
            lines[at] = lines[at].replace(b":", b': "x", "y":', 1)
    file.write_bytes(b"\n".join(lines))


def _bytes(dice: random.Random, run: Path) -> None:
    """Flipped, cut or empty bytes of any file."""
    file = dice.choice(_files(run))
    content = bytearray(file.read_bytes())
    match dice.randrange(3):
        case 0:
            for _ in range(min(len(content), 4)):
                content[dice.randrange(len(content))] = dice.randrange(256)
        case 1:
            del content[dice.randrange(len(content) + 1) :]
        case _:
            content.clear()
    file.write_bytes(content)


def _gone(dice: random.Random, run: Path) -> None:
    """A file or folder that is missing."""
    path = dice.choice(sorted(run.rglob("*")))
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _no_file(dice: random.Random, run: Path) -> None:
    """A link, a pipe, a device or a folder in place of a file; or one that is far too large."""
    file = dice.choice(_files(run))
    file.unlink()
    match dice.randrange(6):
        case 0:
            file.symlink_to("/dev/zero")
        case 1:
            os.mkfifo(file)
        case 2:
            file.symlink_to(file)
        case 3:
            file.mkdir()
        case 4:
            file.symlink_to("/etc/hostname")
        case _:
            with file.open("wb") as large:
                large.truncate(1 << 42)


def _deep(dice: random.Random, run: Path) -> None:
    """JSON that is nested too deeply, or contains a number of too many digits."""
    file = dice.choice(_files(run, ".json", ".jsonl"))
    file.write_text(dice.choice(("[" * 100_000, '{"a":' * 50_000, "9" * 100_000, '{"a": 1e999}', "nul", "\x00", "{}")))


DAMAGES: tuple[Damage, ...] = (_value, _value, _value, _value, _line, _line, _bytes, _gone, _no_file, _deep)
