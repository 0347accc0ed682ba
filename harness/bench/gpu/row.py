"""One thing that was tried on a card."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What was seen, and whether that is within its bound (None: a figure without a bound)."""

    section: str
    what: str
    seen: str
    fine: bool | None = None
    bound: str = ""
