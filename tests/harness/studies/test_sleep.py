"""The sleep study: a run sleeps, is not trained, and what is shown is what was measured."""

import json
from pathlib import Path

import pytest
import torch

from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, Run
from cortexzoo.harness.runs.train import train_run
from cortexzoo.harness.studies import sleep
from cortexzoo.harness.studies.sleep import Setting, Track
from cortexzoo.specs import load_experiment
from cortexzoo.specs.sleep import DREAMS
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import find_policy
from cortexzoo.zoo.training.sleep.policy import Sleep, Slept
from cortexzoo.zoo.training.sleep.score import Score
from tests.harness.trained import QUIET, train_small

QUICK = {"steps": 2, "batch_size": 2, "reservoir": 5}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_small(tmp_path_factory.mktemp("runs"))


def test_the_sleeper_has_the_runs_weights_and_has_only_looked_at_examples(run: Run) -> None:
    trainer = sleep.sleeper(run, "replay", True, Setting(QUICK, sequences=4))
    saved = CheckpointReader(run.path / CHECKPOINTS / "best")
    weights = saved.tensors("model")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in trainer.model.state_dict().items())
    memory = saved.tensors("memory")
    assert all(torch.equal(tensor, memory[name]) for name, tensor in trainer.memory.tensors().items())
    assert find_policy(trainer.policies, Sleep) is not None
    assert len(find_policy(trainer.policies, Sleep).reservoir.examples) == 5
    assert find_policy(trainer.policies, Sleep).sleeps == 0


@pytest.mark.parametrize("kind", DREAMS)
def test_what_stands_is_followed(kind: str, run: Run) -> None:
    changes = {**QUICK, "learning_rate": 0.03} | ({} if kind == "replay" else {"length": 6})
    heard: list[int] = []
    free = sleep.follow(run, kind, False, 4, Setting(changes, sequences=4), slept=heard.append)
    gated = sleep.follow(run, kind, True, 4, Setting(changes, sequences=4))
    assert heard == [1, 2, 3, 4]
    assert len(free.scores) == len(gated.scores) == 5
    assert (free.accepted, free.updates_taken, free.updates_refused) == (4, 8, 0)
    assert len({score.loss for score in free.scores}) == 5
    assert free.scores[0] == gated.scores[0]
    assert max(score.loss for score in gated.scores) <= 1.02 * gated.scores[0].loss
    changed = sum(one != other for one, other in zip(gated.scores, gated.scores[1:], strict=False))
    assert changed == gated.accepted


def test_the_control_reads_new_examples_each_time(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[set[bytes]] = []
    once = Sleep.sleep

    def noted(asleep: Sleep, trainer: TrainingLoop, before: Score | None = None) -> Slept | None:
        read.append({example.tokens.numpy().tobytes() for example in asleep.reservoir.examples})
        return once(asleep, trainer, before)

    monkeypatch.setattr(Sleep, "sleep", noted)
    awake = sleep.follow(run, sleep.AWAKE, False, 3, Setting(QUICK, sequences=4))
    assert awake.updates_taken == 6 and len({score.loss for score in awake.scores}) == 4
    assert all(len(examples) == QUICK["steps"] * QUICK["batch_size"] for examples in read)
    assert not read[0] & read[1] and not read[1] & read[2]


def test_a_base_that_changed_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = (
        "variant.backbone.training.steps=2", "recipe.steps=2", "recipe.objective.stages=[{gaps: [0, 1]}]",
        "recipe.monitor.validation_sequences=1", "data.gaps=[1]", "data.evaluation_documents=2",
    )  # fmt: skip
    experiment = load_experiment("cortex-v2-hybrid", changes)
    hybrid = train_run(experiment, tmp_path, QUIET)
    setting = Setting({**QUICK, "length": 6}, sequences=1, gaps=(1,))
    healthy = sleep.follow(hybrid, "noise", False, 1, setting)
    assert healthy.frozen > 20 and healthy.frozen_changed == 0
    assert "The base is the same in every bit." in sleep.findings([healthy])
    once = Sleep.sleep

    def careless(asleep: Sleep, trainer: TrainingLoop, before: Score | None = None) -> Slept | None:
        assert isinstance(trainer.model, Hybrid)
        with torch.no_grad():
            next(trainer.model.base.network.parameters()).add_(1.0)
        return once(asleep, trainer, before)

    monkeypatch.setattr(Sleep, "sleep", careless)
    changed = sleep.follow(hybrid, "noise", False, 1, setting)
    assert changed.frozen_changed == 1
    assert sleep.findings([changed])[-1] == "Frozen weights were changed by noise, no gate."


def track(kind: str, gated: bool, losses: list[float], recall: float | None) -> Track:
    return Track(kind, gated, [Score(loss, recall) for loss in losses], len(losses) - 1, 8, 1)


def test_the_table_tells_loss_and_recall_at_its_marks(tmp_path: Path) -> None:
    tracks = [track("noise", False, [2.0, 2.1, 2.2, 2.3], 0.5), track("noise", True, [2.0, 2.0, 2.02, 2.0], 0.75)]
    header, first, second = sleep.table(tracks)
    assert header[:4] == ("dreams", "loss", "× after 1", "× after 3")
    assert first[:4] == ("noise, no gate", "2.000", "1.050", "1.150")
    assert second[4:] == ("0.750", "0.750", "0.750", "3", "8", "1")
    assert sleep.findings(tracks) == [
        "noise: the highest held-out loss of any moment is 1.150 × without the gate and 1.010 × with the gate."
    ]
    sleep.draw(tracks, tmp_path / "sleep.png")
    assert (tmp_path / "sleep.png").stat().st_size > 5000
    assert "recall" not in sleep.table([track("noise", True, [1.0, 1.0], None)])[0]


def test_the_command_writes_what_it_shows(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "sleep.json"
    few = ["--sleeps", "1", "--kinds", "noise", "--sequences", "2"]
    assert main(["study", "sleep", str(run.path), *few, "--json", str(report)]) == 0
    assert "the highest held-out loss of any moment" in capsys.readouterr().out
    content = json.loads(report.read_text())
    assert [(one["dreams"], one["gated"], len(one["loss"])) for one in content["tracks"]] == [
        ("noise", False, 2), ("noise", True, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["/nowhere"], "no such run folder", 2),
        (["RUN", "--kinds", "noise,nightmare"], "--kinds nightmare: must be of noise, replay, generated, awake", 2),
        (["RUN", "--learning-rate", "0"], "--learning-rate must be > 0, got 0", 2),
        (["RUN", "--checkpoint", "none"], "is no checkpoint", 3),
        (["RUN", "--gaps", "4,x"], "--gaps must be whole numbers with commas, as in 4,16, got '4,x'", 2),
        (["RUN", "--gaps", "4"], "--gaps: only a task has gaps, and cortexgpt-stable trains on text", 2),
    ],
)
def test_a_mistake_is_told_without_a_traceback(
    arguments: list[str], said: str, code: int, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(run.path) if argument == "RUN" else argument for argument in arguments]
    assert main(["study", "sleep", *given]) == code
    printed = capsys.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
