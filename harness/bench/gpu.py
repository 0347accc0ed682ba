"""Everything that a GPU can show, in one run.

Needs the checkout and, where they are missing, the packages accelerate, faiss-cpu, fla-core, jaxtyping, platformdirs,
psutil, pydantic, rich, ruamel.yaml, safetensors, transformers and typer. First the ops alone, against their naive twins
in float64 and against fla-core's kernels, with times by CUDA events; then, side by side in processes of their own, both
main jobs in bfloat16, every other shipped experiment, a run that is killed and resumed, and a run under torchrun.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from cortexzoo.harness.fuzzing.campaign import set_options
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.ops import gated_delta
from cortexzoo.zoo.ops.recurrent_gated_delta import recurrent_gated_delta_rule
from cortexzoo.zoo.ops.sliding_window import masked_window_attention, sliding_window_attention

HEADS, HEAD_DIM, WINDOW = 8, 64, 128
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Relative error against float64: rounding of the inputs, and of sums over a chunk."""
JOBS = {
    "cortexgpt-stable": ("recipe.precision=bf16",),
    "cortex-v2-hybrid": ("recipe.precision=bf16",),
    "transformer": (),
    "cortexgpt-original": (),
}
SHORT = ("recipe.steps=60", "recipe.monitor.checkpoint_every=10", "recipe.monitor.validate_every=20")
MOST_SECONDS = 400.0


@dataclass(frozen=True)
class Row:
    """One thing tried: what was seen, and whether that is within its bound (None: a figure without a bound)."""

    section: str
    what: str
    seen: str
    fine: bool | None = None


def relative_error(out: Tensor, expected: Tensor) -> float:
    return float((out.double().cpu() - expected.cpu()).norm() / expected.norm().cpu())


def milliseconds(call: Callable[[], object], times: int = 20) -> float:
    """Median time on the device."""
    for _ in range(3):
        call()
    taken = []
    for _ in range(times):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        taken.append(begin.elapsed_time(end))
    return float(median(taken))


def card() -> Iterator[Row]:
    """Name and the two measured ceilings: bfloat16 and float32 matrix products, and a copy within device memory."""
    section = "card"
    yield Row(section, "name", torch.cuda.get_device_name())
    yield Row(section, "torch, CUDA", f"{torch.__version__}, {torch.version.cuda}")
    for dtype in (torch.bfloat16, torch.float32):
        a, b = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
        rate = 2 * 8192**3 / milliseconds(lambda a=a, b=b: a @ b) / 1e9  # type: ignore[misc]
        yield Row(section, f"matrix product of 8192, {str(dtype)[6:]}", f"{rate:.0f} TFLOP/s")
    source = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source)
    yield Row(section, "copy of 1 GiB", f"{2 * 2**30 / milliseconds(lambda: target.copy_(source)) / 1e9:.2f} TB/s")


def delta_inputs(length: int, dtype: torch.dtype) -> list[Tensor]:
    """q, k with unit rows, v, a log decay that keeps most, beta in (0, 1)."""
    rng = torch.Generator("cuda").manual_seed(length)
    q, k, v = (torch.randn(2, length, HEADS, HEAD_DIM, device="cuda", generator=rng) for _ in range(3))
    g, beta = (torch.randn(2, length, HEADS, device="cuda", generator=rng) for _ in range(2))
    tensors = [normalize(q, dim=-1), normalize(k, dim=-1), v]
    return [*(tensor.to(dtype) for tensor in tensors), logsigmoid(g + 4), beta.sigmoid()]


def outputs_and_gradients(op: Callable[..., Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    out = op(*leaves)
    weights = torch.linspace(-1, 1, out.numel(), device=out.device, dtype=out.dtype).view_as(out)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def ours(*inputs: Tensor) -> Tensor:
    q, k, v, g, beta = inputs
    return gated_delta.chunk_gated_delta_rule(q, k, v, g, beta)[0]


def naive(*inputs: Tensor) -> Tensor:
    q, k, v, g, beta = inputs
    return recurrent_gated_delta_rule(q, k, v, g, beta)[0]


def window(*inputs: Tensor) -> Tensor:
    q, k, v = inputs
    return sliding_window_attention(q, k, v, WINDOW)[0]


def naive_window(*inputs: Tensor) -> Tensor:
    """Every pair of tokens, under a mask."""
    q, k, v = inputs
    return masked_window_attention(q, k, v, WINDOW)[0]


def without_kernel(*inputs: Tensor) -> Tensor:
    """Our own chunked form also where fla-core's kernel would be taken."""
    kernel, gated_delta._fla_kernel = gated_delta._fla_kernel, lambda device: None  # type: ignore[assignment]
    try:
        return ours(*inputs)
    finally:
        gated_delta._fla_kernel = kernel


def ops() -> Iterator[Row]:
    """Outputs and gradients against the naive twins in float64; times beside fla-core."""
    has_kernel = gated_delta._fla_kernel(torch.device("cuda", 0)) is not None
    forms: list[tuple[str, Callable[..., Tensor], torch.dtype]] = [
        ("chunked", without_kernel, torch.float32),
        ("chunked", without_kernel, torch.bfloat16),
    ]
    if has_kernel:
        forms.append(("fla-core", ours, torch.bfloat16))
    for name, op, dtype in forms:
        inputs = delta_inputs(300, dtype)
        exact = outputs_and_gradients(naive, [tensor.double() for tensor in inputs])
        found = outputs_and_gradients(op, inputs)
        errors = [relative_error(one, other) for one, other in zip(found, exact, strict=True)]
        what = f"gated delta, {name}, {str(dtype)[6:]}: outputs; worst gradient"
        yield Row("ops", what, f"{errors[0]:.1e}; {max(errors[1:]):.1e}", max(errors) <= BOUNDS[dtype])
    for dtype in (torch.float32, torch.bfloat16):
        inputs = delta_inputs(500, dtype)[:3]
        exact = outputs_and_gradients(naive_window, [tensor.double() for tensor in inputs])
        found = outputs_and_gradients(window, inputs)
        worst = max(relative_error(one, other) for one, other in zip(found, exact, strict=True))
        yield Row("ops", f"window attention, {str(dtype)[6:]}: worst", f"{worst:.1e}", worst <= BOUNDS[dtype])
    for length in (2048, 8192, 32768):
        inputs = delta_inputs(length, torch.bfloat16)
        with torch.no_grad():
            chunked = milliseconds(lambda inputs=inputs: without_kernel(*inputs), 5)  # type: ignore[misc]
            kernel = milliseconds(lambda inputs=inputs: ours(*inputs), 5) if has_kernel else None  # type: ignore[misc]
        beside = "fla-core is absent or does not work here" if kernel is None else f"fla-core {kernel:.2f} ms"
        yield Row("ops", f"gated delta forward, bfloat16, 2 × {length} tokens", f"chunked {chunked:.2f} ms, {beside}")


@dataclass
class Job:
    """A command in a process of its own, its output in a file."""

    what: str
    process: "subprocess.Popen[bytes]"
    log: Path
    runs: Path
    began: float

    def finish(self, limit: float) -> tuple[int, float, str]:
        """Exit code, seconds, and the last lines of its output."""
        try:
            code = self.process.wait(max(1.0, limit - (time.perf_counter() - self.began)))
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return code, time.perf_counter() - self.began, " ".join(" ".join(lines[-4:]).split())[-400:]


def start(folder: Path, what: str, name: str, changes: Sequence[str], *, launch: Sequence[str] = ()) -> Job:
    runs, log = folder / what, folder / f"{what}.log"
    command = [
        sys.executable,
        *(launch or ("-m",)),
        "cortexzoo",
        "train",
        name,
        *set_options(changes),
        "--trackers=jsonl",
        "--runs",
        str(runs),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    return Job(what, process, log, runs, time.perf_counter())


def the_run(job: Job) -> Run:
    return Run(next(path.parent for path in job.runs.rglob("spec.yaml")))


def weights(run: Run) -> dict[str, Tensor]:
    return CheckpointReader(run.path / "checkpoints" / "last").tensors("model")


def killed_and_resumed(folder: Path, limit: float) -> Job:
    """Kills a short run in its middle and resumes it."""
    job = start(folder, "killed", "cortexgpt-stable", SHORT)
    until = time.perf_counter() + limit
    while job.process.poll() is None and time.perf_counter() < until:
        time.sleep(0.02)
        found = list(job.runs.rglob("metrics.jsonl"))
        if found and len(found[0].read_bytes().splitlines()) >= 25:
            break
    job.process.send_signal(signal.SIGKILL)
    job.process.wait()
    command = [sys.executable, "-m", "cortexzoo", "train", "cortexgpt-stable", *set_options(SHORT), "--trackers=jsonl"]
    command += ["--resume", str(the_run(job).path)]
    with job.log.open("wb") as out:
        job.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    return job


def jobs(folder: Path, limit: float) -> Iterator[Row]:
    """Whole trainings on the device, several at a time."""
    started = [start(folder, name, name, changes) for name, changes in JOBS.items()]
    whole = start(folder, "whole", "cortexgpt-stable", SHORT)
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m")
    ranked = start(folder, "one rank of torchrun", "cortexgpt-stable", SHORT, launch=launch)
    resumed = killed_and_resumed(folder, limit)
    for job in started:
        code, seconds, output = job.finish(limit)
        changes = ", ".join(JOBS[job.what]) or "as shipped"
        yield Row("trainings", f"{job.what}, {changes}", f"exit code {code}, {seconds:.0f} s: {output}", code == 0)
    for job in (whole, ranked, resumed):
        job.finish(limit)
    for job, what in ((resumed, "killed and resumed: weights"), (ranked, "under torchrun, one process: weights")):
        try:
            expected, found = weights(the_run(whole)), weights(the_run(job))
            differing = [name for name in expected if not torch.equal(expected[name], found[name])]
            seen = "bit-equal" if not differing else f"{len(differing)} of {len(expected)} tensors differ"
            yield Row("trainings", what, seen, not differing)
        except Exception as error:  # whatever broke is the finding
            yield Row("trainings", what, f"{type(error).__name__}: {error}"[:200], False)


def is_there() -> bool:
    """Whether torch sees a card."""
    return torch.cuda.is_available()


def rows(seconds: float) -> Iterator[Row]:
    """All that is tried, one after the other; `seconds` limits each training."""
    with tempfile.TemporaryDirectory() as folder:
        for part in (card(), ops(), jobs(Path(folder), seconds)):
            yield from part


def page(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "# On a GPU",
        "",
        "Written by `cortexzoo bench gpu --page docs/gpu.md`, one process on one card.",
        "",
    ]
    for section in dict.fromkeys(row.section for row in rows):
        lines += [f"## {section.capitalize()}", "", "| what | seen | |", "|---|---|---|"]
        marks = {True: "within its bound", False: "**not within its bound**", None: ""}
        lines += [f"| {r.what} | {r.seen.replace('|', '/')} | {marks[r.fine]} |" for r in rows if r.section == section]
        lines.append("")
    return "\n".join(lines)
