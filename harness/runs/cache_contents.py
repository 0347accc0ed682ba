"""What the cache folder has: bases, tokenizers and trainings that can be made again, each with its size and use."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from cortexzoo.harness.errors import Failure
from cortexzoo.harness.runs.cache import cache
from cortexzoo.zoo.cache import cache_folder
from cortexzoo.zoo.checkpoints import MANIFEST, CheckpointReader
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.ops import compiled

KINDS = {"trained": "trainings", "bases": "base", "tokenizers": "tokenizer", "kernels": "kernel"}
State = Literal["whole", "damaged", "of other code"]


@dataclass(frozen=True)
class Kept:
    """One entry of the cache."""

    path: Path
    kind: str
    size: int
    """Bytes."""
    used: float
    """Seconds since the epoch at which a file in it was last written."""
    current: bool
    """Whether this version of the code would use it."""


def kept(folder: Path | None = None) -> list[Kept]:
    """Everything in the cache, the oldest first."""
    folder = folder or cache_folder()
    found = []
    for name, kind in KINDS.items():
        for path in (folder / name).glob("[!.]*") if (folder / name).is_dir() else ():
            if path.suffix != ".lock" and not path.is_symlink():
                size, used = _measured(path)
                found.append(Kept(path, kind, size, used, name != "trained" or path.name == cache().name))
    return sorted(found, key=lambda entry: entry.used)


def state_of(entry: Kept) -> State:
    """Whether every checkpoint in it has the sums that its manifest names. No content is executed or unpickled."""
    if entry.kind == "kernel":
        return "whole" if compiled.is_whole(entry.path) else "damaged"
    try:
        for manifest in entry.path.rglob(MANIFEST):
            if _is_checkpoint(manifest):
                reader = CheckpointReader(manifest.parent)
                for file in reader.sums:
                    reader.verified(file)
    except CheckpointError:
        return "damaged"
    return "whole" if entry.current else "of other code"


def to_prune(entries: Sequence[Kept], most: int) -> list[Kept]:
    """Trainings of other code, then the oldest, until the rest takes at most `most` bytes."""
    removed = [entry for entry in entries if not entry.current]
    left = [entry for entry in entries if entry.current]
    while left and sum(entry.size for entry in left) > most:
        removed.append(left.pop(0))
    return removed


def remove(entry: Kept) -> bool:
    """Remove an entry, unless a process is making it. Raises `Failure`."""
    locks = [entry.path.with_suffix(".lock")] if entry.path.is_dir() else []
    locks += list(entry.path.glob("*.lock")) if entry.path.is_dir() else []
    held = []
    try:
        for path in locks:
            lock = FileLock(path, timeout=0)
            lock.acquire()
            held.append(lock)
        shutil.rmtree(entry.path) if entry.path.is_dir() else entry.path.unlink()
    except Timeout:
        return False
    except OSError as problem:
        raise Failure(f"{entry.path}: cannot be removed: {problem.strerror or problem}") from problem
    finally:
        for lock in held:
            lock.release()
    return True


def _measured(path: Path) -> tuple[int, float]:
    files = [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()] if path.is_dir() else [path]
    status = [file.stat() for file in files]
    return sum(s.st_size for s in status), max((s.st_mtime for s in status), default=path.stat().st_mtime)


def _is_checkpoint(manifest: Path) -> bool:
    """A run has a manifest too, which names no files."""
    try:
        return "files" in json.loads(manifest.read_bytes())
    except (OSError, ValueError, TypeError, RecursionError):
        return True
