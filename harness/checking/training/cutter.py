"""Ends a piece of code at its n-th operation on files, as the end of a process would."""

import math
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

FILE_OPERATIONS = {
    "open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "shutil.rmtree", "shutil.copytree",
}  # fmt: skip
"""Audit events of what changes a folder, or begins to."""
Step = Callable[[Path], None]


class Cut(BaseException):
    """A process ends here."""


class Cutter:
    """Ends what runs at its n-th operation on files. An audit hook stays for ever, so that there is one alone."""

    def __init__(self) -> None:
        self.left: float = math.inf
        self.watched: str | None = None
        self.writing: Path | None = None
        """The file that the last operation opened, and may not have written whole."""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watched is None or event not in FILE_OPERATIONS:
            return
        path = str(arguments[0])  # relative inside a folder that is being removed
        if Path(path).is_absolute() and not path.startswith(self.watched):
            return
        if event == "open" and not set(str(arguments[1] or "")) & set("wax+"):
            return
        self.left -= 1
        if self.left < 0:
            raise Cut
        self.writing = Path(path) if event == "open" else None

    def run(self, step: Step, folder: Path, after: int) -> bool:
        """Whether the step came to its end."""
        _install()
        self.left, self.watched, self.writing = after, str(folder), None
        try:
            step(folder)
        except Cut:
            return False
        finally:
            self.watched = None
        return True


CUTTER = Cutter()


@cache
def _install() -> None:
    sys.addaudithook(CUTTER)
