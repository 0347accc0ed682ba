"""Reading files that others may have changed: regular files only, of bounded size, and never waiting for a pipe."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

MOST_JSON = 32 << 20
"""Bytes of one JSON file."""


def open_regular(path: Path, most: int) -> BinaryIO:
    """Open a regular file of at most `most` bytes.

    Raises `OSError`, also for links, pipes, devices and folders: a link could lead anywhere, a device may never end.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "is a link, a regular file is required", str(path))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"has {status.st_size} bytes, at most {most} are read", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most: int = MOST_JSON) -> bytes:
    """The content of a regular file of at most `most` bytes. Raises `OSError` as `open_regular`."""
    with open_regular(path, most) as file:
        return file.read(most + 1)
