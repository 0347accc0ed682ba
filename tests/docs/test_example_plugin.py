"""The example plugin, installed as a user does: every kind that it adds works, and a broken one costs one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXPERIMENT = """\
kind: experiment
name: from-a-plugin
data: pydoc-topics
variant: {family: mean, name: mean, hidden_size: 8}
recipe:
  extends: robust
  steps: 3
  batch_size: 2
  sequence_length: 16
  clipping: {kind: sign, most: 0.5}
  monitor: {validation_sequences: 2}
suite: {kind: suite, name: own, properties: {causality: {}, logits_are_centred: {}}}
trackers: [jsonl, lines]
"""
TASK = """\
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.data.tasks.build import build_task

spec = TaskSpec.from_json('{"name": "echo", "task": {"kind": "echo"}, "vocabulary": "own"}')
print("echo", len(build_task(spec).example("train", 0, 1).tokens))
"""
BROKEN = {
    "pyproject.toml": '[project]\nname = "broken"\nversion = "1"\n[build-system]\nrequires = ["hatchling"]\n'
    'build-backend = "hatchling.build"\n[project.entry-points."cortexzoo.variants"]\nbroken = "broken:Spec"\n',
    "broken.py": "import nothing_of_this_name\n",
}


@pytest.mark.slow  # installs two packages and starts processes
def test_every_kind_of_the_example_works(tmp_path: Path) -> None:
    pytest.importorskip("pip")
    pytest.importorskip("hatchling")
    (tmp_path / "broken").mkdir()
    for name, content in BROKEN.items():
        (tmp_path / "broken" / name).write_text(content)
    installed = tmp_path / "installed"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    packages = [str(ROOT / "docs" / "example-plugin"), str(tmp_path / "broken")]
    subprocess.run([*install, "--target", str(installed), *packages], check=True, timeout=300)
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT)

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        paths = os.pathsep.join([str(installed), str(ROOT / "src")])
        environment = {**os.environ, "PYTHONPATH": paths}
        return subprocess.run(
            [sys.executable, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )

    train = python("-m", "cortexzoo", "train", "experiment.yaml", "--runs", "runs")
    assert train.returncode == 0, train.stdout + train.stderr
    assert "logits_are_centred" in train.stdout
    left_out = [line for line in train.stderr.splitlines() if line.startswith("plugin ")]
    assert left_out == [
        "plugin broken: cortexzoo.variants broken (broken:Spec) is left out: importing it raised ModuleNotFoundError: "
        "No module named 'nothing_of_this_name'"
    ]
    (lines,) = (tmp_path / "runs").glob("*/*/lines.txt")
    assert lines.read_text().splitlines()[-1] == "finished"
    (tmp_path / "task.py").write_text(TASK)
    assert python("task.py").stdout.startswith("echo ")
    mistake = python("-m", "cortexzoo", "train", "experiment.yaml", "--set", "recipe.clipping.most=-1")
    assert mistake.returncode == 2
    assert "recipe.clipping.most must be > 0, got -1" in mistake.stderr
    assert '"mean"' in python("-m", "cortexzoo", "schema", "variant").stdout
