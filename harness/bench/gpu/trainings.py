"""Whole trainings on a card, side by side, in processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cortexzoo.harness.bench.gpu.row import Row
from cortexzoo.harness.fuzzing.campaign import set_options
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.zoo.checkpoints import CheckpointReader

SECTION = "trainings"
BF16 = "recipe.precision=bf16"
JOBS = {
    "cortex-v2-hybrid": (BF16,),
    "cortexgpt-stable": (BF16,),
    "transformer": (),
    "cortexgpt-original": (),
    "cortexgpt-original-high-rate": (),
}
SHORT = {
    "cortexgpt-stable": ("recipe.steps=60", "recipe.consolidation.every=10", "recipe.monitor.checkpoint_every=10"),
    "cortex-v2-hybrid": ("recipe.steps=12", "recipe.sleep.every=5", "recipe.monitor.checkpoint_every=3"),
}
"""What makes a training short; it is not checked."""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m")
MOST_SHARDED_DIFFERENCE = 1e-5
TRAINED = re.compile(r"(\d+ s) in all")
VERDICTS = re.compile(r"(All verdicts as expected|Not as expected: [^.]*)")


@dataclass
class Job:
    """A command in a process of its own, its output in a file."""

    process: "subprocess.Popen[bytes]"
    log: Path
    runs: Path
    began: float

    def finish(self, limit: float) -> tuple[int, float, str]:
        """Exit code, seconds, and what it says of its verdicts, or else the end of its output."""
        try:
            code = self.process.wait(max(1.0, limit - (time.perf_counter() - self.began)))
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        seconds = time.perf_counter() - self.began
        output = " ".join(self.log.read_text(encoding="utf-8", errors="replace").split())
        trained, verdicts = TRAINED.findall(output), VERDICTS.findall(output)
        said = "; ".join([*(f"trained in {each}" for each in trained[-1:]), *verdicts[-1:]])
        return code, seconds, said if verdicts else output[-400:]

    @property
    def run(self) -> Run:
        return Run(next(path.parent for path in self.runs.rglob("spec.yaml")))


def rows(folder: Path, limit: float, short: bool) -> Iterator[Row]:
    """Whole trainings on the device, several at a time. `short`: the shipped ones with few steps, still checked."""
    fewer = ("recipe.steps=20",) if short else ()
    started = {name: train(folder, name, name, [*changes, *fewer], "--check") for name, changes in JOBS.items()}
    finishing = ThreadPoolExecutor(len(started) + len(SHORT))
    finished = {name: finishing.submit(job.finish, limit) for name, job in started.items()}
    sharded = launched(folder, "sharded", [*TORCHRUN, "cortexzoo.harness.bench.gpu.sharded_steps"])
    ranked = train(folder, "torchrun", "cortexgpt-stable", SHORT["cortexgpt-stable"], launch=TORCHRUN)
    whole = {name: train(folder, f"whole-{name}", name, changes) for name, changes in SHORT.items()}
    killed = {name: finishing.submit(killed_and_resumed, folder, name, limit) for name in SHORT}
    for name, future in finished.items():
        code, seconds, output = future.result()
        changes = ", ".join(JOBS[name]) or "as shipped"
        yield Row(SECTION, f"`{name}`, {changes}", f"exit code {code}, {seconds:.0f} s: {output}", code == 0, "0")
    resumed = {name: future.result() for name, future in killed.items()}
    for job in (*whole.values(), ranked, *resumed.values()):
        job.finish(limit)
    for name, job in resumed.items():
        yield same_weights(whole[name], job, f"`{name}`, a short training, killed and resumed: weights")
    yield same_weights(whole["cortexgpt-stable"], ranked, "one process under torchrun, DDP: weights")
    yield from sharded_differences(sharded, limit)


def launched(folder: Path, what: str, arguments: Sequence[str]) -> Job:
    """A Python program with these arguments, and the folder of its runs."""
    runs, log = folder / what, folder / f"{what}.log"
    runs.mkdir(parents=True, exist_ok=True)
    return Job(python([*arguments, "--runs", str(runs)], log), log, runs, time.perf_counter())


def python(arguments: Sequence[str], log: Path) -> "subprocess.Popen[bytes]":
    """Two threads each: several run side by side."""
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "2"},
        )


def train(
    folder: Path, what: str, name: str, changes: Sequence[str], check: str = "--no-check", launch: Sequence[str] = ()
) -> Job:
    """`cortexzoo train`."""
    options = [*set_options(changes), "--trackers=jsonl", check]
    return launched(folder, what, [*(launch or ("-m",)), "cortexzoo", "train", name, *options])


def killed_and_resumed(folder: Path, name: str, limit: float) -> Job:
    """Kills a short run in its middle and resumes it."""
    job = train(folder, f"killed-{name}", name, SHORT[name])
    until = time.perf_counter() + limit
    middle = int(SHORT[name][0].partition("=")[2]) // 2
    while job.process.poll() is None and time.perf_counter() < until:
        time.sleep(0.02)
        found = list(job.runs.rglob("metrics.jsonl"))
        if found and found[0].read_bytes().count(b"\n") > middle:
            break
    job.process.send_signal(signal.SIGKILL)
    job.process.wait()
    options = [*set_options(SHORT[name]), "--trackers=jsonl", "--no-check", "--resume", str(job.run.path)]
    job.process = python(["-m", "cortexzoo", "train", name, *options], job.log)
    return job


def weights(run: Run) -> dict[str, Tensor]:
    """Of the last checkpoint. Raises `CheckpointError`."""
    return CheckpointReader(run.path / "checkpoints" / "last").tensors("model")


def same_weights(one: Job, other: Job, what: str) -> Row:
    """Whether two trainings end with the same bits."""
    codes = one.process.returncode, other.process.returncode
    if any(codes):
        return Row(SECTION, what, f"exit codes {codes[0]} and {codes[1]}: not compared", False, "bit-equal")
    try:
        expected, found = weights(one.run), weights(other.run)
        differing = [name for name in expected if not torch.equal(expected[name], found[name])]
    except Exception as error:  # whatever broke is the finding
        return Row(SECTION, what, f"{type(error).__name__}: {error}"[:200], False, "bit-equal")
    seen = "bit-equal" if not differing else f"{len(differing)} of {len(expected)} tensors differ"
    return Row(SECTION, what, seen, not differing, "bit-equal")


def sharded_differences(job: Job, limit: float) -> Iterator[Row]:
    """Of the losses with FSDP2 and without."""
    what = "FSDP2, one share on one card: losses of {}, relative to those without"
    code, _, output = job.finish(limit)
    file = job.runs / "losses.json"
    if code or not file.is_file():
        yield Row(SECTION, what.format("each model"), f"exit code {code}: {output}", False)
        return
    for name, (sharded, whole) in json.loads(file.read_text(encoding="utf-8")).items():
        worst = max(abs(one - other) / abs(other) for one, other in zip(sharded, whole, strict=True))
        yield Row(
            SECTION,
            what.format(f"`{name}` over {len(whole)} steps"),
            f"{worst:.1e}",
            worst <= MOST_SHARDED_DIFFERENCE,
            f"{MOST_SHARDED_DIFFERENCE:.0e}",
        )
