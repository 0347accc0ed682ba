"""Which of many rows of a parametrised test run on every change."""

from collections.abc import Sequence
from typing import Any

import pytest


def every(step: int, rows: Sequence[Any]) -> list[Any]:
    """Every `step`th row, from the first on; the others are for `nox -s slow`."""
    return [row if index % step == 0 else in_slow(row) for index, row in enumerate(rows)]


def in_slow(row: Any) -> Any:
    """The row for `nox -s slow`; a tuple stands for several arguments."""
    return pytest.param(*(row if isinstance(row, tuple) else (row,)), marks=pytest.mark.slow)
