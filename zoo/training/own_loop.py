"""Guards for a training loop of your own: they look at loss and gradients, and refuse, clip or roll back the step."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from cortexzoo.specs import RecipeSpec, load
from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.zoo.errors import TrainingError, TrainingStopped
from cortexzoo.zoo.training.policies.base import Policy, Step
from cortexzoo.zoo.training.policies.build import clipping, spike_guard, update_guard
from cortexzoo.zoo.training.policies.guards.gates import FiniteGate
from cortexzoo.zoo.training.recorder import Recorder, SilentRecorder
from cortexzoo.zoo.training.state.recovery_point import Bounds, recover, recoverable_values


class Stateful(Protocol):
    """Whatever returns with the weights after a rollback, such as a learning-rate schedule."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


@dataclass(frozen=True)
class StepResult:
    """What became of a step. True where the optimiser took it and it stays."""

    refused: str | None
    """Why the step was not taken."""
    rolled_back: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Under the names of `metrics.jsonl`: `train/loss`, `train/gradient_norm`, `stability/loss_spikes`, …"""

    def __bool__(self) -> bool:
        return self.refused is None and not self.rolled_back


@dataclass(frozen=True)
class Snapshot:
    """Everything that a rollback brings back, as it was after a number of taken steps."""

    taken: int
    tensors: dict[str, Tensor]
    optimizer: dict[str, Any]
    others: list[dict[str, Any]]
    policies: dict[str, dict[str, Any]]


class LoopGuard:
    """The guards of a recipe around an optimiser that you step yourself.

        guard = LoopGuard(model, optimizer)
        loss.backward()
        if guard.step(loss):
            scheduler.step()

    In order: the finite gate, the spike rule, clipping, and after the step the size of its update. A refused step moves
    neither weights nor moments; its gradients are dropped. With `recovery: {kind: checkpoints}` model, optimiser and
    `others` are copied every `every` taken steps and return when a guard requests it. `others` and the rates of the
    optimiser are copied when the next step begins, after a schedule's own step. One process, gradients unscaled.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recipe: RecipeSpec | str = "robust",
        *,
        others: Sequence[Stateful] = (),
        recorder: Recorder | None = None,
    ) -> None:
        """`recipe`: a spec, a shipped name or a file; its clipping, spikes and recovery count, the rest is yours.

        Raises `SpecError` for a recipe that cannot be loaded.
        """
        spec = load(recipe, "recipe") if isinstance(recipe, str) else recipe
        self.model, self.optimizer, self.others = model, optimizer, list(others)
        self.recorder: Recorder = recorder or SilentRecorder()
        self.recovery = spec.recovery if isinstance(spec.recovery, RecoveryCheckpoints) else None
        found = [
            FiniteGate(may_roll_back=self.recovery is not None),
            spike_guard(spec.spikes, may_roll_back=self.recovery is not None),
            clipping(spec.clipping),
            update_guard(spec.spikes) if self.recovery is not None else None,
        ]
        self.policies: list[Policy] = [policy for policy in found if policy is not None]
        self.number = self.taken = self.refused = self.rollbacks = 0
        self._take_step = optimizer.step
        self.last: StepResult | None = None
        self._observed: list[float] = []
        self._rollback_steps: list[int] = []
        self._failure: TrainingError | None = None
        self._snapshot: Snapshot | None = None
        self._rates_are_due = False
        """In the copy, which was taken before a schedule's step."""
        self._bounds: Bounds | None = None
        if self.recovery is not None:
            self._keep()

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters whose gradients are looked at, and clipped together."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    @property
    def device(self) -> torch.device:
        """That of the first parameter."""
        return self.trainable[0].device

    def install(self) -> None:
        """Put the guard in the place of `optimizer.step`, for trainers that call that themselves.

        The loss is what a closure returns, else the mean that `observe` got since the last step; without either,
        gradients alone are looked at.
        """
        self.optimizer.step = self._guarded_step  # type: ignore[method-assign]

    def observe(self, loss: Tensor | float) -> None:
        """One micro-batch's loss, for the next step of an installed guard."""
        self._observed.append(float(loss.detach() if isinstance(loss, Tensor) else loss))

    def step(self, loss: Tensor | float | None) -> StepResult:
        """Take the optimiser's step, or refuse it; call it after `backward`, in place of `optimizer.step()`.

        Without a loss gradients alone are looked at.

        Raises `TrainingStopped` where a guard gives up, as after eight values in a row that are not finite and nothing
        to return to, or after a storm of rollbacks.
        """
        self._copy_rates()
        self.number += 1
        step = Step(self.number, learning_rate=float(self.optimizer.param_groups[0]["lr"]))
        self._notify("batch_ready", step)
        if loss is not None:
            step.loss = float(loss.detach() if isinstance(loss, Tensor) else loss)
            step.metrics["train/loss"] = step.loss
            self._ask("loss_known", step)
        if step.refused is None:
            gradients = [parameter.grad for parameter in self.trainable if parameter.grad is not None]
            step.gradient_norm = float(get_total_norm(gradients)) if gradients else 0.0
            step.metrics["train/gradient_norm"] = step.gradient_norm
            self._ask("gradients_known", step)
        if step.refused is None:
            self._take_step()
            self.taken += 1
        else:
            self.refused += 1
            self.event("step_refused", {"reason": step.refused})
        self.optimizer.zero_grad(set_to_none=True)
        self._notify("step_refused" if step.refused else "step_taken", step)
        cause = step.undone or (step.refused if step.rollback else None) or self._outgrown()
        rolled_back = cause is not None and self._roll_back(cause)
        if self._due() and step.refused is None and not rolled_back:
            rolled_back = self._renew()
        step.metrics["stability/spike_recoveries"] = self.rollbacks
        self.recorder.metrics(self.number, step.metrics)
        if self._failure is not None:
            raise self._failure
        self.last = StepResult(step.refused, rolled_back, step.metrics)
        return self.last

    def state_dict(self) -> dict[str, Any]:
        """For your own checkpoint: counts and histories; the copy to return to is taken anew."""
        states = {policy.name: policy.state_dict() for policy in self.policies}
        counts = {"number": self.number, "taken": self.taken, "refused": self.refused, "rollbacks": self.rollbacks}
        return {**counts, "rollback_steps": list(self._rollback_steps), "policies": states}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, after model and optimiser were loaded; what it lacks begins anew."""
        self.number, self.taken, self.refused = state["number"], state["taken"], state["refused"]
        self.rollbacks, self._rollback_steps = state.get("rollbacks", 0), list(state.get("rollback_steps", ()))
        for policy in self.policies:
            if policy.name in state["policies"]:
                policy.load_state(cast(Any, self), state["policies"][policy.name], {})
        if self.recovery is not None:
            self._keep()

    def event(self, kind: str, detail: Mapping[str, object]) -> None:
        """Something besides: a refusal, a rollback, a new level of the loss."""
        self.recorder.event(self.number, kind, detail)

    def fail(self, error: TrainingError) -> None:
        """End training after this step."""
        self._failure = self._failure or error

    def _guarded_step(self, closure: Callable[[], Any] | None = None) -> Any:
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        observed, self._observed = self._observed, []
        if isinstance(result, Tensor | float):
            self.step(result)
        else:
            self.step(fmean(observed) if observed else None)
        return result

    def _ask(self, moment: str, step: Step) -> None:
        for policy in self.policies:
            getattr(policy, moment)(cast(Any, self), step)
            if step.refused is not None:
                return

    def _notify(self, moment: str, step: Step) -> None:
        for policy in self.policies:
            getattr(policy, moment)(cast(Any, self), step)

    def _outgrown(self) -> str | None:
        return None if self._bounds is None else self._bounds.flaw_in(dict(self.model.named_parameters()))

    def _due(self) -> bool:
        if self.recovery is None or self._snapshot is None:
            return False
        return self.taken - self._snapshot.taken >= self.recovery.every

    def _renew(self) -> bool:
        """A copy of damaged weights would be no help: where something is not finite, return instead."""
        tensors = self._tensors()
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values() if tensor.is_floating_point()):
            return self._roll_back("the weights are not finite")
        self._keep()
        return False

    def _keep(self) -> None:
        self._snapshot, self._bounds = self._now(), Bounds(dict(self.model.named_parameters()))
        self._rates_are_due = True

    def _copy_rates(self) -> None:
        if self._snapshot is not None and self._rates_are_due:
            groups = copy.deepcopy(self.optimizer.state_dict()["param_groups"])
            others = [copy.deepcopy(other.state_dict()) for other in self.others]
            kept = {**self._snapshot.optimizer, "param_groups": groups}
            self._snapshot = replace(self._snapshot, optimizer=kept, others=others)
        self._rates_are_due = False

    def _tensors(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.model.state_dict().items() if isinstance(tensor, Tensor)}

    def _now(self) -> Snapshot:
        return Snapshot(
            self.taken,
            {name: tensor.detach().clone() for name, tensor in self._tensors().items()},
            copy.deepcopy(self.optimizer.state_dict()),
            [copy.deepcopy(other.state_dict()) for other in self.others],
            {policy.name: recoverable_values(policy) for policy in self.policies},
        )

    def _roll_back(self, cause: str) -> bool:
        then, spec = self._snapshot, self.recovery
        if then is None or spec is None:
            return False
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(then.tensors[name])
        self.optimizer.load_state_dict(copy.deepcopy(then.optimizer))
        for other, state in zip(self.others, then.others, strict=True):
            other.load_state_dict(copy.deepcopy(state))
        undone, self.taken = self.taken - then.taken, then.taken
        for policy in self.policies:
            recover(policy, cast(Any, self), then.policies[policy.name], {})
            policy.rolled_back(cast(Any, self))
        self.rollbacks += 1
        self.event("rollback", {"cause": cause, "undone": undone})
        first = self.number - spec.storm_window
        self._rollback_steps = [at for at in self._rollback_steps if at > first] + [self.number]
        if len(self._rollback_steps) >= spec.storm_limit:
            storm = f"{len(self._rollback_steps)} rollbacks within {spec.storm_window} steps, the last because {cause}"
            self.fail(TrainingStopped(self.number, storm))
        return True
