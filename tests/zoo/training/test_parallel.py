"""Shares of weights on several processes train as one does, and a checkpoint fits another number of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cortexzoo.specs.guards import AGC
from cortexzoo.specs.parallel import FullySharded, OneProcess
from cortexzoo.zoo.errors import SetupError
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.parallel import spread_over
from tests.tolerances import FIFTY_STEPS
from tests.zoo.training.fifty_steps import HALF, NAMES, STEPS, losses
from tests.zoo.training.fifty_steps import main as train
from tests.zoo.training.test_processes import ROOT
from tests.zoo.training.tiny import tiny_data, tiny_model, tiny_spec

Losses = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Losses, Path]:
    """Losses of one process, and its folder."""
    folder = tmp_path_factory.mktemp("one")
    train(folder, ["ddp"], None)
    return json.loads((folder / "losses.json").read_text()), folder


@pytest.fixture(scope="module", params=[2, 4], ids=["two", "four"])
def together(
    request: pytest.FixtureRequest, alone: tuple[Losses, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Losses, Path]:
    """Losses of several processes, which also resume the run of one, and their folder. Two take some twenty seconds."""
    folder = tmp_path_factory.mktemp("several")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "ACCELERATE_USE_CPU": "true",
    }
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(request.param)]
    command = [sys.executable, *launcher, "-m", "tests.zoo.training.fifty_steps", str(folder), str(alone[1])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "losses.json").read_text()), folder


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_several_processes_give_the_losses_of_one(
    alone: tuple[Losses, Path], together: tuple[Losses, Path], name: str, kind: str
) -> None:
    assert len(alone[0][f"{name} ddp"]) == STEPS
    assert together[0][f"{name} {kind}"] == pytest.approx(alone[0][f"{name} ddp"], rel=FIFTY_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_several_processes_resume_a_run_of_one(
    alone: tuple[Losses, Path], together: tuple[Losses, Path], name: str
) -> None:
    expected = {step: loss for step, loss in alone[0][f"{name} ddp"].items() if int(step) > HALF}
    assert together[0][f"{name} resumed"] == pytest.approx(expected, rel=FIFTY_STEPS)


@pytest.mark.slow
def test_one_process_resumes_a_sharded_run_of_several(
    alone: tuple[Losses, Path], together: tuple[Losses, Path], tmp_path: Path
) -> None:
    name = "cortexgpt-stable"
    found = losses(name, "ddp", tmp_path, together[1] / f"{name}-fsdp2" / "checkpoints" / f"step-{HALF:08d}")
    expected = {int(step): loss for step, loss in alone[0][f"{name} ddp"].items() if int(step) > HALF}
    assert found == pytest.approx(expected, rel=FIFTY_STEPS)


def test_what_does_not_suit_the_processes_is_refused() -> None:
    with pytest.raises(SetupError, match="must be ddp or none with one process, got fsdp2"):
        TrainingLoop(tiny_model(), tiny_spec(parallel=FullySharded()), tiny_data())
    trainer = TrainingLoop(tiny_model(), tiny_spec(), tiny_data())
    trainer.ranks.count = 2
    refused = {
        "must be ddp or fsdp2 with 2 processes, got none": tiny_spec(parallel=OneProcess()),
        "must be norm, adaptive, zclip or none with fsdp2, got agc": tiny_spec(parallel=FullySharded(), clipping=AGC()),
    }
    for message, spec in refused.items():
        with pytest.raises(SetupError, match=message):
            spread_over(tiny_model(), trainer.objective, spec.recipe, trainer.ranks)
