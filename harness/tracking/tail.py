"""Following a JSONL file while it is written: each look gives the lines that came since the last one."""

import os
from pathlib import Path
from typing import Any

from cortexzoo.harness.tracking.jsonl import MOST_BYTES, parse_line
from cortexzoo.specs.regular_files import open_regular

LONGEST_READ = 1 << 22
"""Bytes taken in at one look; a longer file takes several."""


class Tail:
    """The lines of a file that grows, each given once. A file that is not there yet has none.

    A file that became shorter (a resumed run cuts what comes after its checkpoint) is read again from its beginning:
    `restarted` is then true: everything given before is void.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        """`offset`: bytes of whole lines that are read already."""
        self.path = path
        self.restarted = False
        self._offset = offset
        self._rest = b""

    def lines(self) -> list[dict[str, Any]]:
        """What came since the last look. An unfinished line waits for its end; one that is no object is passed over.

        Raises `OSError` when the file is there and cannot be read.
        """
        self.restarted = False
        try:
            with open_regular(self.path, MOST_BYTES) as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._offset:
                    self.restarted, self._offset, self._rest = True, 0, b""
                file.seek(self._offset)
                new = file.read(LONGEST_READ)
        except FileNotFoundError:
            return []
        self._offset += len(new)
        *whole, self._rest = (self._rest + new).split(b"\n")
        parsed = (parse_line(line) for line in whole)
        return [entry for entry in parsed if isinstance(entry, dict)]

    @property
    def at_the_end(self) -> bool:
        """Whether the last look took in everything there was."""
        try:
            return self.path.stat().st_size <= self._offset
        except FileNotFoundError:
            return True
