"""Charts of characters: curves of braille dots, stacked columns, meters. Pure: numbers in, text out."""

import math
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""The bit of each dot of a braille character, by column and row."""
BLANK = 0x2800
EIGHTHS = " ▁▂▃▄▅▆▇█"

Points = Sequence[tuple[int, float]]


def curves(lines: Sequence[tuple[Points, str]], width: int, height: int, last_step: int, label: int = 7) -> Text:
    """Curves in one frame of `width` × `height` characters, the highest and lowest value beside it.

    `lines`: points and style of each, the later ones above the earlier. Values that are not finite are left out.
    """
    finite = [value for points, _ in lines for _, value in points if math.isfinite(value)]
    if not finite:
        return Text("\n" * (height - 1))
    low, high = min(finite), max(finite)
    columns = max(width - label - 1, 1)
    cells = [[0] * columns for _ in range(height)]
    styles = [[""] * columns for _ in range(height)]
    for points, style in lines:
        for x, y in _dots(points, columns * 2, height * 4, last_step, low, high):
            cells[y // 4][x // 2] |= DOTS[x % 2][y % 4]
            styles[y // 4][x // 2] = style
    text = Text()
    for row in range(height):
        edge = _short(high, label) if row == 0 else _short(low, label) if row == height - 1 else ""
        text.append(f"{edge:>{label}} ", "dim")
        for cell, style in zip(cells[row], styles[row], strict=True):
            text.append(chr(BLANK + cell), style)
        if row < height - 1:
            text.append("\n")
    return text


def _short(value: float, width: int) -> str:
    """With as many digits as there is room for."""
    return next((text for digits in (4, 3, 2, 1) if len(text := f"{value:.{digits}g}") <= width), "…")


def _dots(points: Points, width: int, height: int, last_step: int, low: float, high: float) -> set[tuple[int, int]]:
    """Where dots belong, with neighbouring points joined by straight lines."""
    found: set[tuple[int, int]] = set()
    before: tuple[int, int] | None = None
    for step, value in points:
        if not math.isfinite(value):
            before = None
            continue
        x = min(int(step / max(last_step, 1) * width), width - 1)
        # Halved, since the distance of two finite numbers need not be finite.
        share = (value / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
        y = height - 1 - min(int(share * height), height - 1)
        found.add((x, y))
        if before is not None:
            found.update(_line(before, (x, y)))
        before = (x, y)
    return found


def _line(start: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The dots from one to another without a gap; x never falls."""
    (x, y), (last_x, last_y) = start, end
    columns = max(last_x - x, 1)
    for column in range(columns):
        edges = [y + (last_y - y) * share // columns for share in (column, column + 1)]
        yield from ((last_x if last_x == x else x + column, at) for at in range(min(edges), max(edges) + 1))


def stacked(history: Sequence[Mapping[str, float]], colours: Mapping[str, str], width: int, height: int) -> Text:
    """One column for each of the last `width` entries, shares stacked from below in the order of `colours`.

    A cell that two shares meet in is split where they meet.
    """
    shown = list(history)[-width:]
    columns = [_stack([entry.get(source, 0.0) for source in colours], height) for entry in shown]
    palette = list(colours.values())
    text = Text()
    for row in range(height - 1, -1, -1):
        for column in columns:
            character, below, above = column[row]
            style = "" if below is None else palette[below]
            text.append(character, f"{style} on {palette[above]}" if above is not None and style else style)
        if row:
            text.append("\n")
    return text


def _stack(shares: Sequence[float], height: int) -> list[tuple[str, int | None, int | None]]:
    """For each cell from the bottom: its character, who fills it, and who stands above within the cell."""
    edges = [0.0]
    for share in shares:
        edges.append(edges[-1] + (share if math.isfinite(share) else 0.0) * height)
    cells: list[tuple[str, int | None, int | None]] = []
    for row in range(height):
        owners = [
            (index, min(edges[index + 1], row + 1) - max(edges[index], row))
            for index in range(len(shares))
            if min(edges[index + 1], row + 1) - max(edges[index], row) > 1e-6
        ]
        if not owners:
            cells.append((" ", None, None))
        else:
            lower, part = owners[0]
            upper = owners[1][0] if len(owners) > 1 else None
            cells.append((EIGHTHS[max(1, round(part * 8))], lower, upper if part < 1 else None))
    return cells


def meter(part: float, width: int, style: str) -> Text:
    """A bar that is filled by `part` of 1."""
    filled = round(min(max(part, 0.0), 1.0) * width)
    return Text("━" * filled, style) + Text("─" * (width - filled), "grey37")
