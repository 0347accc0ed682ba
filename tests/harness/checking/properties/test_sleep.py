"""Sleep is judged as the recipe has it, by scores that the harness takes itself, and no signal cuts it short."""

import math
import os
import signal
from dataclasses import replace

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.properties.sleep import harm_cases, sleep_harms_nothing
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs.properties import PROPERTIES
from cortexzoo.specs.sleep import AcceptAlways, NoiseSleep
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.sleep.score import Score
from tests.harness.trained import train_small

OWN_NOISE = {"dreams": "noise", "acceptance": "own"}


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return subject_of(train_small(tmp_path_factory.mktemp("runs"), "recipe.steps=4"))


def asleep(subject: Subject, sleep: NoiseSleep) -> Subject:
    """The subject with a recipe that sleeps so."""
    recipe = subject.experiment.recipe.model_copy(update={"sleep": sleep})
    return replace(subject, experiment=subject.experiment.model_copy(update={"recipe": recipe}))


def test_a_sleep_without_a_gate_is_judged_by_what_it_does(subject: Subject) -> None:
    wild = asleep(subject, NoiseSleep(learning_rate=1.0, acceptance=AcceptAlways()))
    assert OWN_NOISE in list(harm_cases(wild))
    found = sleep_harms_nothing(wild, OWN_NOISE)
    assert found.observed > PROPERTIES["sleep_harms_nothing"].bound and "(accepted)" in found.reason


def test_what_the_sleep_says_of_itself_is_not_believed(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Score, "of", lambda *_: Score(1.0, None))
    found = sleep_harms_nothing(asleep(subject, NoiseSleep(learning_rate=1.0)), OWN_NOISE)
    assert 1.02 < found.observed < math.inf


@pytest.mark.parametrize("name", ["resume_is_exact", "sleep_harms_nothing"])
def test_a_signal_ends_the_check_and_gives_no_verdict(
    name: str, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = TrainingLoop._attempt

    def interrupted(trainer: TrainingLoop, number: int) -> object:
        os.kill(os.getpid(), signal.SIGINT)
        return attempt(trainer, number)

    monkeypatch.setattr(TrainingLoop, "_attempt", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            judge(REGISTRY[name], Check(), subject)  # type: ignore[index]
    finally:
        signal.signal(signal.SIGINT, before)
