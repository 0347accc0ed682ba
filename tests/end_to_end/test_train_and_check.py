"""The way of a newcomer, with the real command in a process of its own: train, look, check again, generate."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cortexzoo.harness.runs.run_folder import Run
from tests.harness.trained import FEW, SMALL

ROOT = Path(__file__).parents[2]
COMMAND = "import sys; from cortexzoo.harness.cli import main; sys.exit(main())"
FILES = {"spec.yaml", "metrics.jsonl", "events.jsonl", "summary.json", "manifest.json", "verdict.json", "curves.png"}


def cortexzoo(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as its console script does."""
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def train(runs: Path, *changes: str) -> subprocess.CompletedProcess[str]:
    return cortexzoo(
        "train", "cortexgpt-stable", *(part for change in changes for part in ("--set", change)), "--runs", str(runs)
    )


def only_run(runs: Path) -> Run:
    (folder,) = (runs / "cortexgpt-stable").iterdir()
    return Run.open(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(runs: Path) -> subprocess.CompletedProcess[str]:
    return train(runs, *SMALL, FEW)


@pytest.fixture(scope="module")
def run(runs: Path, trained: subprocess.CompletedProcess[str]) -> Run:
    return only_run(runs)


def test_training_ends_with_a_verdict(trained: subprocess.CompletedProcess[str], run: Run) -> None:
    assert trained.returncode == 1, trained.stderr
    assert run.certificate.outcome == "unexpected"
    assert [judgement.name for judgement in run.certificate.unexpected] == ["better_than_counting"]
    assert "Not as expected: better_than_counting" in trained.stdout


def test_the_screen_shows_nothing_of_other_libraries(trained: subprocess.CompletedProcess[str]) -> None:
    assert all(line.startswith("step ") for line in trained.stderr.splitlines()), trained.stderr


def test_the_run_folder_is_complete(run: Run) -> None:
    assert {path.name for path in run.path.iterdir()} >= FILES
    for checkpoint in ("best", "last"):
        assert (run.path / "checkpoints" / checkpoint / "model.safetensors").is_file()
    assert not list(run.path.rglob("*.partial"))
    assert (run.path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_aim_shows_the_run(runs: Path, run: Run) -> None:
    pytest.importorskip("aim", reason="Aim is not available for this Python or system")
    program = """
import json, sys
from pathlib import Path
from tests.aim_reading import read_series
from aim import Run
runs, run_hash = Path(sys.argv[1]), sys.argv[2]
loss = read_series(runs, "train/loss", run_hash=run_hash)
shares = read_series(runs, "memory/gate_share", run_hash=run_hash)
run = Run(run_hash, repo=str(runs), read_only=True)
print(json.dumps({"loss": loss[None], "sources": sorted(shares), "summary": run["summary"], "tags": sorted(run.tags),
                  "parameters": {name: run[name] for name in ("variant", "recipe", "seed", "spec_hash", "hparams")}}))
"""
    arguments = [str(runs), run.manifest["trackers"]["aim"]]
    read = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    steps, losses = found["loss"]
    assert steps == list(range(1, 13))
    assert losses == pytest.approx([line["train/loss"] for line in run.metrics()])
    assert found["sources"] == ["current", "long_term", "short_term"]
    assert found["summary"]["verdicts"] == run.summary["verdicts"]
    assert found["summary"]["verdict"] == "unexpected"
    assert found["tags"] == ["variant:cortexgpt-stable", "verdict:unexpected"]
    assert found["parameters"]["spec_hash"] == run.spec.hash()
    assert found["parameters"]["hparams"]["recipe"]["steps"] == 12


@pytest.mark.slow
def test_the_whole_suite_is_checked_and_checking_again_gives_the_same_verdicts(tmp_path: Path) -> None:
    assert train(tmp_path, *SMALL).returncode == 1
    run = only_run(tmp_path)
    assert [judgement.name for judgement in run.certificate.unexpected] == ["better_than_counting"]
    before = {judgement.name: (judgement.verdict, judgement.observed) for judgement in run.certificate.judgements}
    checked = cortexzoo("check", str(run.path))
    assert checked.returncode == 1
    assert checked.stderr == ""
    after = {judgement.name: (judgement.verdict, judgement.observed) for judgement in run.certificate.judgements}
    assert before.pop("linear_time")[0] == after.pop("linear_time")[0]  # measured by the clock
    assert after == before


def test_the_model_continues_a_prompt(run: Run) -> None:
    generated = cortexzoo("generate", str(run.path), "--prompt", "The class ", "--tokens", "20")
    assert (generated.returncode, generated.stderr) == (0, "")
    assert generated.stdout.startswith("The class ")
    assert len(generated.stdout.encode()) > len("The class ")


@pytest.mark.slow  # the line for an Aim that cannot be imported is that of tests/harness/tracking/test_base.py
def test_a_broken_aim_costs_one_line(tmp_path: Path) -> None:
    (tmp_path / "aim").mkdir()
    (tmp_path / "aim" / "__init__.py").write_text("raise RuntimeError('broken build')\n")
    changes = [part for change in (*SMALL, FEW) for part in ("--set", change)]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    ended = cortexzoo(
        "train", "cortexgpt-stable", *changes, "--runs", str(tmp_path / "runs"), environment={"PYTHONPATH": path}
    )
    assert ended.returncode == 1
    told = [line for line in ended.stderr.splitlines() if not line.startswith("step ")]
    assert told == ["aim tracking disabled after an error; training continues: RuntimeError: broken build"]
