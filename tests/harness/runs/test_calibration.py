"""Timing a few steps: the whole run is extrapolated from them, and nothing is left behind."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cortexzoo.harness.runs import calibration
from cortexzoo.harness.runs.calibration import Calibration, calibrate
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.specs.objective import Recall
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.training.policies.measuring.probe import Probe
from cortexzoo.zoo.training.policies.measuring.validation import Validation

TINY = (
    "variant.hidden_size=16",
    "recipe.batch_size=2",
    "recipe.sequence_length=16",
    "recipe.monitor.validation_sequences=4",
)


def test_total_is_start_and_steps_and_validations() -> None:
    found = Calibration(1.0, 0.5, 3.0, steps=100, validations=4, threads=1, device="cpu", timed=10)
    assert found.total == 1.0 + 50 + 12
    assert found.as_json()["total"] == found.total


def test_nothing_is_left_behind_and_the_whole_run_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = calibrate(load_experiment("transformer", [*TINY, "variant.num_layers=1", "recipe.steps=250"]))
    assert list(tmp_path.iterdir()) == []
    assert (found.steps, found.validations, found.timed, found.device) == (250, 3, 10, "cpu")
    assert 0 < found.step < 1


def test_validation_is_told_from_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow validation makes validations slow and no step; a slow probe makes every step slower by its share.

    On a clock that only these two move.
    """
    measure, probe = Validation._validate, Probe.step_taken
    experiment = load_experiment("transformer", [*TINY, "variant.num_layers=1", "recipe.monitor.probe_every=2"])
    clock = [0.0]

    def slow_validation(*arguments: object) -> None:
        clock[0] += 0.3
        measure(*arguments)  # type: ignore[arg-type]

    def slow_probe(policy: Probe, trainer: object, step: object) -> None:
        clock[0] += 0.1 * (step.number % 2 == 0)  # type: ignore[attr-defined]
        probe(policy, trainer, step)  # type: ignore[arg-type]

    monkeypatch.setattr(Validation, "_validate", slow_validation)
    monkeypatch.setattr(Probe, "step_taken", slow_probe)
    monkeypatch.setattr(calibration, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    found = calibrate(experiment)
    assert (found.start, found.step) == (0.0, pytest.approx(0.05))
    assert found.validation + found.step == pytest.approx(0.3)


def test_long_term_memory_is_as_full_as_halfway_through(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = [
        *TINY,
        "recipe.steps=400",
        "recipe.consolidation.every=100",
        "variant.memory.long_term={kind: raw_ring, writes: 5}",
    ]
    experiment = load_experiment("cortexgpt-stable", changes)
    trainer = build_trainer(experiment)
    calibration._fill_halfway(trainer, experiment.recipe)
    assert trainer.memory.sizes() == {"stm": 16, "ltm": 10}


def test_a_curriculum_is_timed_at_its_longest_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[ExperimentSpec] = []
    monkeypatch.setattr(calibration, "build_trainer", lambda experiment, recorder: built.append(experiment) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        calibrate(load_experiment("cortex-v2-hybrid"))
    (recipe, data) = built[0].recipe, built[0].data
    assert isinstance(recipe.objective, Recall) and isinstance(data, TaskSpec)
    assert [stage.gaps for stage in recipe.objective.stages] == [(4, 16, 64)]
    assert (data.gaps, data.evaluation_documents) == ((1,), 1)
