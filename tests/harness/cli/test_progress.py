"""The bar of a check names the property and counts its cases; where nobody watches there is none."""

import io

import pytest
from rich.console import Console

from cortexzoo.harness.cli import progress


@pytest.mark.parametrize("watched", [True, False])
def test_the_bar_of_a_check(monkeypatch: pytest.MonkeyPatch, watched: bool) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=watched, width=120)
    monkeypatch.setattr(progress, "standard_error", lambda: console)
    with progress.checking_progress(2) as bar:
        for name in ("causality", "gate_balance"):
            bar.started(name)
            bar.tried({})
            bar.tried({})
    shown = screen.getvalue()
    if watched:
        assert "checking gate_balance" in shown and "case 2" in shown and "1/2" in shown
    else:
        assert shown == ""
