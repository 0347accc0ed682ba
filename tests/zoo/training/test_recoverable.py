"""What returns with the weights in a rollback, and what stays."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from cortexzoo.specs import guards
from cortexzoo.specs.objective import Continual, NoReplay
from cortexzoo.specs.plasticity import Metaplasticity, NoProtection, SlowFollower
from cortexzoo.specs.sleep import ReplaySleep
from cortexzoo.zoo import training
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives import build
from cortexzoo.zoo.training.policies.base import Policy, Trainer
from cortexzoo.zoo.training.state.recovery_point import recover, recoverable_values
from tests.zoo.training.tiny import tiny_model, tiny_spec

TRAINER = cast(Trainer, None)


class Counting(Policy):
    """Keeps two numbers and two tensors, one of each recoverable."""

    recoverable = ("average", "kept")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"average": [1.0], "count": 1}
        self.named: dict[str, Tensor] = {"kept/0": torch.zeros(1), "other": torch.zeros(1)}

    def state_dict(self) -> dict[str, Any]:
        return dict(self.values)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.named)

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.values, self.named = dict(values), dict(tensors)


def test_what_is_recoverable_returns_and_the_rest_stays() -> None:
    policy = Counting()
    then, tensors = recoverable_values(policy), {"kept/0": policy.named["kept/0"]}
    policy.values["average"].append(2.0)
    policy.values["count"] = 5
    policy.named = {"kept/0": torch.ones(1), "kept/1": torch.ones(1), "other": torch.ones(1)}
    recover(policy, TRAINER, then, tensors)
    assert policy.values == {"average": [1.0], "count": 5}
    assert {name: tensor.item() for name, tensor in policy.named.items()} == {"kept/0": 0.0, "other": 1.0}


def test_a_second_return_finds_what_the_first_found() -> None:
    policy = Counting()
    then = recoverable_values(policy)
    for _ in range(2):
        recover(policy, TRAINER, then, {})
        assert policy.values["average"] == [1.0]
        policy.values["average"].append(2.0)


def kinds_of_policy(kind: type[Policy] = Policy) -> Iterator[type[Policy]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from kinds_of_policy(sub)


def test_no_policy_keeps_state_by_methods_that_nothing_calls() -> None:
    """As a policy written for an earlier protocol would, whose state is then lost without an error."""
    for module in pkgutil.walk_packages(training.__path__, f"{training.__name__}."):
        importlib.import_module(module.name)
    own = [kind for kind in kinds_of_policy() if kind.__module__.startswith(training.__name__)]
    assert len(own) > 20
    for kind in own:
        assert isinstance(kind.recoverable, tuple), kind
        assert not {"load_state_dict", "load_tensors"} & set(dir(kind)), kind
        assert ("state_dict" in vars(kind)) <= ("load_state" in vars(kind)), kind


SPIKES = (guards.RobustDeviation(), guards.AverageRatio(window=3, min_history=2), guards.RobustDeviation(), None, None)
CLIPPING = (guards.AdaptiveClipping(), guards.ZClip(), guards.AdaGC(), guards.AGC(), guards.NormClipping())
PROTECTION = (Metaplasticity(), SlowFollower(), NoProtection(), Metaplasticity(), SlowFollower())


@pytest.mark.parametrize(("spikes", "clipping", "protection"), [*zip(SPIKES, CLIPPING, PROTECTION, strict=True)])
def test_what_is_named_as_recoverable_is_there(
    spikes: Any, clipping: Any, protection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is neither a value nor the beginning of a tensor's name returns nothing, without an error."""
    text = TextData.from_bytes(bytes((i * i + 3 * (i % 7)) % 61 for i in range(2000)), 0.1, 0.1)
    monkeypatch.setattr(build, "earlier_text", lambda *_: text)
    changes = {} if spikes is None else {"spikes": spikes}
    objective = Continual(earlier_steps=3, replay=NoReplay(), protection=protection)
    spec = tiny_spec(
        objective=objective,
        recovery=guards.RecoveryCheckpoints(),
        clipping=clipping,
        sleep=ReplaySleep(every=2),
        **changes,
    )
    trainer = TrainingLoop(tiny_model(), spec, text)
    trainer.run()
    for policy in trainer.policies:
        known = policy.state_dict().keys() | {name.partition("/")[0] for name in policy.tensors()}
        assert set(policy.recoverable) <= known, policy.name
