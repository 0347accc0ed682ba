"""Whether the disk has room for another checkpoint, before anything is dropped for it."""

import errno
import os
from pathlib import Path

from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.run_folder import Run

RECORDS = 1 << 20
"""Bytes for records, the summary and the curves."""
PROBE = ".room"
UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def require_room(run: Run, checkpoint: Path) -> None:
    """Raises `RunStopped` when a file of the size of `checkpoint` cannot be made in the run's folder."""
    size = RECORDS + sum(file.stat().st_size for file in checkpoint.glob("*") if file.is_file())
    probe = run.path / PROBE
    try:
        with probe.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
    except OSError as problem:
        if problem.errno in UNSUPPORTED:
            return
        reason = problem.strerror or problem
        raise RunStopped(f"{run.path}: no room for a checkpoint of {size / 1e6:.0f} MB: {reason}") from problem
    finally:
        probe.unlink(missing_ok=True)
