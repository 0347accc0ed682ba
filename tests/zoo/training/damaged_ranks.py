"""Trains a tiny CortexGPT with two processes of which one is damaged, and writes what each process was left with."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from cortexzoo.specs.fault import FaultsSpec, NonFinite
from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.memory import MemorySpec, ProjectedReadOut, RawRing, ShortTermRing
from cortexzoo.specs.recipe import AdamWSpec, EveryInterval, MonitorSpec
from cortexzoo.specs.variant import ColumnsSpec, CortexGPTSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.errors import CheckpointError, TrainingStopped
from cortexzoo.zoo.training.faults.injection import inject
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step
from cortexzoo.zoo.training.ranks import leave_group
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS
from cortexzoo.zoo.training.state.moments import optimizer_tensors
from tests.zoo.training.tiny import At, Notebook, tiny_data, tiny_spec

STEPS, EVERY = 14, 4
FAULTS = {
    "loss": {"damaged": NonFinite(place="loss", rank=1, step=5, expect="skip", harms=True)},
    "gradient": {"damaged": NonFinite(place="gradient", rank=1, step=5, expect="skip", harms=True)},
    "first": {"damaged": NonFinite(place="gradient", rank=0, step=5, expect="skip", harms=True)},
    "weight": {"damaged": NonFinite(place="weight", rank=1, step=5, expect="rollback", harms=True)},
    "moment": {"damaged": NonFinite(place="moment", rank=1, step=5, expect="rollback", harms=True)},
    "memory": {"damaged": NonFinite(place="memory", rank=1, step=5, expect="rollback", harms=True)},
}
"""Struck in step 5; the recovery point is that of step 4."""


class Diary(Policy):
    """Notes, on its own process, which batch each step met and whether it was refused, and the state at some steps."""

    name = "diary"

    def __init__(self, watched: set[int]) -> None:
        self.watched = watched
        self.refused: dict[int, str] = {}
        self.batches: dict[int, str] = {}
        self.states: dict[str, dict[str, Tensor]] = {}

    def batch_ready(self, trainer: TrainingLoop, step: Step) -> None:
        assert step.tokens is not None
        self.batches[step.number] = hashlib.sha256(step.tokens.numpy().tobytes()).hexdigest()

    def step_taken(self, trainer: TrainingLoop, step: Step) -> None:
        if step.number in self.watched:
            self.states[f"after {step.number}"] = everything(trainer)

    def step_refused(self, trainer: TrainingLoop, step: Step) -> None:
        self.refused[step.number] = str(step.refused)
        self.step_taken(trainer, step)


def everything(trainer: TrainingLoop) -> dict[str, Tensor]:
    """Weights, moments, memory and random numbers of this process."""
    parts = {
        "weight": trainer.model.state_dict(),
        "moment": optimizer_tensors(trainer),
        "memory": trainer.memory.tensors(),
        "random": trainer.random_state(),
    }
    return {f"{part} {name}": tensor.clone() for part, named in parts.items() for name, tensor in named.items()}


def make(out: Path, *policies: Policy, checkpoints: bool = False) -> TrainingLoop:
    """A fresh trainer with dropout, a memory that is carried over, and a recovery point every four steps."""
    memory = MemorySpec(
        short_term=ShortTermRing(capacity=6, carry_over=True, read_out=ProjectedReadOut(dropout=0.2)),
        long_term=RawRing(code_size=4, top_k=2, capacity=12, writes=5),
    )
    variant = CortexGPTSpec(name="tiny", hidden_size=8, columns=ColumnsSpec(num_columns=2), memory=memory)
    spec = tiny_spec(
        steps=STEPS, accumulation=2, optimizer=AdamWSpec(learning_rate=0.01),
        consolidation=EveryInterval(every=2), recovery=RecoveryCheckpoints(every=EVERY),
        monitor=MonitorSpec(probe_every=2, validate_every=7, checkpoint_every=5, swing_window=4),
    )  # fmt: skip
    folder = out / "checkpoints" if checkpoints else None
    trainer = TrainingLoop(build_model(variant, seed=0), spec, tiny_data(), recorder=Notebook(), checkpoints=folder)
    # After all others: so they see what consolidation and a rollback made of the step.
    trainer.policies += policies
    return trainer


def left(trainer: TrainingLoop, diary: Diary) -> dict[str, Any]:
    """What this process knows of its run, as JSON values."""
    assert isinstance(trainer.recorder, Notebook)
    guards = {p.name: p.state_dict() for p in trainer.policies if p.name in ("finite_gate", "spikes", "recovery")}
    return {
        "counts": [trainer.position, trainer.taken, trainer.refused],
        "refused": diary.refused,
        "batches": diary.batches,
        "guards": guards,
        "rows": [(step, {k: v for k, v in row.items() if k not in WALL_CLOCK_METRICS}) for step, row in
                 trainer.recorder.rows],
        "events": trainer.recorder.events,
    }  # fmt: skip


def damaged(out: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """One run with one fault."""
    diary = Diary({EVERY, 6, 8})
    trainer = make(out, diary)
    inject(trainer, FaultsSpec(name="f", faults=dict(FAULTS[name])))
    trainer.run()
    states = {**diary.states, "end": everything(trainer)}
    return left(trainer, diary), {f"{when}: {key}": t for when, state in states.items() for key, t in state.items()}


def went_on(out: Path) -> dict[str, Tensor]:
    """From the recovery point of step 4 to the end, past the batches that a rollback in step 8 left behind."""
    at_point = At("step_taken", {EVERY}, lambda trainer, step: trainer.save(out / "point"))
    make(out, at_point).run()
    trainer = make(out)
    trainer.load(out / "point")
    trainer.position = 8
    trainer.run()
    return everything(trainer)


def resumed(out: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Stopped in step 9, after a rollback; a fresh trainer goes on."""
    stop = At("step_taken", {9}, lambda trainer, step: trainer.stop("interrupted"))
    first_diary, diary = Diary(set()), Diary(set())
    first = make(out, first_diary, stop, checkpoints=True)
    inject(first, FaultsSpec(name="f", faults=dict(FAULTS["weight"])))
    first.run()
    second = make(out, diary)
    second.load(out / "checkpoints" / "last")
    second.run()
    found, before = left(second, diary), left(first, first_diary)
    for part in ("rows", "events"):
        found[part] = before[part] + found[part]
    for part in ("refused", "batches"):
        found[part] = before[part] | found[part]
    return found, {f"end: {key}": tensor for key, tensor in everything(second).items()}


def a_part_is_damaged(out: Path) -> str:
    """The second process's memory file is cut short: nobody goes on."""
    trainer = make(out, checkpoints=True)
    if trainer.ranks.is_main:
        file = out / "checkpoints" / "last" / "memory.rank-1.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
    trainer.ranks.wait()
    try:
        trainer.load(out / "checkpoints" / "last")
    except CheckpointError as problem:
        return str(problem)
    return ""


def one_gives_up(out: Path) -> str:
    """A policy of the second process alone gives up."""

    def give_up(trainer: TrainingLoop, step: Step) -> None:
        if trainer.ranks.rank == 1:
            trainer.fail(TrainingStopped(step.number, "no more"))

    try:
        make(out, At("step_taken", {3}, give_up)).run()
    except TrainingStopped as problem:
        return str(problem)
    return ""


def main(out: Path) -> None:
    torch.manual_seed(0)
    found: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    for name in FAULTS:
        found[name], states = damaged(out, name)
        tensors |= {f"{name}: {key}": tensor for key, tensor in states.items()}
    tensors |= {f"went on: {key}": tensor for key, tensor in went_on(out).items()}
    found["resumed"], states = resumed(out)
    tensors |= {f"resumed: {key}": tensor for key, tensor in states.items()}
    found["lines"] = [a_part_is_damaged(out), one_gives_up(out)]
    rank = make(out).ranks.rank
    save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, out / f"{rank}.safetensors")
    (out / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave_group()
