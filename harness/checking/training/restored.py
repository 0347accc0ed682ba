"""What policies have when they are read back, against what was written; and the results of two trainings."""

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.specs import ExperimentSpec, guards
from cortexzoo.specs.sleep import AcceptAlways, ReplaySleep
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy
from cortexzoo.zoo.training.result import TrainingResult
from cortexzoo.zoo.training.sleep.policy import Sleep

OF_A_STEP = {
    "rates_by_importance._before", "sleep._before_step", "recovery._bounds", "batch_gate._cause", "finite_gate._cause",
    "adagc._learnt", "samples._measured", "samples.gap", "stability._movement", "update_size._movement",
    "updates._movement", "updates._rate",
}  # fmt: skip
"""What a policy keeps for the rest of a step, or makes again from the rest once it is needed."""
OF_THE_MACHINE = {"seconds", "tokens_per_second", "peak_memory_bytes"}
"""Of a result."""
ZOO = "cortexzoo.zoo."
"""Begins the modules of policies whose states are known to take any value."""
OWN = "harness_"
"""Begins the names of the harness's own policies, which no checkpoint knows."""
COUNTED_AGAIN = {
    "curriculum.stage": "a run that is resumed with fewer stages stays in the last one",
    "rates_by_importance.tensors": "the tensors are counted",
    "following_slowly.tensors": "the tensors are counted",
}
"""Values of a state that are not taken over as they are, each with the reason."""
IN_PLACE_OF_NOTHING: tuple[Any, ...] = (1.5, {"loss": 1.5, "recall": 0.5}, [1.5, None])
IN_PLACE_OF_NO_ENTRY: tuple[Any, ...] = ([1.5, 2.5], [[3, 1.5]], [[3, [1.5]]])
"""What a state may have where it has None, or an empty list; what a policy cannot read is left out."""
RECOVERY = guards.RecoveryCheckpoints(every=2, storm_limit=9)
REPLAY = ReplaySleep(every=2, steps=1, batch_size=2, reservoir=3, acceptance=AcceptAlways())
STATES: dict[str, dict[str, Any]] = {
    "own": {},
    "robust": {"spikes": guards.RobustDeviation(), "recovery": RECOVERY, "clipping": guards.ZClip(), "sleep": REPLAY},
    "average": {"spikes": guards.AverageRatio(), "clipping": guards.AdaGC()},
    "none": {"spikes": guards.NoSpikeDetection(), "clipping": guards.AdaptiveClipping()},
}
"""Guards and more whose states are read with other values; first those of the recipe."""
PLAIN = (bool, int, float, str, type(None))


def stops_in_sleep(trainer: TrainingLoop, step: int) -> None:
    """A stop is asked for while the model sleeps after this step."""
    sleep = next(policy for policy in trainer.policies if isinstance(policy, Sleep))

    def progress(_done: int, _all: int) -> None:
        if trainer.position == step:
            trainer.stop("interrupted")

    sleep.progress = progress


def unlike_policies(written: TrainingLoop, read: TrainingLoop, but: set[str]) -> list[str]:
    """Attributes in which the policies of two trainings differ, by path; those of the policies `but` are left out.

    Compared are tensors, modules, numbers, words, and what consists of them in dataclasses, mappings and sequences;
    of dataclasses the fields that count when two are compared.
    """
    others = {policy.name: policy for policy in read.policies}
    found = []
    for policy in written.policies:
        if policy.name in but or policy.name.startswith(OWN):
            continue
        if policy.name not in others:
            found.append(policy.name)
            continue
        own, other = vars(policy), vars(others[policy.name])
        for name in own | other:
            if f"{policy.name}.{name}" not in OF_A_STEP:
                found += _unlike(f"{policy.name}.{name}", own.get(name), other.get(name))
    return found


def unread_values(experiment: ExperimentSpec, states: str) -> list[str]:
    """Values of the policies' states, by path, that are not there any more once a state with another one was read.

    With the guards of `STATES`: values that no short training comes to, such as a row of refused steps.
    """
    changed = experiment.recipe.model_copy(update=STATES[states])
    experiment = experiment.model_copy(update={"recipe": changed})
    model, data = build_model(experiment.variant, experiment.seed), load_data(experiment)
    with tempfile.TemporaryDirectory() as folder:
        trainer = TrainingLoop(model, experiment, data, checkpoints=Path(folder))
        for policy in trainer.policies:
            policy.phase_began(trainer)
        own = [policy for policy in trainer.policies if type(policy).__module__.startswith(ZOO)]
        return [path for policy in own for path in _unread(policy, trainer)]


def _unread(policy: Policy, trainer: TrainingLoop) -> Iterator[str]:
    kept, tensors = _as_json(policy), policy.tensors()
    for key, value in kept.items():
        if f"{policy.name}.{key}" in COUNTED_AGAIN:
            continue
        for other in _others(value):
            wanted = {**kept, key: other}
            try:
                policy.load_state(trainer, wanted, tensors)
                read = _as_json(policy)
            except (TypeError, ValueError, KeyError, AttributeError):
                continue  # no value of the kind that it has
            finally:
                policy.load_state(trainer, kept, tensors)
            yield from (f"{policy.name}.{name}" for name in kept if read[name] != wanted[name])
            break


def _as_json(policy: Policy) -> dict[str, Any]:
    """Its state as a checkpoint has it."""
    state: dict[str, Any] = json.loads(json.dumps(policy.state_dict()))
    return state


def _others(value: Any) -> Iterator[Any]:
    """Other values in its place."""
    match value:
        case bool():
            yield not value
        case int() | float():
            yield value + 3
        case None:
            yield from IN_PLACE_OF_NOTHING
        case [] | {}:
            yield from IN_PLACE_OF_NO_ENTRY if isinstance(value, list) else ({"any": 0.5},)
        case list():
            yield value[:-1]
        case dict():
            for name, part in value.items():
                for other in _others(part):
                    yield {**value, name: other}


def unlike_results(one: TrainingResult, other: TrainingResult) -> list[str]:
    """Names of what differs between the results of two trainings, but for what depends on the machine."""
    names = [field.name for field in fields(one) if field.name not in OF_THE_MACHINE]
    return [found for name in names for found in _unlike(name, getattr(one, name), getattr(other, name))]


def _unlike(path: str, one: Any, other: Any) -> list[str]:
    if isinstance(one, nn.Module) and isinstance(other, nn.Module):
        return _unlike(path, dict(one.state_dict()), dict(other.state_dict()))
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        here, there = (tensor.detach().cpu().nan_to_num() for tensor in (one, other))  # a policy may move it when asked
        alike = one.shape == other.shape and torch.equal(here, there)
        return [] if alike else [path]
    if isinstance(one, PLAIN) or isinstance(other, PLAIN):
        return [] if _same(one, other) else [path]
    if is_dataclass(one) and type(one) is type(other):
        parts = [field.name for field in fields(one) if field.compare]
        return [
            found for name in parts for found in _unlike(f"{path}.{name}", getattr(one, name), getattr(other, name))
        ]
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if set(one) != set(other):
            return [path]
        return [found for key, value in one.items() for found in _unlike(f"{path}.{key}", value, other[key])]
    if isinstance(one, Sequence) and isinstance(other, Sequence):
        if len(one) != len(other):
            return [path]
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, (a, b) in pairs for found in _unlike(f"{path}[{number}]", a, b)]
    return []  # neither data nor made of them


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return type(one) is type(other) and bool(one == other)
