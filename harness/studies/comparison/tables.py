"""The tables of a comparison as cells of text: for the terminal, one column a result."""

import json
from typing import Any

from rich.text import Text

from cortexzoo.harness.checking.table import COLOUR
from cortexzoo.harness.studies.comparison.differences import ABSENT
from cortexzoo.harness.studies.comparison.result import Comparison

Rows = list[tuple[str | Text, ...]]
LONGEST_VALUE = 60


def measure_rows(comparison: Comparison) -> Rows:
    """One row a measure: mean ± standard deviation over seeds."""
    return [
        (
            measure.name,
            *(measure.text(measure.spread(result.records)) for result in comparison.contenders),
            measure.unit,
        )
        for measure in comparison.measures
    ]


def verdict_rows(comparison: Comparison) -> Rows:
    """One row a property; what the suite does not expect is marked."""
    rows: Rows = []
    for name in comparison.properties:
        cells = [comparison.cell(name, result) for result in comparison.contenders]
        marked = [
            Text(f"{cell.text} !", style="bold red") if cell.unexpected else Text(cell.text, COLOUR.get(cell.text, ""))
            for cell in cells
        ]
        rows.append((name, *marked))
    return rows


def difference_rows(comparison: Comparison) -> Rows:
    """One row a spec value that differs."""
    return [(row.path, *(shown(value) for value in row.values)) for row in comparison.differences]


def shown(value: Any) -> str:
    """A spec value in short."""
    if value is ABSENT:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"
