"""Shares of weights on two processes train as one process does, and a checkpoint fits another number of them."""

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
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Losses, Losses, Path]:
    """Losses of one process and of two, and the folder of the two. Each takes some twenty seconds."""
    folder = tmp_path_factory.mktemp("fifty")
    one, two = folder / "one", folder / "two"
    one.mkdir()
    two.mkdir()
    train(one, ["ddp"], None)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "ACCELERATE_USE_CPU": "true",
    }
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, "-m", "tests.zoo.training.fifty_steps", str(two), str(one)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    alone, together = (json.loads((each / "losses.json").read_text()) for each in (one, two))
    return alone, together, two


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["ddp", "fsdp2"])
def test_two_processes_give_the_losses_of_one(trained: tuple[Losses, Losses, Path], name: str, kind: str) -> None:
    alone, together, _ = trained
    assert len(alone[f"{name} ddp"]) == STEPS
    assert together[f"{name} {kind}"] == pytest.approx(alone[f"{name} ddp"], rel=FIFTY_STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_resume_a_run_of_one(trained: tuple[Losses, Losses, Path], name: str) -> None:
    alone, together, _ = trained
    expected = {step: loss for step, loss in alone[f"{name} ddp"].items() if int(step) > HALF}
    assert together[f"{name} resumed"] == pytest.approx(expected, rel=FIFTY_STEPS)


@pytest.mark.slow
def test_one_process_resumes_a_sharded_run_of_two(trained: tuple[Losses, Losses, Path], tmp_path: Path) -> None:
    alone, _, folder = trained
    name = "cortexgpt-stable"
    found = losses(name, "ddp", tmp_path, folder / f"{name}-fsdp2" / "checkpoints" / f"step-{HALF:08d}")
    expected = {int(step): loss for step, loss in alone[f"{name} ddp"].items() if int(step) > HALF}
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
