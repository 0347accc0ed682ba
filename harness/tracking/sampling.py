"""Records of very long runs: every loss, and of everything else a sample, since all of it fits into no reader's patience."""

from array import array
from dataclasses import dataclass
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

    Raises `ValueError` naming file and line for one that is no record, or whose step does not ascend; `OSError` for what
    is no regular file.
    """
    with open_regular(path, MOST_BYTES) as file:
        places, keys, steps, with_loss, losses, end = _scan(path, file)
        lines = []
        for index in _chosen(keys, with_loss, losses).tolist():
            file.seek(places[index])
            line = parse_line(file.readline(LONGEST_LINE))
            if not isinstance(line, dict):
                raise ValueError(f"{path}:{index + 1}: not a JSON object")
            lines.append((index + 1, line))
    return Sample(lines, steps[with_loss], losses, end)


def _scan(
    path: Path, file: BinaryIO
) -> tuple[
    "array[int]",
    Int[ndarray, " lines"],
    Int[ndarray, " lines"],
    Int[ndarray, " losses"],
    Float[ndarray, " losses"],
    int,
]:
    """Of each line its place, number of keys and step; the indices of those with a loss, and it; the end of the last."""
    places, keys, steps, with_loss, losses = array("q"), array("q"), array("q"), array("q"), array("d")
    place = before = 0
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
            raise ValueError(
                f"{path}:{number}: has step {step}, which must be above {before}, the step of the line before"
            )
        places.append(place)
        keys.append(line.count(b","))
        steps.append(step)
        if loss is not None:
            with_loss.append(number - 1)
            losses.append(loss)
        place, before = place + len(line), step
    return places, np.array(keys), np.array(steps), np.array(with_loss, np.int64), np.array(losses), place


def _step_and_loss(line: bytes) -> tuple[int, float | None]:
    """Read from the text of the line, as `JsonlSink` writes it. `float` reads the strings for what JSON lacks, too."""
    if not line.startswith(_STEP):
        raise ValueError
    step = int(line[len(_STEP) : line.index(b",")])
    at = line.find(_LOSS)
    return step, None if at < 0 else float(line[at + len(_LOSS) : line.index(b",", at)].strip(b'"'))


def _chosen(
    keys: Int[ndarray, " lines"], with_loss: Int[ndarray, " losses"], losses: Float[ndarray, " losses"]
) -> Int[ndarray, " chosen"]:
    """The indices of the lines that are parsed."""
    found = [np.arange(max(0, len(keys) - LAST), len(keys))]
    for count in np.unique(keys):
        alike = np.flatnonzero(keys == count)
        found.append(alike[np.linspace(0, len(alike) - 1, min(len(alike), EACH)).astype(int)])
    parts = zip(np.array_split(with_loss, EACH), np.array_split(np.nan_to_num(losses, nan=np.inf), EACH), strict=True)
    found += [indices[[np.argmax(some)]] for indices, some in parts if len(some)]
    return np.unique(np.concatenate(found))
