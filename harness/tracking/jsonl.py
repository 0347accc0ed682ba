"""The truth about a run: one JSON object a line, on disk as soon as it is written."""

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cortexzoo.harness.errors import RunStopped
from cortexzoo.specs.regular_files import open_regular

METRICS = "metrics.jsonl"
EVENTS = "events.jsonl"
RECORDS = {"sample": "probes.jsonl", "drift": "drift.jsonl"}
"""Kinds of events that have a file of their own: there are many of them, or they are read on their own."""

MOST_BYTES = 8 << 30
"""Of one file of records: ten million steps."""
LONGEST_LINE = 1 << 22

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def to_json_value(value: Any) -> Any:
    """`value` with the floats that JSON lacks written as the strings `NaN`, `Infinity` and `-Infinity`."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): to_json_value(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_value(entry) for entry in value]
    return value


def from_json_value(value: Any) -> Any:
    """The inverse of `to_json_value`."""
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: from_json_value(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [from_json_value(entry) for entry in value]
    return value


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, without the last line where a killed writer left it unfinished.

    Raises `ValueError` naming file and line for any other line that is no JSON object, `OSError` for what is no regular
    file.
    """
    with open_regular(path, MOST_BYTES) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
            if len(line) == LONGEST_LINE:
                raise ValueError(f"{path}:{number}: longer than {LONGEST_LINE} bytes")
            if not line.endswith(b"\n"):
                return
            entry = parse_line(line)
            if not isinstance(entry, dict):
                raise ValueError(f"{path}:{number}: not a JSON object")
            yield entry


def cut_after(paths: Sequence[Path], step: int) -> None:
    """Drop every line of a later step, and a line that a killed writer left unfinished. Nothing where no file is.

    Raises `ValueError` as `read_lines` does, and then cuts none of the files; `OSError`.
    """
    for path, size in require_whole(paths, step):
        if size < path.stat().st_size:
            os.truncate(path, size)


def require_whole(paths: Sequence[Path], step: int) -> list[tuple[Path, int]]:
    """Each file that exists, and the bytes of its lines up to a step. Raises as `read_lines`."""
    return [(path, _bytes_until(path, step)) for path in paths if path.exists()]


def _bytes_until(path: Path, step: int) -> int:
    kept = 0
    with open_regular(path, MOST_BYTES) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), start=1):
            if not line.endswith(b"\n"):
                break
            entry = parse_line(line)
            if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
                raise ValueError(f"{path}:{number}: not a JSON object")
            if entry["step"] > step:
                break
            kept += len(line)
    return kept


def parse_line(line: str | bytes) -> Any:
    """The value of a line, with the floats that JSON lacks; None for a line that is no JSON."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    # Looking for their names first makes reading twice as fast: hardly a line contains one.
    text = line.decode(errors="replace") if isinstance(line, bytes) else line
    return from_json_value(value) if "NaN" in text or "Infinity" in text else value


class JsonlSink:
    """Appends to `metrics.jsonl`, `events.jsonl` and files of `RECORDS`. Raises `RunStopped` when it cannot write."""

    name = "JSONL"
    identity = None

    def __init__(self, folder: Path) -> None:
        self._metrics = _LineFile(folder / METRICS)
        self._events = _LineFile(folder / EVENTS)
        self._records: dict[str, _LineFile] = {}
        self._folder = folder

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        numbers = {name: float(value) for name, value in values.items()}
        self._metrics.append({"step": step, **numbers, "time": time.time()})

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        if kind in RECORDS:
            self._record(kind).append({"step": step, **detail, "time": time.time()})
            return
        self._events.append({"step": step, "kind": kind, "detail": dict(detail), "time": time.time()})
        if kind == "checkpoint":
            # Announced before it is written: so no checkpoint survives a power cut that its records do not.
            for file in self._files:
                file.flush()

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        """Nothing: the run folder has files of its own for each."""

    def close(self) -> None:
        for file in self._files:
            file.close()

    @property
    def _files(self) -> list["_LineFile"]:
        return [self._metrics, self._events, *self._records.values()]

    def _record(self, kind: str) -> "_LineFile":
        if kind not in self._records:
            self._records[kind] = _LineFile(self._folder / RECORDS[kind])
        return self._records[kind]


class _LineFile:
    """Unbuffered: a line is with the operating system once `append` returns, so a killed run keeps every line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("ab", buffering=0)
        except OSError as problem:
            raise self._stopped(problem) from problem

    def append(self, entry: Mapping[str, object]) -> None:
        line = json.dumps(to_json_value(entry), allow_nan=False, ensure_ascii=False) + "\n"
        rest = memoryview(line.encode())
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as problem:
            raise self._stopped(problem) from problem

    def flush(self) -> None:
        """Everything appended so far is on disk afterwards."""
        try:
            os.fsync(self._file.fileno())
        except OSError as problem:
            raise self._stopped(problem) from problem

    def close(self) -> None:
        self._file.close()

    def _stopped(self, problem: OSError) -> RunStopped:
        return RunStopped(f"{self._path}: cannot be written: {problem.strerror or problem}")
