"""Runs as jobs of a real Slurm of one node, with accounting and without: `nox -s slurm`."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cortexzoo.harness.parallel import slurm_queue
from cortexzoo.harness.parallel.slurm import JobFailed, ScheduleError, Scheduler, train_scheduled
from cortexzoo.harness.runs.find import finished_runs, unfinished_runs
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.specs import ExperimentSpec
from tests.harness.parallel import real_slurm
from tests.harness.trained import small, train_small

pytest.importorskip("submitit", reason="submitit is not installed: pip install -e '.[slurm]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(real_slurm.missing() != "", reason=f"a real Slurm: {real_slurm.missing()}"),
]

QUICK = ("recipe.steps=2", "recipe.monitor.validate_every=2")
LONG = ("recipe.steps=100000", "recipe.monitor.checkpoint_every=10")
Train = Callable[..., dict[int, Run]]


@pytest.fixture(scope="module", params=[True, False], ids=["with accounting", "without"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with real_slurm.slurm(tmp_path_factory.mktemp("slurm"), accounting=request.param) as variables:
        yield variables


@pytest.fixture
def train(cluster: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Train:
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(slurm_queue, "ASK_EVERY", 1.0)

    def trained(wanted: list[ExperimentSpec], jobs: int = 2, **options: str | int) -> dict[int, Run]:
        scheduler = Scheduler("slurm", options)
        return {spec.seed: run for spec, run in train_scheduled(wanted, tmp_path, scheduler, jobs=jobs, threads=1)}

    return trained


def test_an_array_of_jobs_trains_what_this_process_would(train: Train, tmp_path: Path) -> None:
    found = train([small(*QUICK, f"seed={seed}") for seed in (1, 2, 3)])
    assert set(found) == {1, 2, 3} and all(run.finished for run in found.values())
    here = train_small(tmp_path / "here", *QUICK, "seed=2")
    assert found[2].summary["validation_loss"] == here.summary["validation_loss"]


def test_what_slurm_refuses_is_told_in_one_line(train: Train, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ScheduleError, match=r"^--executor slurm: the jobs were not accepted: sbatch: .*partition.*$"):
        train([small(*QUICK)], slurm_partition="nowhere")
    with pytest.raises(ScheduleError, match=r"not accepted: .*configuration is not available"):
        train([small(*QUICK)], mem_gb=100_000)
    assert capfd.readouterr() == ("", "")


def test_a_mistake_of_the_user_is_told_as_without_slurm(train: Train) -> None:
    with pytest.raises(JobFailed, match=r"seed 0: job .*use a longer text or a smaller recipe.sequence_length") as told:
        train([small(*QUICK, "recipe.sequence_length=60000")])
    assert "\n" not in str(told.value)


def test_a_job_that_cannot_begin_says_why_and_is_withdrawn_with_its_command(train: Train, tmp_path: Path) -> None:
    """Slurm takes a job for which the partition has no time, and lets it wait for ever."""
    file = tmp_path / "rates.yaml"
    file.write_text(
        "kind: matrix\nname: rates\ndescription: One run.\nexperiment: cortexgpt-stable\nseeds: [0]\n"
        "vary: {recipe.steps: [2]}\n"
    )
    program = (
        "from cortexzoo.harness.parallel import slurm_queue; slurm_queue.ASK_EVERY = 1.0\n"
        "from cortexzoo.harness.cli import program; program()"
    )
    options = ("--executor", "slurm", "--job", "timeout_min=6000", "--runs", str(tmp_path / "runs"))
    command = [sys.executable, "-c", program, "sweep", str(file), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as sweep:
        assert sweep.stderr is not None
        line = next(line for line in sweep.stderr if "jobs wait" in line)
        assert "1 of 1 jobs wait: Slurm says PartitionTimeLimit" in line
        assert queued() != ""
        sweep.send_signal(signal.SIGINT)
    until(lambda: queued() == "")


@pytest.mark.parametrize("end", ["killed", "cancelled"])
def test_a_job_that_ends_by_force_is_noticed_and_goes_on_with_the_same_command(
    train: Train, tmp_path: Path, end: str
) -> None:
    wanted = small(*LONG)
    started = subprocess.Popen([sys.executable, "-c", END, str(tmp_path), end])
    with pytest.raises(JobFailed, match="seed 0: job "):
        train([wanted])
    assert started.wait(timeout=60) == 0
    assert next(finished_runs(tmp_path, wanted), None) is None
    assert next(unfinished_runs(tmp_path, wanted), None) is not None
    until(lambda: queued() == "")


def test_a_job_whose_time_is_up_says_so(train: Train) -> None:
    """submitit ends a job a minute and a half before its limit, here at once."""
    with pytest.raises(JobFailed, match="its time is up: repeat the command to go on, with --job timeout_min=N"):
        train([small(*LONG)], timeout_min=1)


END = """
import pathlib, subprocess, sys, time
runs, end = pathlib.Path(sys.argv[1]), sys.argv[2]
while not list(runs.glob("*/*/checkpoints/*")):
    time.sleep(0.2)
extra = ["--full", "--signal=KILL"] if end == "killed" else []
jobs = subprocess.run(["squeue", "--noheader", "--format=%A"], capture_output=True, text=True).stdout.split()
sys.exit(subprocess.run(["scancel", *extra, *jobs]).returncode)
"""


def queued() -> str:
    return subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout


def until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.5)
