"""Two processes train as one does: same losses on the same global batch, one memory, one decision."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cortexzoo.zoo.errors import SetupError
from cortexzoo.zoo.models.interface import ModelOutput
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.ranks import Ranks, batch_dimensions
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS
from tests.tolerances import PROCESSES
from tests.zoo.training.tiny import TinyModel, TinyState, tiny_data, tiny_model, tiny_spec
from tests.zoo.training.two_processes import main

NOT_COMPARED = WALL_CLOCK_METRICS | {"memory/gate_entropy", "stability/max_attention_logit"}
"""The mean of two entropies is not the entropy of the mean, and a largest number is not averaged over others."""
ROOT = Path(__file__).parents[3]


def found(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "found.json").read_text())
    return content


def launch_two(out: Path, module: str = "two_processes") -> None:
    """Let two processes run a module of this folder."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "ACCELERATE_USE_CPU": "true",
    }
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, "-m", f"tests.zoo.training.{module}", str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    main(folders[0])
    launch_two(folders[1])
    one, two = map(found, folders)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["refused"] == two["refused"] == 2, "one process's NaN or refusal is one on both"
    compared = 0
    for (step, alone), (other_step, together) in zip(one["rows"], two["rows"], strict=True):
        assert step == other_step
        assert alone.keys() == together.keys()
        for name in alone.keys() - NOT_COMPARED:
            assert together[name] == pytest.approx(alone[name], rel=PROCESSES, nan_ok=True), (step, name)
            compared += 1
    assert compared > 80
    assert one["rows"][-1][1]["train/ltm_size"] == 12


def test_the_batch_must_be_shared_out_evenly() -> None:
    accelerator = TrainingLoop(tiny_model(), tiny_spec(), tiny_data()).accelerator

    class Three:
        num_processes, process_index, is_main_process = 3, 1, False

    with pytest.raises(SetupError, match="batch_size must be a multiple of the 3 processes, got 8"):
        Ranks(Three(), 8)
    assert Ranks(accelerator, 8).rows == 8


def test_the_batch_dimension_is_found_by_comparison() -> None:
    assert batch_dimensions(tiny_model(), ["sums"]) == {"sums": 0}


def test_the_batch_dimension_of_what_an_empty_memory_has_not_is_found_too() -> None:
    @dataclass(frozen=True)
    class Cached(TinyState):
        def tensors(self) -> dict[str, Tensor]:
            return {**super().tensors(), "cache": torch.zeros(4, len(self.sums), 2), "calls": torch.ones(())}

    class Caching(TinyModel):
        def forward(self, *arguments: Any) -> ModelOutput[TinyState]:
            output = super().forward(*arguments)
            return replace(output, state=Cached(output.state.sums, output.state.store))

    model, random_state = Caching(), torch.get_rng_state()
    assert batch_dimensions(model, ["sums", "cache", "calls", "of another"]) == {"sums": 0, "cache": 1}
    assert model.training and torch.equal(torch.get_rng_state(), random_state)
