"""Mistakes in spec files, gathered with their places so that a user sees all of them at once."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cortexzoo.specs.errors import SpecError
from cortexzoo.specs.plain_text import bounded, one_line, plain

LONGEST_NAME = 100
"""Characters that are looked at when a wrong name is compared with right ones."""
MAX_VALUES = 5000
"""Of all files and overrides that one spec is read from."""


@dataclass(frozen=True, slots=True)
class SpecText:
    """A text that values are written in: a file, or one `--set`."""

    label: str
    """How messages name it: the file as the user named it, or `--set a.b=c`."""
    folder: Path
    """What relative paths written in it are relative to."""
    has_lines: bool = True
    """Whether messages have line and column; a `--set` is shown in full instead."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written; `line` and `column` count from 1, line 0 means the text as a whole."""

    text: SpecText
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.text.label}:{self.line}:{self.column}" if self.line and self.text.has_lines else self.text.label


class Refused(Exception):
    """A mistake after which the spec cannot be read further."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place
        self.message = message


class Problems:
    """The mistakes found so far; reading continues after a mistake, so that all are reported at once."""

    def __init__(self) -> None:
        self._found: list[tuple[Place, str]] = []
        self._values = 0

    def add(self, place: Place, message: str) -> None:
        self._found.append((place, " ".join(message.split())))

    def count(self, place: Place, values: int) -> None:
        """Note that so many more values were read for the spec at hand. Raises `Refused` when they are too many."""
        self._values += values
        if self._values > MAX_VALUES:
            raise Refused(place, f"more than {MAX_VALUES} values, with every use of an alias counted")

    def add_refusal(self, refused: Refused) -> None:
        self.add(refused.place, refused.message)

    def __bool__(self) -> bool:
        return bool(self._found)

    def as_error(self) -> SpecError:
        """One line a mistake, of bounded number and length: text by text, each from top to bottom."""
        order = {text: index for index, text in enumerate(dict.fromkeys(place.text for place, _ in self._found))}
        found = sorted(self._found, key=lambda found: (order[found[0].text], found[0].line, found[0].column))
        return SpecError(bounded(list(dict.fromkeys(one_line(f"{place}: {message}") for place, message in found))))


def shortened(text: str) -> str:
    """The beginning of a text, for a message."""
    return plain(text if len(text) <= 60 else text[:57] + "...", keep="")


def nearest(wrong: str, known: Iterable[str]) -> str:
    """The end of a message about a wrong name: the nearest right one, if there is a near one."""
    names = difflib.get_close_matches(wrong[:LONGEST_NAME], list(known), n=1)
    return f"; did you mean {names[0]}?" if names else ""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """As `nearest`, but with all known names where none is near."""
    names = list(known)
    return nearest(wrong, names) or (f"; known here: {', '.join(names)}" if names else "")
