"""Records of very long runs, of which reading everything takes too long: every loss, and a sample of the rest."""

from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from cortexzoo.harness.tracking.jsonl import LONGEST_LINE, MOST_BYTES, parse_line
from cortexzoo.specs.regular_files import open_regular

LARGE = 64 << 20
"""Bytes of records from which on a sample is read: some 100,000 steps."""
EACH = 8192
"""Lines that are read of those with equally many metrics: steps, steps with validation, and so on."""
LAST = 512
"""Lines at the end that are all read."""
LOSS = "train/loss"
_STEP, _LOSS = b'{"step": ', f'"{LOSS}": '.encode()


@dataclass(frozen=True)
class Sample:
    """What was read of a file of metrics."""

    lines: list[tuple[int, dict[str, Any]]]
    """Number and content of the chosen lines, ascending: evenly spread, with the highest losses and the last lines."""
    steps: Int[ndarray, " losses"]
    """The steps that have a training loss, all of them."""
    losses: Float[ndarray, " losses"]
    end: int
    """Bytes up to the end of the last whole line."""


def sampled(path: Path) -> Sample:
    """Sample a file of `metrics.jsonl`, of which each line is looked at and few are parsed.

    Raises `ValueError` naming file and line for one that is no record, or whose step does not ascend; `OSError` for
    what is no regular file.
    """
    with open_regular(path, MOST_BYTES) as file:
        found = _scanned(path, file)
        lines = []
        for index in _chosen(found).tolist():
            file.seek(found.places[index])
            line = parse_line(file.readline(LONGEST_LINE))
            if not isinstance(line, dict):
                raise ValueError(f"{path}:{index + 1}: not a JSON object")
            lines.append((index + 1, line))
    steps = np.array(found.steps)[np.array(found.with_loss, np.int64)]
    return Sample(lines, steps, np.array(found.losses), found.end)


@dataclass
class _Lines:
    """What is known of each line without parsing it."""

    places: "array[int]" = field(default_factory=lambda: array("q"))
    keys: "array[int]" = field(default_factory=lambda: array("q"))
    """How many it has: lines with as many are alike."""
    steps: "array[int]" = field(default_factory=lambda: array("q"))
    with_loss: "array[int]" = field(default_factory=lambda: array("q"))
    """Indices of the lines that have a loss."""
    losses: "array[float]" = field(default_factory=lambda: array("d"))
    end: int = 0


def _scanned(path: Path, file: BinaryIO) -> _Lines:
    found = _Lines()
    before = 0
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
        if not line.endswith(b"\n"):
            if len(line) == LONGEST_LINE:
                raise ValueError(f"{path}:{number}: longer than {LONGEST_LINE} bytes")
            break
        try:
            step, loss = _step_and_loss(line)
        except ValueError:
            raise ValueError(f"{path}:{number}: not a line of metrics that begins with its step") from None
        if step <= before:
            raise ValueError(f"{path}:{number}: has step {step}, which must be above {before}, that of the line before")
        found.places.append(found.end)
        found.keys.append(line.count(b","))
        found.steps.append(step)
        if loss is not None:
            found.with_loss.append(number - 1)
            found.losses.append(loss)
        found.end += len(line)
        before = step
    return found


def _step_and_loss(line: bytes) -> tuple[int, float | None]:
    """Read from the text of the line, as `JsonlSink` writes it. `float` reads the strings for what JSON lacks, too."""
    if not line.startswith(_STEP):
        raise ValueError
    step = int(line[len(_STEP) : line.index(b",")])
    at = line.find(_LOSS)
    return step, None if at < 0 else float(line[at + len(_LOSS) : line.index(b",", at)].strip(b'"'))


def _chosen(found: _Lines) -> Int[ndarray, " chosen"]:
    """The indices of the lines that are parsed."""
    keys, with_loss = np.array(found.keys), np.array(found.with_loss, np.int64)
    losses = np.nan_to_num(np.array(found.losses), nan=np.inf)
    chosen = [np.arange(max(0, len(keys) - LAST), len(keys))]
    for count in np.unique(keys):
        alike = np.flatnonzero(keys == count)
        chosen.append(alike[np.linspace(0, len(alike) - 1, min(len(alike), EACH)).astype(int)])
    parts = zip(np.array_split(with_loss, EACH), np.array_split(losses, EACH), strict=True)
    chosen += [indices[[np.argmax(some)]] for indices, some in parts if len(some)]
    return np.unique(np.concatenate(chosen))
