"""What a person sees on stderr while training runs."""

import io
import sys

import pytest

from cortexzoo.specs.sleep import AcceptAlways, NoiseSleep
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy
from cortexzoo.zoo.training.policies.measuring import progress
from tests.zoo.training.tiny import At, PoisonedLoss, tiny_data, tiny_model, tiny_spec


def train(*policies: Policy, progress: bool = True, steps: int = 20) -> None:
    TrainingLoop(tiny_model(), tiny_spec(steps=steps), tiny_data(), progress=progress, policies=policies).run()


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


def asleep() -> None:
    spec = NoiseSleep(every=2, steps=5, batch_size=1, length=4, acceptance=AcceptAlways())
    TrainingLoop(tiny_model(), tiny_spec(steps=2, sleep=spec), tiny_data(), progress=True).run()


def test_a_sleep_is_told_only_when_it_takes_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep()
    assert "asleep" not in capsys.readouterr().err
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    asleep()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("asleep")]
    assert lines == [f"asleep, update {done}/5" for done in range(1, 5)]


def test_a_terminal_shows_a_sleep_in_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    bars: list[str] = []
    update = progress.Progress.update
    monkeypatch.setattr(
        progress.Progress, "update", lambda bar, task, **to: (bars.append(to["figures"]), update(bar, task, **to))[1]
    )
    asleep()
    assert [told for told in bars if "asleep" in told] == [f"asleep, update {done}/5" for done in range(5)]
    assert terminal.getvalue()


def test_a_terminal_gets_a_bar_that_is_closed_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "120")

    def burst(trainer: TrainingLoop, step: object) -> None:
        raise RuntimeError("burst")

    with pytest.raises(RuntimeError, match="burst"):
        train(At("batch_ready", {15}, burst))
    shown = terminal.getvalue()
    assert "14/20" in shown
    assert "loss" in shown
    assert "held-out" in shown
    assert shown.endswith("\x1b[?25h"), "the cursor is shown again"
