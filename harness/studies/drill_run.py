"""One run of a drill, in a process of its own where it may be killed: train with a fault, resume, see what is left."""

import json
import re
import shutil
import signal
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cortexzoo.harness.errors import RunStopped, in_one_line
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, Run, RunFolderError
from cortexzoo.harness.tracking.jsonl import from_json_value, to_json_value
from cortexzoo.specs import ExperimentSpec, FaultsSpec
from cortexzoo.specs.fault import FullDisk, Kill, TruncatedCheckpoint
from cortexzoo.zoo.errors import CheckpointError, TrainingError
from cortexzoo.zoo.training.faults.base import MISSED

if TYPE_CHECKING:
    from cortexzoo.harness.runs.interventions import Interventions
    from cortexzoo.harness.runs.options import RunOptions

OUTCOME = "outcome.json"
END = "end.json"
STATE = ("model", "optimizer", "memory", "rng")
"""The files of a checkpoint that are compared bit by bit: all that the next step depends on."""

End = Literal["finished", "stopped", "crashed", "killed"]


@dataclass(frozen=True)
class DrillResult:
    """What a run came to, after it was resumed if it had been killed or had found no space to save."""

    ended: End
    """stopped: with a line for the user; crashed: with an exception that is no message for a user."""
    line: str
    """The last line that the user would have seen of it."""
    stops: tuple[str, ...]
    """Every line with which the run ended early, also where it was resumed afterwards."""
    refused: int
    undone: int
    """Steps taken and then taken back by rollbacks."""
    rollbacks: int
    acted: str
    """What was done about it, in words."""
    final_loss: float | None
    """Held-out loss at the end, nats a byte; None: it was never measured, or is not finite."""
    finite: bool
    """All weights, moments and memory of the last checkpoint are; False too where it cannot be read."""
    state: Mapping[str, str]
    """sha256 of the last checkpoint's tensors, by file; empty where it cannot be read."""
    missed: str | None
    """Why the fault could not be injected; None: it was."""

    @property
    def steps_lost(self) -> int:
        """Refused ones and those that were taken back."""
        return self.refused + self.undone

    def same_state(self, other: "DrillResult") -> bool:
        """Whether both ended with the same bits."""
        return bool(self.state) and self.state == other.state

    def as_json(self) -> dict[str, Any]:
        """Every field."""
        content: dict[str, Any] = to_json_value(asdict(self))
        return content


def read_outcome(folder: Path) -> DrillResult | None:
    """The outcome that lies in `folder`. None: the run is not there, or was interrupted."""
    with suppress(OSError, ValueError, TypeError):
        content = from_json_value(json.loads((folder / OUTCOME).read_text(encoding="utf-8")))
        if content.keys() == {field.name for field in fields(DrillResult)}:
            return DrillResult(**{**content, "stops": tuple(content["stops"])})
    return None


def perform(experiment: str, faults: str | None, guards: bool, folder: Path) -> DrillResult:
    """Train `experiment` with `faults` (both as JSON) below `folder`, resume where that is due; return the result."""
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        # Without guards numbers that are not finite go everywhere.
        warnings.simplefilter("ignore", RuntimeWarning)
        return _perform(experiment, faults, guards, folder)


def _perform(experiment: str, faults: str | None, guards: bool, folder: Path) -> DrillResult:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    plan = None if faults is None else FaultsSpec.from_json(faults)
    kinds = [] if plan is None else list(plan.faults.values())
    if any(isinstance(fault, Kill | TruncatedCheckpoint) for fault in kinds):
        end, line = _in_own_process(experiment, faults, guards, folder)
    else:
        end, line = _train(experiment, faults, guards, folder)
    stops = [line] if end == "stopped" else []
    resumed = end == "killed" or (end == "stopped" and any(isinstance(fault, FullDisk) for fault in kinds))
    before = f"{end}{f': {line}' if line else ''}; resumed" if resumed else ""
    if resumed:
        end, line = _resume(experiment, guards, folder)
        stops += [line] if end == "stopped" else []
    outcome = _outcome(folder, ExperimentSpec.from_json(experiment), end, line, stops, before)
    (folder / OUTCOME).write_text(json.dumps(outcome.as_json(), indent=1), encoding="utf-8")
    return outcome


def _in_own_process(experiment: str, faults: str | None, guards: bool, folder: Path) -> tuple[End, str]:
    process = get_context("spawn").Process(target=_train, args=(experiment, faults, guards, folder))
    process.start()
    process.join()
    if process.exitcode in (-signal.SIGKILL, -signal.SIGTERM):
        return "killed", ""
    end = json.loads((folder / END).read_text(encoding="utf-8"))
    return end["ended"], end["line"]


def _train(experiment: str, faults: str | None, guards: bool, folder: Path) -> tuple[End, str]:
    from cortexzoo.harness.runs.interventions import Interventions
    from cortexzoo.harness.runs.train import train_run

    interventions = Interventions(None if faults is None else FaultsSpec.from_json(faults), guards)
    spec = ExperimentSpec.from_json(experiment)
    return _lived(
        folder,
        lambda: train_run(spec, folder, _quiet(interventions)),
    )


def _resume(experiment: str, guards: bool, folder: Path) -> tuple[End, str]:
    from cortexzoo.harness.runs.interventions import Interventions
    from cortexzoo.harness.runs.resume import resume_run

    spec, interventions = ExperimentSpec.from_json(experiment), Interventions(guards=guards)
    path = _run_in(folder, spec).path
    return _lived(
        folder,
        lambda: resume_run(path, spec, options=_quiet(interventions)),
    )


def _quiet(interventions: "Interventions") -> "RunOptions":
    from cortexzoo.harness.runs.options import RunOptions

    return RunOptions(trackers=(), warn=lambda _: None, interventions=interventions)


def _lived(folder: Path, life: Callable[[], object]) -> tuple[End, str]:
    """Run `life`, and record on disk how it ended."""
    end: tuple[End, str]
    try:
        life()
        end = "finished", ""
    except (TrainingError, RunStopped, RunFolderError) as problem:
        end = "stopped", re.sub(re.escape(str(folder)) + r"/\S*?(?=/checkpoints/)", "…", str(problem))
    except Exception as problem:
        end = "crashed", in_one_line(problem)
    (folder / END).write_text(json.dumps({"ended": end[0], "line": end[1]}), encoding="utf-8")
    return end


def _run_in(folder: Path, experiment: ExperimentSpec) -> Run:
    (path,) = (folder / experiment.name).iterdir()
    return Run.open(path)


def _outcome(
    folder: Path, experiment: ExperimentSpec, end: End, line: str, stops: list[str], before: str
) -> DrillResult:
    run = _run_in(folder, experiment)
    events = run.events()
    refusals = [event["detail"]["reason"] for event in events if event["kind"] == "step_refused"]
    rollbacks = [event["detail"] for event in events if event["kind"] == "rollback"]
    missed = next((event["detail"]["reason"] for event in events if event["kind"] == MISSED), None)
    words = [before] if before else []
    if refusals:
        words.append(f"refused {len(refusals)}: {refusals[0]}")
    words += [f"back to step {detail['to_step']}: {detail['cause']}" for detail in rollbacks]
    if end != "finished":
        words.append(f"{end}: {line}")
    summary: dict[str, Any] = {}
    with suppress(RunFolderError):
        summary = run.summary
    loss = summary.get("validation_loss") if end == "finished" else None
    finite, state = _last_checkpoint(run.path / CHECKPOINTS / "last")
    return DrillResult(
        ended=end,
        line=line,
        stops=tuple(stops),
        refused=len(refusals),
        undone=sum(detail["undone"] for detail in rollbacks),
        rollbacks=len(rollbacks),
        acted="; ".join(words) or "nothing",
        final_loss=loss if loss is not None and abs(loss) < float("inf") else None,
        finite=finite,
        state=state,
        missed=missed,
    )


def _last_checkpoint(folder: Path) -> tuple[bool, dict[str, str]]:
    """Whether everything in it is finite, and its sums."""
    from cortexzoo.zoo.checkpoints import CheckpointReader

    try:
        reader = CheckpointReader(folder)
        parts = [reader.tensors(name) for name in STATE]
    except CheckpointError:
        return False, {}
    floats = [tensor for part in parts for tensor in part.values() if tensor.is_floating_point()]
    finite = all(bool(tensor.isfinite().all()) for tensor in floats)
    return finite, {name: reader.sums[f"{name}.safetensors"] for name in STATE}
