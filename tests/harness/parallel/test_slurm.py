"""Runs as jobs: submitted for real to this machine, and to a Slurm that is played by four small programs."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from cortexzoo.harness.parallel import slurm
from cortexzoo.harness.parallel.slurm import QUEUE, JobFailed, ScheduleError, Scheduler, option, train_scheduled
from cortexzoo.harness.parallel.slurm_job import main as queued_run
from cortexzoo.harness.parallel.train_missing import train_missing
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.specs import ExperimentSpec
from tests.harness.trained import killed_small, small, train_small

pytest.importorskip("submitit", reason="submitit is not installed: pip install -e '.[slurm]'")

QUICK = ("recipe.steps=2", "recipe.monitor.validate_every=2")


def job_file(runs: Path, experiment: ExperimentSpec) -> Path:
    file = runs / "spec.json"
    runs.mkdir(exist_ok=True)
    file.write_text(experiment.canonical_json())
    return file


@pytest.mark.slow
def test_jobs_of_this_machine_train_what_the_pool_would(tmp_path: Path) -> None:
    wanted = [small(*QUICK, f"seed={seed}") for seed in (1, 2)]
    found = {spec.seed: run for spec, run in train_missing(wanted, tmp_path, jobs=1, scheduler=Scheduler("local"))}
    assert set(found) == {1, 2} and all(run.finished for run in found.values())
    assert found[1].spec == wanted[0]
    here = train_small(tmp_path / "here", *QUICK, "seed=1")
    assert found[1].summary["validation_loss"] == here.summary["validation_loss"]
    again = {spec.seed: run.path for spec, run in train_missing(wanted, tmp_path, jobs=1, scheduler=Scheduler("local"))}
    assert again == {seed: run.path for seed, run in found.items()}


@pytest.mark.slow
def test_a_job_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    broken = small(*QUICK, "recipe.sequence_length=60000")
    with pytest.raises(JobFailed) as told:
        list(train_scheduled([broken], tmp_path, Scheduler("local"), jobs=1, threads=1))
    line = str(told.value)
    assert "cortexgpt-stable, seed 0: job " in line and "use a longer text or a smaller recipe.sequence_length" in line
    assert "\n" not in line


def test_only_strings_travel(tmp_path: Path) -> None:
    job = slurm._command(small(), tmp_path, 2)
    assert vars(job)["command"][1:3] == ["-m", "cortexzoo.harness.parallel.slurm_job"]
    assert all(isinstance(part, str) for part in vars(job)["command"])
    file = Path(vars(job)["command"][3])
    assert ExperimentSpec.from_json(file.read_text()) == small()


def test_without_submitit_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "find_spec", lambda name: None)
    with pytest.raises(ScheduleError, match=r"submitit is not installed: pip install -e '\.\[slurm\]'"):
        Scheduler("slurm")


def test_without_slurm_or_with_an_unknown_option_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScheduleError, match="--executor slurm: "):
        Scheduler("slurm").executor(tmp_path, 1, 1)
    with pytest.raises(ScheduleError, match=r"--executor local: .*no_such"):
        Scheduler("local", {"no_such": 3}).executor(tmp_path, 1, 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("timeout_min=240", ("timeout_min", 240)), ("slurm_partition=gpu", ("slurm_partition", "gpu"))],
)
def test_options(text: str, expected: tuple[str, str | int]) -> None:
    assert option(text) == expected


@pytest.mark.parametrize("text", ["timeout_min", "=3", "a b=3", "x="])
def test_options_that_are_none(text: str) -> None:
    with pytest.raises(ScheduleError, match="must be KEY=VALUE"):
        option(text)


def test_a_queued_run_goes_on_and_is_not_repeated(tmp_path: Path) -> None:
    cut_short = killed_small(tmp_path, 10)
    arguments = [str(job_file(tmp_path / "jobs", small())), str(tmp_path), "1"]
    assert queued_run(arguments) == 0
    run = Run.open(cut_short.path)
    assert run.finished and run.manifest["resumed"][0]["from_step"] == 8
    before = (run.path / "summary.json").stat().st_mtime_ns
    assert queued_run(arguments) == 0
    assert (run.path / "summary.json").stat().st_mtime_ns == before
    assert len(list(run.path.parent.iterdir())) == 1


def test_a_queued_run_waits_for_the_one_that_trains_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortexzoo.harness.parallel.slurm_job.LOOK_EVERY", 0.05)
    run = killed_small(tmp_path, 10)
    ended: list[int] = []
    arguments = [str(job_file(tmp_path / "jobs", small())), str(tmp_path), "1"]
    job = threading.Thread(target=lambda: ended.append(queued_run(arguments)))
    with run.held():
        job.start()
        time.sleep(0.5)
        assert ended == []
        run.write_json("summary.json", {"status": "finished"})
    job.join(timeout=60)
    assert ended == [0]
    assert len(list(run.path.parent.iterdir())) == 1


SBATCH = r"""
import os, pathlib, re, subprocess, sys, time
print("Submitted batch job 77", flush=True)
if os.fork():
    os._exit(0)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whoever submits reads until the end
os.dup2(1, 2)
text = pathlib.Path(sys.argv[-1]).read_text()
first, last = (int(part) for part in re.search(r"--array=(\d+)-(\d+)", text).groups())
queue = pathlib.Path(re.search(r"--output=(.*?)/%", text).group(1))
for task in range(first, last + 1):
    environment = {**os.environ, "SLURM_JOB_ID": f"{77 + task}", "SLURM_ARRAY_JOB_ID": "77", "SLURM_NTASKS": "1",
                   "SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "here",
                   "SLURM_NODEID": "0", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
    while not (queue / f"77_{task}").is_dir():
        time.sleep(0.05)
    done = subprocess.run(["bash"], input=text.encode(), env=environment)
    with open(os.environ["PLAYED_SLURM"], "a") as out:
        out.write(f"77_{task}|{'COMPLETED' if done.returncode == 0 else 'FAILED'}|here\n")
"""
SRUN = r"""
import os, subprocess, sys
for sign, name in (("%A", "SLURM_ARRAY_JOB_ID"), ("%a", "SLURM_ARRAY_TASK_ID"), ("%t", "SLURM_PROCID")):
    sys.argv = [part.replace(sign, os.environ[name]) for part in sys.argv]
files = {name: open(sys.argv[sys.argv.index(f"--{name}") + 1], "wb") for name in ("output", "error")}
command = next(index for index, part in enumerate(sys.argv) if os.path.basename(part).startswith("python"))
sys.exit(subprocess.run(sys.argv[command:], stdout=files["output"], stderr=files["error"]).returncode)
"""
SACCT = """
import os, pathlib
print("JobID|State|NodeList")
state = pathlib.Path(os.environ["PLAYED_SLURM"])
print(state.read_text() if state.exists() else "77_[0-1]|PENDING|here")
"""


@pytest.fixture
def played_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs that stand in for Slurm's: they run a submitted file at once, on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, program in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT), ("scancel", "")):
        file = folder / name
        file.write_text(f"#!{sys.executable}\n{program}")
        file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PLAYED_SLURM", str(tmp_path / "state"))
    return tmp_path


@pytest.mark.slow
def test_slurm_gets_one_job_array(played_slurm: Path) -> None:
    """No real Slurm is here: what is shown is that the submitted file runs, and that the end of each job is noticed."""
    runs = played_slurm / "runs"
    wanted = [small(*QUICK, f"seed={seed}") for seed in (1, 2)]
    scheduler = Scheduler("slurm", {"slurm_partition": "gpu", "timeout_min": 7})
    found = {spec.seed: run for spec, run in train_scheduled(wanted, runs, scheduler, jobs=2, threads=1)}
    assert set(found) == {1, 2} and all(run.finished for run in found.values())
    submission = next((runs / QUEUE).rglob("*submission*.sh"))
    text = submission.read_text()
    assert "#SBATCH --array=0-1%2" in text and "#SBATCH --partition=gpu" in text and "#SBATCH --time=7" in text
    assert json.loads(next((runs / QUEUE).glob("*.json")).read_text())["kind"] == "experiment"
