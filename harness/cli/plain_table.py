"""Tables as lines of text: laid out here, because importing a library for it would double the start-up time."""

import os
import shutil
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from cortexzoo.specs.plain_text import plain

if TYPE_CHECKING:
    from rich.text import Text

GAP = "  "
NARROWEST = 12
"""Characters to which a column is wrapped at most."""
STYLES = {"bold red": "1;31", "red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2"}
"""ANSI codes."""


def terminal_width() -> int:
    """Columns of the terminal; 80 where it does not report them."""
    return shutil.get_terminal_size((80, 24)).columns


def table_lines(
    columns: Sequence[str], rows: "Iterable[Sequence[str | Text]]", width: int, *, styled: bool
) -> Iterator[str]:
    """The lines of a table, none wider than `width` as long as no column is narrower than `NARROWEST`."""
    cells = [[_parts(cell) for cell in row] for row in rows]
    texts = [[plain(name) for name in columns], *([text for text, _ in row] for row in cells)]
    widths = fitted([max((_length(row[index]) for row in texts), default=0) for index in range(len(columns))], width)
    colours = styled and "NO_COLOR" not in os.environ
    for row in ([(name, "dim") for name in texts[0]], *cells):
        yield from _row_lines(row, widths, colours)


def fitted(widths: Sequence[int], width: int) -> list[int]:
    """Column widths that fit: the widest column is narrowed until all fit, down to `NARROWEST`."""
    narrowed = list(widths)
    while sum(narrowed) + len(GAP) * (len(narrowed) - 1) > width:
        widest = max(range(len(narrowed)), key=lambda index: narrowed[index])
        if narrowed[widest] <= NARROWEST:
            break
        narrowed[widest] -= 1
    return narrowed


def _parts(cell: "str | Text") -> tuple[str, str]:
    return (plain(cell), "") if isinstance(cell, str) else (plain(cell.plain), str(cell.style))


def _row_lines(row: Sequence[tuple[str, str]], widths: Sequence[int], colours: bool) -> Iterator[str]:
    wrapped = [_wrapped(text, width) for (text, _), width in zip(row, widths, strict=True)]
    for number in range(max(map(len, wrapped))):
        line = []
        for (_, style), lines, width in zip(row, wrapped, widths, strict=True):
            text = lines[number] if number < len(lines) else ""
            padding = " " * (width - _length(text))
            code = STYLES.get(style, "") if colours and text else ""
            line.append((f"\033[{code}m{text}\033[0m" if code else text) + padding)
        yield GAP.join(line).rstrip()


def _wrapped(text: str, width: int) -> list[str]:
    lines = text.split("\n")
    if all(_length(line) <= width for line in lines):
        return lines
    return [part for line in lines for part in textwrap.wrap(line, max(1, width)) or [""]]


def _length(text: str) -> int:
    """Columns of a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )
