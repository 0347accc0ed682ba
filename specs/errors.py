"""What may go wrong for a user: the base of every error that is printed without a traceback."""

from typing import ClassVar

BAD_INPUT = 2
FAILED = 3


class UserError(Exception):
    """Something the user gave cannot be used. Each line of the message stands alone: what is wrong, and the fix."""

    exit_code: ClassVar[int] = BAD_INPUT


class Failure(UserError):
    """Good input, but the work failed: a full disk, a lost process, numbers that are not finite."""

    exit_code: ClassVar[int] = FAILED


class SpecError(UserError):
    """A mistake in a spec, its file or its overrides. `lines` has one self-contained message for each mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
