"""The verdicts as a table for people."""

from rich.table import Table
from rich.text import Text

from cortexzoo.harness.checking.verdict import Certificate, Judgement

DIRECTION = {"at_most": "≤", "at_least": "≥", "below": "<"}
COLOUR = {"pass": "green", "fail": "cyan", "error": "red", "skipped": "yellow"}
"""Of a verdict that was expected; any other is bold red."""


def verdict_table(certificate: Certificate, *, with_reasons: bool = True) -> Table:
    """One row a property; an unexpected verdict is marked."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("property", "verdict", "expected", "observed", "bound"):
        table.add_column(column, no_wrap=True)
    if with_reasons:
        table.add_column("reason")
    for judgement in certificate.judgements:
        cells: list[str | Text] = [
            judgement.name,
            _verdict(judgement),
            judgement.expected,
            "–" if judgement.observed is None else _number(judgement.observed),
            f"{DIRECTION[judgement.direction]} {_number(judgement.bound)}",
        ]
        table.add_row(*cells, *([_reason(judgement)] if with_reasons else []))
    return table


def reasons(certificate: Certificate) -> Table:
    """The reason of each verdict, for terminals that are too narrow for another column."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="dim")
    table.add_column()
    for judgement in certificate.judgements:
        table.add_row(judgement.name, _reason(judgement))
    return table


def _verdict(judgement: Judgement) -> Text:
    if judgement.unexpected:
        return Text(f"{judgement.verdict} !", style="bold red")
    return Text(judgement.verdict, style=COLOUR[judgement.verdict])


def _reason(judgement: Judgement) -> Text:
    if judgement.verdict == "pass" and judgement.cases_tried > 1:
        return Text(f"{judgement.reason} ({judgement.cases_tried} cases)")
    if judgement.expected_reason and not judgement.unexpected:
        return Text(f"{judgement.reason}; expected: {judgement.expected_reason}")
    return Text(judgement.reason)


def _number(value: float) -> str:
    return f"{value:.4g}"
