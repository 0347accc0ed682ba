"""Two processes have the same dreams, make the same updates and keep the same examples as one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.tolerances import PROCESSES
from tests.zoo.training.sleep.asleep import sleep_of
from tests.zoo.training.sleep.two_asleep import trained

SCRIPT = Path(__file__).with_name("two_asleep.py")
ROOT = SCRIPT.parents[4]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}",
        "ACCELERATE_USE_CPU": "true",
    }
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, str(SCRIPT), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "replay", "generated"])
def test_two_processes_sleep_as_one(kind: str, out: Path) -> None:
    one, other = (load_file(out / f"{kind}.rank-{rank}.safetensors") for rank in (0, 1))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    alone = trained(kind)
    for name, parameter in alone.model.named_parameters():
        torch.testing.assert_close(parameter.detach(), one[name], rtol=PROCESSES, atol=1e-4)
    reservoir = sleep_of(alone).reservoir.tensors()
    assert all(torch.equal(tensor, one[f"reservoir/{name}"]) for name, tensor in reservoir.items())
