"""Tables are aligned, fit the terminal, and lose nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from cortexzoo.harness.cli import main
from cortexzoo.harness.cli.output import UNLIMITED, set_wide, width
from cortexzoo.harness.cli.plain_table import NARROWEST, fitted, table_lines

ROWS = [("causality", "pass", ""), ("memory_matters", Text("fail !", style="bold red"), "the loss rises by 0.003 nats")]
COLUMNS = ("property", "verdict", "reason")


def test_columns_are_aligned() -> None:
    assert list(table_lines(COLUMNS, ROWS, 100, styled=False)) == [
        "property        verdict  reason",
        "causality       pass",
        "memory_matters  fail !   the loss rises by 0.003 nats",
    ]


def test_the_widest_column_is_wrapped_by_words() -> None:
    assert list(table_lines(COLUMNS, ROWS, 45, styled=False))[2:] == [
        "memory_matters  fail !   the loss rises by",
        "                         0.003 nats",
    ]


def test_styles_are_ansi_codes_around_the_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    line = list(table_lines(COLUMNS, ROWS, 100, styled=True))[2]
    assert line == "memory_matters  \033[1;31mfail !\033[0m   the loss rises by 0.003 nats"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in "".join(table_lines(COLUMNS, ROWS, 100, styled=True))


def test_wide_characters_take_two_columns() -> None:
    lines = list(table_lines(("a", "b"), [("日本", "x"), ("abcd", "y")], 80, styled=False))
    assert lines[1:] == ["日本  x", "abcd  y"]


@given(st.lists(st.integers(0, 300), min_size=1, max_size=9), st.integers(1, 400))
def test_a_table_is_narrowed_no_further_than_needed(widths: list[int], room: int) -> None:
    found = fitted(widths, room)
    taken = sum(found) + 2 * (len(found) - 1)
    assert taken <= room or max(found) <= NARROWEST
    assert all(new <= old for new, old in zip(found, widths, strict=True))
    assert found == list(widths) or taken >= room or max(found) <= NARROWEST


def test_wide_and_a_pipe_have_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert width() == UNLIMITED
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert width() == 60
    set_wide(True)
    try:
        assert width() == UNLIMITED
    finally:
        set_wide(False)


def test_wide_is_of_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["list", "--wide"]) == 0
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert width() == 60
