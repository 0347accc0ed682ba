"""The drill: each fault in its own run, judged against its declaration and a control."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cortexzoo.harness.studies import drill_run
from cortexzoo.harness.studies.drill import CONTROL, as_json, chosen, drill, drilled, harm, judged
from cortexzoo.harness.studies.drill_run import DrillResult, perform, read_outcome
from cortexzoo.specs import FaultsSpec, SpecError, load, load_experiment
from cortexzoo.specs.fault import FaultSpec, Kill, NonFinite, TrackerError
from cortexzoo.zoo.errors import CheckpointError
from tests.harness.trained import small

CLEAN = DrillResult(
    ended="finished", line="", stops=(), refused=0, undone=0, rollbacks=0, acted="nothing", final_loss=2.0, finite=True,
    state={"model": "a", "rng": "b"}, missed=None,
)  # fmt: skip
OTHER = {"model": "x", "rng": "b"}


def fault(expect: Any, harms: bool = True) -> FaultSpec:
    return NonFinite(place="loss", step=5, expect=expect, harms=harms)


def verdict(fault: FaultSpec, outcome: DrillResult, *, guards: bool = True) -> str:
    (row,) = judged({"f": fault}, {"f": outcome, CONTROL: CLEAN}, small(), guards=guards)
    assert bool(row.reason) == (row.verdict != "met")
    return row.verdict


def test_a_skip_costs_one_step_and_no_rollback() -> None:
    skipped = replace(CLEAN, refused=1, state=OTHER)
    assert verdict(fault("skip"), skipped) == "met"
    for wrong in ({"refused": 0}, {"refused": 2}, {"rollbacks": 1}, {"final_loss": 2.11}, {"final_loss": None},
                  {"finite": False}, {"ended": "stopped"}, {"ended": "crashed"}):  # fmt: skip
        assert verdict(fault("skip"), replace(skipped, **wrong)) == "not met"


def test_a_rollback_costs_the_recovery_interval_at_most() -> None:
    back = replace(CLEAN, refused=8, rollbacks=1, undone=50, state=OTHER)
    assert small().recipe.recovery.every == 50
    assert verdict(fault("rollback"), back) == "met"
    assert verdict(fault("rollback"), replace(back, undone=51)) == "not met"
    assert verdict(fault("rollback"), replace(back, rollbacks=0, undone=0)) == "not met"
    assert verdict(fault("rollback"), replace(back, final_loss=2.2)) == "not met"


def test_harmless_means_the_same_bits_and_undetected_that_nothing_acted() -> None:
    assert verdict(fault("harmless"), CLEAN) == "met"
    assert verdict(fault("harmless"), replace(CLEAN, state=OTHER)) == "not met"
    assert verdict(fault("harmless"), replace(CLEAN, state={})) == "not met"
    assert verdict(fault("undetected"), replace(CLEAN, state=OTHER, final_loss=1.9)) == "met"
    assert verdict(fault("undetected"), replace(CLEAN, state=OTHER, refused=1)) == "not met"
    assert verdict(fault("undetected"), replace(CLEAN, state=OTHER, final_loss=2.2)) == "not met"


def test_a_stop_is_a_line_and_a_resumed_run_ends_as_the_control() -> None:
    stopped = replace(CLEAN, ended="stopped", line="no", stops=("no",), finite=False, final_loss=None, state={})
    assert verdict(fault("stop"), stopped) == "met"
    assert verdict(fault("stop"), replace(CLEAN, stops=("no",))) == "met"
    assert verdict(fault("stop"), replace(CLEAN, stops=("no",), state=OTHER)) == "not met"
    assert verdict(fault("stop"), replace(stopped, ended="crashed", stops=())) == "not met"
    assert verdict(fault("stop"), CLEAN) == "not met"


def test_without_guards_a_fault_must_do_the_harm_that_it_declares() -> None:
    for harmed in ({"final_loss": 2.11}, {"finite": False}, {"ended": "crashed"}, {"final_loss": None}):
        assert harm(replace(CLEAN, **harmed), CLEAN)
        assert verdict(fault("skip"), replace(CLEAN, **harmed), guards=False) == "met"
    assert verdict(fault("skip"), replace(CLEAN, final_loss=2.09), guards=False) == "not met"
    assert verdict(fault("skip", harms=False), replace(CLEAN, final_loss=2.09), guards=False) == "met"


def test_a_fault_that_could_not_strike_is_skipped() -> None:
    assert verdict(fault("skip"), replace(CLEAN, missed="there is no checkpoint yet")) == "skipped"


def test_the_short_experiment_fits_every_recipe_and_yields_to_the_user() -> None:
    for recipe in ("robust", "phase-1", "original"):
        short = drilled("cortexgpt-stable", [f"recipe={recipe}"], ["recipe.batch_size=2"], guards=True)
        assert (short.recipe.steps, short.variant.hidden_size, short.recipe.batch_size) == (120, 64, 2)
        bare = drilled("cortexgpt-stable", [f"recipe={recipe}"], [], guards=False).recipe
        assert {bare.clipping.kind, bare.spikes.kind, bare.recovery.kind} == {"none"}
        assert max(each.step for each in load("every-fault", "faults").faults.values()) < 120
    assert drilled("transformer", [], ["recipe.steps=90"], guards=True).recipe.steps == 90


def test_only_takes_names_that_are_there() -> None:
    faults = load("every-fault", "faults")
    assert list(chosen(faults, ["nan-loss"])) == ["nan-loss"]
    assert len(chosen(faults, [])) == len(faults.faults) > 20
    with pytest.raises(SpecError, match="--only nan-los: every-fault has no such fault; it has nan-loss, "):
        chosen(faults, ["nan-los"])


@pytest.mark.slow
def test_a_drill_kills_and_resumes_and_uses_what_is_there(tmp_path: Path) -> None:
    experiment = small()
    faults: dict[str, FaultSpec] = {
        "killed": Kill(during="step", step=7, expect="harmless", harms=False),
        "poisoned": NonFinite(place="loss", step=7, expect="skip", harms=True),
    }
    outcomes = dict(drill(experiment, faults, tmp_path, guards=True, jobs=1))
    rows = judged(faults, outcomes, experiment, guards=True)
    assert [(row.name, row.verdict, row.outcome.acted) for row in rows] == [
        ("killed", "met", "killed; resumed"),
        ("poisoned", "met", "refused 1: loss is nan"),
    ]
    assert rows[0].against(outcomes[CONTROL]) == "same bits"
    assert rows[1].against(outcomes[CONTROL]).endswith(" %")
    assert as_json(rows, outcomes[CONTROL])["faults"]["poisoned"]["refused"] == 1
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert dict(drill(experiment, faults, tmp_path, guards=True, jobs=1)) == outcomes
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    with pytest.raises(SpecError, match=r"faults\.late\.step must be at most recipe\.steps, 12, got 13"):
        next(drill(experiment, {"late": fault("skip").model_copy(update={"step": 13})}, tmp_path, guards=True, jobs=1))


def test_a_trackers_error_costs_nothing(tmp_path: Path) -> None:
    experiment = small().canonical_json()
    plan = FaultsSpec(name="f", faults={"f": TrackerError(step=5, expect="harmless", harms=False)}).canonical_json()
    outcome, control = (perform(experiment, each, True, tmp_path / str(i)) for i, each in enumerate((plan, None)))
    assert outcome.same_state(control) and outcome.finite
    assert read_outcome(tmp_path / "0") == outcome


def test_a_crash_is_told_from_a_stop(tmp_path: Path) -> None:
    def end_with(problem: Exception) -> Callable[[], None]:
        def life() -> None:
            raise problem

        return life

    stop = CheckpointError(f"{tmp_path}/name/run/checkpoints/last: is damaged")
    assert drill_run._lived(tmp_path, end_with(stop)) == ("stopped", "…/checkpoints/last: is damaged")
    assert drill_run._lived(tmp_path, end_with(KeyError("a defect"))) == ("crashed", "KeyError: 'a defect'")
    assert drill_run._lived(tmp_path, lambda: None) == ("finished", "")


def test_an_outcome_that_is_not_whole_is_none(tmp_path: Path) -> None:
    (tmp_path / "outcome.json").write_text('{"ended": "finished"}')
    assert read_outcome(tmp_path) is None
    assert read_outcome(tmp_path / "none") is None


def test_a_short_hybrid_keeps_its_base_and_asks_little() -> None:
    experiment = drilled("cortex-v2-hybrid", (), ("recipe.steps=80",), guards=True)
    assert experiment.variant == load_experiment("cortex-v2-hybrid").variant
    assert (experiment.data.gaps, experiment.data.evaluation_documents) == ((1,), 16)
    assert experiment.recipe.steps == 80
    assert drilled("cortexgpt-stable", (), (), guards=True).variant.hidden_size == 64
