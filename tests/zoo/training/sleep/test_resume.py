"""A run that sleeps ends with the same bits however often it is stopped, killed or resumed, in mid-sleep too."""

import os
import signal
from pathlib import Path

import pytest

from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.recipe import MonitorSpec
from cortexzoo.specs.sleep import Dreaming
from cortexzoo.zoo.training.loop import TrainingLoop
from tests.zoo.training.sleep.asleep import KINDS, REPLAY, everything, notes, recorded, sleep_of, sleeper, states
from tests.zoo.training.tiny import At, same_tensors

MONITOR = MonitorSpec(probe_every=2, validate_every=4, checkpoint_every=6, swing_window=4)
RECIPE = {"monitor": MONITOR, "recovery": RecoveryCheckpoints(every=4)}
kinds = pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)


def assert_same_run(whole: TrainingLoop, last: TrainingLoop, *before: TrainingLoop) -> None:
    assert same_tensors(everything(whole), everything(last))
    assert states(whole) == states(last)
    assert recorded(whole) == recorded(*before, last)


@kinds
@pytest.mark.parametrize("stop", [3, 4, 11])
def test_resumed_between_steps(spec: Dreaming, stop: int, tmp_path: Path) -> None:
    whole = sleeper(spec, **RECIPE)
    whole.run()
    begun = sleeper(spec, At("batch_ready", {stop}, lambda trainer, _: trainer.stop("interrupted")), **RECIPE)
    begun.run()
    begun.save(tmp_path / "checkpoint")
    resumed = sleeper(spec, **RECIPE)
    resumed.load(tmp_path / "checkpoint")
    resumed.run()
    del begun.policies[0]
    assert_same_run(whole, resumed, begun)


@kinds
@pytest.mark.parametrize(("step", "update"), [(4, 0), (8, 2), (12, 1)])
def test_stopped_in_mid_sleep(spec: Dreaming, step: int, update: int, tmp_path: Path) -> None:
    whole = sleeper(spec, folder=tmp_path / "whole", **RECIPE)
    whole.run()
    begun = sleeper(spec, folder=tmp_path / "begun", **RECIPE)

    def stop(done: int, _all: int) -> None:
        if begun.position == step and done == update:
            os.kill(os.getpid(), signal.SIGTERM)

    sleep_of(begun).progress = stop
    assert begun.run().stopped == "terminated"
    assert (begun.position, begun.taken) == (step - 1, step - 1), "the step was taken back with its sleep"
    assert step not in recorded(begun)
    resumed = sleeper(spec, folder=tmp_path / "begun", **RECIPE)
    resumed.load(tmp_path / "begun" / "last")
    resumed.run()
    assert_same_run(whole, resumed, begun)
    for name in ("best", "last"):
        one, other = ({f.name: f.read_bytes() for f in (tmp_path / p / name).iterdir()} for p in ("whole", "begun"))
        assert one.keys() == other.keys()
        differing = {file for file in one if one[file] != other[file]}
        assert differing <= {"trainer.json", "manifest.json"}, "apart from seconds and the sum over them"


def test_the_same_trainer_goes_on_after_a_stop_in_mid_sleep() -> None:
    whole, stopped = sleeper(REPLAY, **RECIPE), sleeper(REPLAY, **RECIPE)
    whole.run()
    sleep_of(stopped).progress = lambda done, _: stopped.stop("interrupted") if done == 1 else None
    stopped.run()
    assert stopped.position == 3
    sleep_of(stopped).progress = lambda *_: None
    stopped.run()
    assert_same_run(whole, stopped)


def test_killed_in_mid_sleep(tmp_path: Path) -> None:
    class Killed(BaseException):
        """Ends the run where nothing can be saved any more."""

    whole = sleeper(REPLAY, **RECIPE)
    whole.run()
    begun = sleeper(REPLAY, folder=tmp_path, **RECIPE)

    def kill(done: int, _all: int) -> None:
        if begun.position == 8 and done == 2:
            raise Killed

    sleep_of(begun).progress = kill
    with pytest.raises(Killed):
        begun.run()
    resumed = sleeper(REPLAY, folder=tmp_path, **RECIPE)
    resumed.load(tmp_path / "last")
    assert resumed.position == 6
    resumed.run()
    assert_same_run(whole, resumed, begun)


def test_a_stop_at_a_step_without_sleep_takes_nothing_back() -> None:
    trainer = sleeper(REPLAY, At("batch_ready", {3}, lambda trainer, _: trainer.stop("terminated")))
    trainer.run()
    assert trainer.position == 3 and notes(trainer).count("sleep") == []
