"""Injecting faults into a training run: each fault of a spec becomes one policy, none is in the loop."""

from typing import Any

from cortexzoo.specs.errors import SpecError
from cortexzoo.specs.fault import (
    BadBatch,
    BitFlip,
    FaultSpec,
    FaultsSpec,
    FullDisk,
    Kill,
    NonFinite,
    OptimizerReset,
    RandomReset,
    RepeatedBatch,
    Scaled,
    TrackerError,
    TruncatedCheckpoint,
)
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.zoo.training.faults.base import InjectedFault
from cortexzoo.zoo.training.faults.batches import BrokenBatch, GeneratorsBeginAnew, StuckReader
from cortexzoo.zoo.training.faults.machine import CutCheckpoint, KilledInStep, full_disk, killed_in_save
from cortexzoo.zoo.training.faults.numbers import (
    FlippedBit,
    NonFiniteInStep,
    NonFiniteLossOfOne,
    NonFiniteState,
    ScaledNumbers,
    ZeroedMoments,
)
from cortexzoo.zoo.training.policies.base import Trainer


def inject(trainer: Trainer, faults: FaultsSpec) -> None:
    """Inject every fault into `trainer`'s run, before any guard sees the step.

    Raises `SpecError` with one line for each fault that is due after the last step, or for a process that is absent.
    """
    require_steps(faults, trainer.recipe)
    require_processes(faults, trainer.ranks.count)
    trainer.policies[:0] = [injected(label, fault) for label, fault in faults.faults.items()]


def require_steps(faults: FaultsSpec, recipe: RecipeSpec) -> None:
    """Raise `SpecError` with one line for each fault that a run would never meet."""
    late = {label: fault.step for label, fault in faults.faults.items() if fault.step > recipe.steps}
    if late:
        raise SpecError(
            [
                f"{faults.name}: faults.{label}.step must be at most recipe.steps, {recipe.steps}, got {step}"
                for label, step in late.items()
            ]
        )


def require_processes(faults: FaultsSpec, count: int) -> None:
    """Raise `SpecError` with one line for each fault of one process that is not among `count`, or is the only one."""
    needed = {
        label: max(2, fault.rank + 1)
        for label, fault in faults.faults.items()
        if isinstance(fault, NonFinite) and fault.rank is not None
    }
    lines = [
        f"{faults.name}: faults.{label}.rank applies to one process of several: at least {least} must train "
        f"(torchrun --nproc-per-node {least} --no-python cortexzoo train …), got {count}"
        for label, least in needed.items()
        if least > count
    ]
    if lines:
        raise SpecError(lines)


def injected(label: str, fault: FaultSpec) -> InjectedFault[Any]:
    """The policy that injects `fault`."""
    match fault:
        case NonFinite(place="loss", rank=int()):
            return NonFiniteLossOfOne(label, fault)
        case NonFinite(place="loss" | "gradient"):
            return NonFiniteInStep(label, fault)
        case NonFinite():
            return NonFiniteState(label, fault)
        case Scaled():
            return ScaledNumbers(label, fault)
        case BitFlip():
            return FlippedBit(label, fault)
        case BadBatch():
            return BrokenBatch(label, fault)
        case RepeatedBatch():
            return StuckReader(label, fault)
        case OptimizerReset():
            return ZeroedMoments(label, fault)
        case RandomReset():
            return GeneratorsBeginAnew(label, fault)
        case Kill(during="step"):
            return KilledInStep(label, fault)
        case Kill():
            return killed_in_save(label, fault)
        case TruncatedCheckpoint():
            return CutCheckpoint(label, fault)
        case FullDisk():
            return full_disk(label, fault)
        case TrackerError():
            # It is announced here, and happens outside training: among the sinks of the harness.
            return InjectedFault(label, fault)
