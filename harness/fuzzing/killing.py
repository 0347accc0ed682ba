"""Training that is killed at a chosen moment, and what two runs must share bit by bit."""

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # every process needs it and takes half a second for it: it is imported before the forks

from cortexzoo.harness.runs.options import UNTRACKED
from cortexzoo.harness.runs.resume import help_to_resume, resume_run
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, SPEC, Run
from cortexzoo.harness.runs.train import help_to_train, train_run
from cortexzoo.harness.tracking import jsonl
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.errors import Failure, UserError
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS

EXPERIMENT = (
    "recipe=phase-1",
    "variant.hidden_size=16",
    "variant.columns.num_columns=2",
    "recipe.steps=40",
    "recipe.batch_size=2",
    "recipe.sequence_length=16",
    "recipe.optimizer.learning_rate=0.01",
    "recipe.consolidation.every=3",
    "recipe.spikes={kind: robust, deviations: 2.0, gradient_deviations: 2.0, min_history: 4, rebaseline_after: 2}",
    "recipe.spikes.action=rollback",
    "recipe.recovery.every=5",
    "recipe.recovery.storm_limit=100",
    "recipe.monitor.probe_every=2",
    "recipe.monitor.validate_every=6",
    "recipe.monitor.validation_sequences=4",
    "recipe.monitor.checkpoint_every=4",
    "recipe.monitor.keep_last=2",
)
"""So touchy that it refuses steps and rolls back: then the guards have something to remember."""
IN_SAVE = ("fsync", "rename")
"""The calls of a save after which another state is on disk."""
CALLS = (*IN_SAVE, "replace", "unlink", "mkdir", "rmdir", "link", "truncate")
"""The calls that change what is on disk, besides writing."""
Half = Callable[[], object]
"""Does half of what a call would write."""
Heard = Callable[[Half], object]
"""Called before each such call."""


def record(run: Run) -> dict[str, Any]:
    """Everything of a run that must be bitwise equal, by name; tensors as their bytes."""
    clock = {*WALL_CLOCK_METRICS, "time"}
    found: dict[str, Any] = {
        "metrics": [{key: repr(value) for key, value in row.items() if key not in clock} for row in run.metrics()],
        "events": [{key: value for key, value in event.items() if key != "time"} for event in run.events()],
    }
    for folder in sorted((run.path / CHECKPOINTS).glob("[!.]*")):
        reader = CheckpointReader(folder)
        for file in reader.sums:
            name, _, kind = file.rpartition(".")
            if kind == "safetensors":
                tensors = reader.tensors(name)
                found[f"{folder.name}/{name}"] = {key: _bytes(tensor) for key, tensor in tensors.items()}
        trainer = reader.json("trainer")
        trainer["policies"].pop("telemetry")
        found[f"{folder.name}/trainer"] = trainer
    return found


def differing(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """The names of what is not equal."""
    return [name for name in {**expected, **found} if expected.get(name) != found.get(name)]


def the_run(runs: Path) -> Run | None:
    """The one run below `runs` that has a spec."""
    found = sorted(runs.glob(f"*/*/{SPEC}"))
    return Run.open(found[-1].parent) if found else None


def in_a_process(target: Any, *arguments: Any, kill_after: float | None = None, count: int = 1) -> int | None:
    """Run `target` in a fork of this process, which has everything imported and has computed nothing yet.

    With `count` in so many that train together; when the first ends, the others are ended, as torchrun does.
    Gives the exit code of the first.
    """
    context = multiprocessing.get_context("fork")
    port = _free_port() if count > 1 else 0
    processes = [context.Process(target=_begin, args=(rank, count, port, target, *arguments)) for rank in range(count)]
    for process in processes:
        process.start()
    processes[0].join(kill_after)
    for process in processes[1:]:
        process.join(5.0 if processes[0].exitcode == 0 else 0.0)
    for process in processes:
        if process.is_alive():
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
    return processes[0].exitcode


def train(experiment: ExperimentSpec, runs: Path) -> None:
    """Train into `runs`."""
    if not _is_first():
        help_to_train(experiment)
        return
    train_run(experiment, runs, UNTRACKED)


def resume(experiment: ExperimentSpec, path: Path, checkpoint: str = "last") -> None:
    """Resume the run in `path`."""
    if not _is_first():
        help_to_resume(experiment, checkpoint, False)
        return
    resume_run(path, experiment, checkpoint=checkpoint, options=UNTRACKED)


def refusal_in(words: Path, target: Any, *arguments: Any) -> None:
    """Run `target`; where it is refused, write the line to `words` and exit with 2."""
    try:
        target(*arguments)
    except (UserError, Failure) as problem:
        words.write_text(str(problem))
        os._exit(2)


def until_call(last: int, names: tuple[str, ...], target: Any, *arguments: Any) -> None:
    """Run `target`, and die in call number `last`: one that writes does half, the others nothing."""
    made = 0

    def count(half: Half) -> None:
        nonlocal made
        made += 1
        if made == last:
            half()
            os.kill(os.getpid(), signal.SIGKILL)

    if _is_first():
        _watch(count, names)
    target(*arguments)


def failing_from(first: int, number: int, names: tuple[str, ...], target: Any, *arguments: Any) -> None:
    """Run `target`; from call `first` on each raises the `OSError` of that number, half of what it writes done."""
    made = 0

    def count(half: Half) -> None:
        nonlocal made
        made += 1
        if made >= first:
            half()
            raise OSError(number, os.strerror(number))

    _watch(count, names)
    target(*arguments)


def counting(tally: Path, names: tuple[str, ...], target: Any, *arguments: Any) -> None:
    """Run `target`, and add a byte to `tally` for each call."""
    with tally.open("ab", buffering=0) as file:
        _watch(lambda _: file.write(b"."), names)
        target(*arguments)


def _begin(rank: int, count: int, port: int, target: Any, *arguments: Any) -> None:
    if count > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
        }  # fmt: skip
    target(*arguments)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _watch(heard: Heard, names: tuple[str, ...]) -> None:
    for name in names:
        if name != "write":
            original = getattr(os, name)
            setattr(os, name, _watched(original, heard))
    if "write" in names:
        _watch_writes(heard)


def _watched(original: Any, heard: Heard) -> Any:
    def watched(*arguments: Any, **named: Any) -> Any:
        heard(lambda: None)
        return original(*arguments, **named)

    return watched


def _watch_writes(heard: Heard) -> None:
    """Lines of records, and files of checkpoints: half of each may be on disk when the process dies."""
    append, write = jsonl._LineFile.append, checkpoints._write

    def appending(file: Any, entry: Any) -> None:
        heard(lambda: file._file.write(b'{"step": 1'))
        append(file, entry)

    def writing(path: Path, content: bytes) -> None:
        heard(lambda: path.write_bytes(content[: len(content) // 2]))
        write(path, content)

    setattr(jsonl._LineFile, "append", appending)  # noqa: B010
    checkpoints._write = writing


def _bytes(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    flat = tensor.contiguous().flatten().view(torch.uint8) if tensor.numel() else tensor.new_zeros(0, dtype=torch.uint8)
    return str(tensor.dtype), tuple(tensor.shape), flat.numpy().tobytes()
