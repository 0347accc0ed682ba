"""What one process trains against what several train: where the two are apart, and whether the several agree."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from cortexzoo.harness.checking.training.difference import relative
from cortexzoo.harness.checking.training.played_processes import PlayedLoop
from cortexzoo.harness.checking.training.restored import OF_THE_MACHINE
from cortexzoo.harness.checking.training.witness import Record, Witness
from cortexzoo.zoo.errors import TrainingStopped
from cortexzoo.zoo.training.policies.base import find_policy
from cortexzoo.zoo.training.policies.measuring.telemetry import Telemetry
from cortexzoo.zoo.training.ranks import batch_dimensions
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS
from cortexzoo.zoo.training.replicated import Model
from cortexzoo.zoo.training.result import TrainingResult
from cortexzoo.zoo.training.state.moments import optimizer_tensors

Outcome = TrainingResult | TrainingStopped

LEAST_CHANGE = 0.1
"""Of the whole change: of a bias that softmax cancels nothing but the rounding of sums is left."""
LEAST_NUMBER = 1e-2
"""What the difference of a smaller number is relative to."""
OF_A_PASS = ("memory/gate_entropy", "memory/output_share/")
"""How metrics begin that are of the rows of a pass together, and not the mean of those of each row."""
OF_ONE_PROCESS = {"sample"}
"""Events that show some of the first process's rows."""


@dataclass(frozen=True)
class Trained:
    """What one process has when its training is over."""

    loop: PlayedLoop
    record: Record
    witness: Witness
    outcome: Outcome


def unlike_each_other(parts: Sequence[Trained]) -> Iterator[str]:
    """What should have one value on all processes and has not, and what only the first may do."""
    first = parts[0].loop
    weights, kept = first.model.state_dict(), first.memory.tensors()
    dimensions = batch_dimensions(first.model, kept)
    for rank, part in enumerate(parts[1:], start=1):
        loop, own, memory = part.loop, part.loop.model.state_dict(), part.loop.memory.tensors()
        pairs = {f"weight {name}": (one, own[name]) for name, one in weights.items()}
        pairs |= {f"memory {n}": (one, memory[n]) for n, one in kept.items() if n not in dimensions}
        yield from (
            f"{name} of process {rank} is not that of process 0"
            for name, (one, other) in pairs.items()
            if not torch.equal(one, other)
        )
        for words, name in (("attempted", "position"), ("taken", "taken"), ("refused", "refused")):
            if getattr(first, name) != getattr(loop, name):
                yield f"process {rank} has {getattr(loop, name)} steps {words}, process 0 {getattr(first, name)}"
        if part.record.steps or part.record.events:
            yield f"process {rank} records, too"
        if part.witness.served[0].random_state.are(parts[0].witness.served[0].random_state):
            yield f"process {rank} draws the same random numbers as process 0"


def unlike_events(alone: Record, found: Record, begun: int) -> Iterator[str]:
    """Events that only one of both recorded, from a step on. Of what they say, whole numbers are compared."""
    whole, theirs = (
        Counter(
            (step, kind, tuple((name, value) for name, value in sorted(said.items()) if isinstance(value, int)))
            for step, kind, said in record.events
            if step >= begun and kind not in OF_ONE_PROCESS
        )
        for record in (alone, found)
    )
    yield from (f"no {kind} at step {step} like that of one process" for step, kind, _ in whole - theirs)
    yield from (f"a {kind} at step {step} that one process has not" for step, kind, _ in theirs - whole)


def tokens_apart(alone: PlayedLoop, found: PlayedLoop) -> dict[str, float]:
    """How many tokens each training has read in all, by which its speed is measured."""
    counts = [getattr(find_policy(loop.policies, Telemetry), "tokens", None) for loop in (alone, found)]
    return {"the number of tokens read": _numbers_apart(*counts)}


def recorded_apart(alone: Record, found: Record, begun: int) -> dict[str, float]:
    """By metric and step."""
    steps = [step for step in alone.steps if step >= begun]
    named = {(name, step) for step in steps for name in alone.steps[step].keys() | found.steps.get(step, {}).keys()}
    return {
        f"{name} of step {step}": _numbers_apart(alone.steps[step].get(name), found.steps.get(step, {}).get(name))
        for name, step in sorted(named)
        if name not in WALL_CLOCK_METRICS and not name.startswith(OF_A_PASS)
    }


def outcomes_apart(alone: Outcome, found: Outcome) -> dict[str, float]:
    """By number of the result."""
    if isinstance(alone, TrainingStopped) or isinstance(found, TrainingStopped):
        return {"how it ends": 0.0 if str(alone) == str(found) else math.inf}
    one, other = (dict(_leaves(asdict(result), "")) for result in (alone, found))
    return {
        f"{name} of the result": _numbers_apart(one.get(name), other.get(name))
        for name in sorted(one.keys() | other.keys())
    }


def _leaves(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """The numbers of a result by name."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key not in OF_THE_MACHINE:
                yield from _leaves(part, f"{path} {key}".strip())
    elif isinstance(value, int | float):
        yield path, float(value)


def _numbers_apart(one: float | None, other: float | None) -> float:
    """Relative to the first, or to `LEAST_NUMBER`; infinity where only one is there, or is finite."""
    if one is None or other is None:
        return math.inf
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    apart = abs(one - other) / max(LEAST_NUMBER, abs(one))
    return math.inf if math.isnan(apart) else apart


def state_apart(alone: PlayedLoop, loops: Sequence[PlayedLoop], fresh: Model) -> dict[str, float]:
    """By tensor: weights relative to what training changed, moments and memory, put together again, to their size."""
    first, start, weights = loops[0], fresh.state_dict(), alone.model.state_dict()
    changed = {n: (t, weights[n], start[n]) for n, t in first.model.state_dict().items()}
    found = relative("weight", changed, LEAST_CHANGE)
    moments = optimizer_tensors(alone)
    found |= relative("moment", {n: (t, moments[n], None) for n, t in optimizer_tensors(first).items()})
    tensors = [loop.memory.tensors() for loop in loops]
    dimensions = batch_dimensions(first.model, tensors[0])
    together = {
        name: torch.cat([part[name] for part in tensors], dimensions[name]) if name in dimensions else one
        for name, one in tensors[0].items()
    }
    return found | relative("memory", {n: (together.get(n), one, None) for n, one in alone.memory.tensors().items()})
