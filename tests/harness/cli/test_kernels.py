"""What the command line makes of CORTEXZOO_KERNELS."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cortexzoo.harness.cli import main

USE = "import torch\nfrom cortexzoo.harness.cli.output import without_foreign_warnings\nwithout_foreign_warnings()\n"
USE += "from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule\nx = torch.ones(1, 4, 1, 2)\n"
USE += "for _ in range(2): chunk_gated_delta_rule(x, x, x, -x[..., 0], x[..., 0])\n"


def test_a_kernel_that_cannot_be_built_costs_one_line(tmp_path: Path) -> None:
    environment = {**os.environ, "CORTEXZOO_KERNELS": "1", "CORTEXZOO_CACHE": str(tmp_path), "CXX": "/nowhere/c++"}
    done = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True, check=False)
    said = "CORTEXZOO_KERNELS: no C++ compiler was found (/nowhere/c++); the form in PyTorch is used\n"
    assert (done.returncode, done.stderr) == (0, said)


@pytest.mark.parametrize("command", [["train", "transformer"], ["runs"], ["list"]])
def test_a_wrong_value_is_one_line_and_exit_code_2(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORTEXZOO_KERNELS", "maybe")
    assert main(command) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "CORTEXZOO_KERNELS must be 0 or 1, got 'maybe'"


def test_mutants_are_planted_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEXZOO_KERNELS", "1")
    assert main(["mutants", "--list"]) == 0
    assert os.environ["CORTEXZOO_KERNELS"] == "0"
