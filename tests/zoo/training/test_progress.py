"""What a person sees on stderr while training runs."""

import io
import sys

import pytest

from tests.zoo.training.tiny import At, PoisonedLoss, tiny_data, tiny_model, tiny_spec
from zoo.training.loop import Trainer
from zoo.training.policy import Policy


def train(*policies: Policy, progress: bool = True, steps: int = 20) -> None:
    Trainer(tiny_model(), tiny_spec(steps=steps), tiny_data(), progress=progress, policies=policies).run()


class Terminal(io.StringIO):
    """Takes what a terminal would show."""

    def isatty(self) -> bool:
        return True


def test_elsewhere_than_on_a_terminal_there_is_a_line_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    train(PoisonedLoss({6}))
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.split()[1] for line in lines] == [f"{step}/20" for step in range(2, 21, 2)]
    assert "tokens/s" in lines[0]
    assert "held-out" not in lines[0]
    assert "held-out" in lines[1]
    assert "loss nan" in lines[2]
    assert lines[2].endswith("refused")


def test_nothing_is_shown_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    train(progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_is_closed_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "120")

    def burst(trainer: Trainer, step: object) -> None:
        raise RuntimeError("burst")

    with pytest.raises(RuntimeError, match="burst"):
        train(At("batch_ready", {15}, burst))
    shown = terminal.getvalue()
    assert "14/20" in shown
    assert "loss" in shown
    assert "held-out" in shown
    assert shown.endswith("\x1b[?25h"), "the cursor is shown again"
