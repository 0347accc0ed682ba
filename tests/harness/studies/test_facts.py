"""The study of facts: sessions are taken apart rightly, and the tables hold what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cortexzoo.harness.checking.fact_days import Key, Session, bound_anew, near_keys, sessions_of
from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import train_run
from cortexzoo.specs import load_experiment
from cortexzoo.specs.task import KeyValue, TaskSpec
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.errors import DataError
from tests.harness.trained import QUIET, train_small


def words(pairs: int = 6, letters: int = 3) -> Task:
    kind = KeyValue(num_pairs=pairs, num_queries=pairs, key_length=letters)
    return build_task(TaskSpec(name="words", task=kind), seed=0)


def as_text(tokens: torch.Tensor) -> str:
    return bytes(tokens.tolist()).decode()


def bindings(session: Session) -> dict[str, str]:
    """What the questions want."""
    text, found = as_text(session.questions), {}
    for number, key in enumerate(session.keys, start=1):
        spelled = as_text(torch.tensor(key))
        assert f"{spelled}{as_text(session.questions[session.answers == number])}" in text
        found[spelled.strip("?=")] = as_text(session.questions[session.answers == number])
    return found


def test_a_session_has_its_facts_and_asks_for_all_of_them() -> None:
    taken: set[Key] = set()
    sessions = sessions_of(words(), "test", 20, taken)
    assert len(taken) == 120 == len({key for session in sessions for key in session.keys})
    for session in sessions:
        assert len(session.facts) == 64 and len(session.questions) == 65
        assert "?" not in as_text(session.facts)
        for key, value in bindings(session).items():
            assert f"{key}={value};" in as_text(session.facts)


def test_a_task_with_too_few_keys_is_refused() -> None:
    with pytest.raises(DataError, match=r"words: has keys for \d sessions of its own, 9 are needed"):
        sessions_of(words(letters=1), "test", 9)


def test_keys_bound_anew_have_other_values_in_facts_and_questions() -> None:
    task = words()
    sessions = sessions_of(task, "test", 5)
    for before, after in zip(sessions, bound_anew(task, sessions, "test"), strict=True):
        old, new = bindings(before), bindings(after)
        assert old.keys() == new.keys() and not set(old.values()) & set(new.values())
        for key, value in new.items():
            assert f"{key}={value};" in as_text(after.facts)


def test_near_keys_differ_in_one_letter_and_were_never_taught() -> None:
    taken: set[Key] = set()
    sessions = sessions_of(words(), "test", 8, taken)
    for taught, near in zip(sessions, near_keys(sessions, taken, np.random.default_rng(0)), strict=True):
        for one, other in zip(taught.keys, near.keys, strict=True):
            assert other not in taken
            assert sum(a != b for a, b in zip(one, other, strict=True)) == 1
            assert as_text(torch.tensor(other)) in as_text(near.questions)


@pytest.fixture(scope="module")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    changes = (
        "variant.backbone.training.steps=2", "recipe.steps=2", "recipe.objective.stages=[{gaps: [0, 1]}]",
        "recipe.monitor.validation_sequences=1", "data.gaps=[1]", "data.evaluation_documents=2",
        "data.task.num_keys=128", "data.task.num_noise=64",
    )  # fmt: skip
    experiment = load_experiment("cortex-v2-hybrid", changes)
    return train_run(experiment, tmp_path_factory.mktemp("runs"), QUIET)


@pytest.mark.slow
def test_the_command_shows_every_kind_of_sleep_in_one_table(
    hybrid: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cortexzoo.harness.studies.facts.SKILL", 1)
    file = tmp_path / "facts.json"
    small = "--facts 12 --sleeps 2 --facts-a-sleep 6 --features 64 --capacity 32,64/6,12"
    assert main(["study", "facts", str(hybrid.path), *small.split(), "--json", str(file)]) == 0
    output = capsys.readouterr().out
    for kind in ("wiped, no sleep", "trained on without sleep", "noise", "replay", "generated", "consolidate"):
        assert kind in output
    assert "No weight of base or sidecars changed." in output
    (found,) = json.loads(file.read_text())["runs"]
    assert len(found["sleeps"]["recall"]) == 2 and set(found["capacity"]) == {"32", "64"}
    assert found["kinds"]["wiped, no sleep"]["seconds"] == 0 < found["kinds"]["consolidate"]["seconds"]


@pytest.mark.parametrize(
    ("arguments", "said"), [("--capacity 5", "must be numbers with commas"), ("--checkpoint none", "none")]
)
def test_a_mistake_is_one_line(arguments: str, said: str, hybrid: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "facts", str(hybrid.path), *arguments.split()]) in (2, 3)
    printed = capsys.readouterr().err
    assert said in printed and "Traceback" not in printed


def test_a_run_that_is_no_hybrid_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train_small(tmp_path)
    assert main(["study", "facts", str(run.path)]) == 2
    assert "need a hybrid that was trained on a task" in capsys.readouterr().err
