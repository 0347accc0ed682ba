"""Faults in numbers: not finite, far too large, or with one bit turned over."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils.hooks import RemovableHandle

from cortexzoo.specs.fault import BitFlip, NonFinite, OptimizerReset, Scaled
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput, StateT
from cortexzoo.zoo.training.faults.base import MISSED, FaultAfterStep, InjectedFault
from cortexzoo.zoo.training.policies.base import Step, Trainer


class ScaledNumbers(InjectedFault[Scaled]):
    """Loss and gradients, gradients alone, or the learning rate times `factor`, for one step."""

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        if self.here and self.spec.place == "loss":
            scale_loss(step, self.spec.factor)

    def gradients_ready(self, trainer: Trainer, step: Step) -> None:
        if self.here and self.spec.place == "learning_rate":
            step.learning_rate *= self.spec.factor
            step.metrics["train/learning_rate"] = step.learning_rate
        elif self.here:
            scale_gradients(trainer, self.spec.factor)


class NonFiniteInStep(InjectedFault[NonFinite]):
    """A loss that is not finite, as every gradient after it; or one element of a gradient that is not.

    A gradient is damaged after the processes have shared theirs: with a rank, only that process has it.
    """

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        if self.here and self.spec.place == "loss":
            scale_loss(step, float(self.spec.value))

    def gradients_ready(self, trainer: Trainer, step: Step) -> None:
        if self.here and self.spec.place == "loss":
            scale_gradients(trainer, float(self.spec.value))
        elif self.here and applies(self.spec, trainer):
            gradient = largest_parameter(trainer).grad
            assert gradient is not None
            poison(gradient, float(self.spec.value))


class NonFiniteLossOfOne(InjectedFault[NonFinite]):
    """The logits of one process are not finite, and so are its loss and its gradients, before they are shared."""

    def __init__(self, label: str, spec: NonFinite) -> None:
        super().__init__(label, spec)
        self._hook: RemovableHandle | None = None

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        super().batch_ready(trainer, step)
        if self.here and applies(self.spec, trainer):
            self._hook = trainer.model.register_forward_hook(self._spoil)

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        self.close()

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.close()

    def close(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _spoil(self, model: Module, given: tuple[object, ...], output: ModelOutput[MemoryState]) -> object:
        return replace(output, logits=output.logits * float(self.spec.value))


class NonFiniteState(FaultAfterStep[NonFinite]):
    """One element of the largest weight, of its first moment, or of each entry that memory keeps, is not finite.

    With the objective recall, which keeps no memory between batches, the documents of the next step begin with such an
    element.
    """

    def __init__(self, label: str, spec: NonFinite) -> None:
        super().__init__(label, spec)
        self._begins_spoilt = False
        self._model: MemoryLanguageModel[Any] | None = None

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        super().batch_ready(trainer, step)
        if self._begins_spoilt:
            self._begins_spoilt = False
            self._model = trainer.model
            between = trainer.model.between_batches

            def spoilt(state: MemoryState, rows: int) -> MemoryState:
                begun: MemoryState = with_element(between(state, rows), float(self.spec.value))
                return begun

            vars(trainer.model)["between_batches"] = spoilt

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        self.close()

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.close()
        super().step_refused(trainer, step)

    def close(self) -> None:
        if self._model is not None:
            del vars(self._model)["between_batches"]
            self._model = None

    def inject(self, trainer: Trainer, step: Step) -> None:
        # The target is the same on every process, so the first one reports a miss for all.
        if not self._is_there(trainer):
            place = self.spec.place
            self.record(trainer, step, MISSED, reason=f"the {place} contains nothing that the next step reads")
        elif applies(self.spec, trainer):
            self._begins_spoilt = self.spec.place == "memory" and has_documents(trainer)
            if not self._begins_spoilt:
                self._spoil(trainer, float(self.spec.value))

    def _is_there(self, trainer: Trainer) -> bool:
        match self.spec.place:
            case "moment":
                return "exp_avg" in trainer.optimizer.state[largest_parameter(trainer)]
            case "memory":
                return has_documents(trainer) or kept_memory(trainer.model, trainer.memory) is not None
            case _:
                return True

    def _spoil(self, trainer: Trainer, value: float) -> None:
        weight = largest_parameter(trainer)
        match self.spec.place:
            case "weight":
                poison(weight.data, value)
            case "moment":
                poison(trainer.optimizer.state[weight]["exp_avg"], value)
            case "memory":
                name = kept_memory(trainer.model, trainer.memory)
                assert name is not None
                tensors = trainer.memory.tensors()
                tensors[name] = tensors[name].clone()
                tensors[name][..., 0] = value
                trainer.memory = type(trainer.memory).from_tensors(tensors)


class FlippedBit(FaultAfterStep[BitFlip]):
    """The bit of the middle element of the largest weight."""

    def inject(self, trainer: Trainer, step: Step) -> None:
        bits = largest_parameter(trainer).data.view(torch.int32).view(-1)
        # As a signed number the highest bit is the lowest integer.
        mask = -(1 << 31) if self.spec.bit == 31 else 1 << self.spec.bit
        bits[bits.numel() // 2] ^= mask


class ZeroedMoments(FaultAfterStep[OptimizerReset]):
    """Adam's running means of gradient and squared gradient are 0; its count of steps stays."""

    def inject(self, trainer: Trainer, step: Step) -> None:
        for moments in trainer.optimizer.state.values():
            for name, tensor in moments.items():
                if name != "step":
                    tensor.zero_()


def applies(spec: NonFinite, trainer: Trainer) -> bool:
    """Whether this process is one that the fault is for."""
    return spec.rank in (None, trainer.ranks.rank)


def scale_loss(step: Step, factor: float) -> None:
    """What the policies, the recorder and the user see of the loss, times `factor`."""
    step.loss *= factor
    step.metrics["train/loss"] = step.loss


def scale_gradients(trainer: Trainer, factor: float) -> None:
    """Every gradient times `factor`."""
    for parameter in trainer.trainable:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def largest_parameter(trainer: Trainer) -> torch.nn.Parameter:
    """The trainable parameter with most elements among those that the step gave a gradient or a moment."""
    used = [p for p in trainer.trainable if p.grad is not None or p in trainer.optimizer.state]
    return max(used or trainer.trainable, key=lambda parameter: parameter.numel())


def poison(tensor: Tensor, value: float) -> None:
    """Set the middle element in place."""
    tensor.view(-1)[tensor.numel() // 2] = value


def has_documents(trainer: Trainer) -> bool:
    """Whether the objective is of documents that begin with a memory of their own, which is more than empty."""
    return trainer.recipe.objective.kind == "recall" and bool(floats(trainer.memory))


def floats(state: MemoryState) -> dict[str, Tensor]:
    """The tensors of a memory that can be not finite."""
    return {name: tensor for name, tensor in state.tensors().items() if tensor.is_floating_point() and tensor.numel()}


def with_element(state: StateT, value: float) -> StateT:
    """A memory whose largest tensor has one element, in the first row, of that value."""
    tensors = state.tensors()
    found = floats(state)
    if not found:
        return state
    name = max(found, key=lambda known: (found[known].numel(), known))
    tensors[name] = tensors[name].clone()
    tensors[name].view(-1)[0] = value
    return type(state).from_tensors(tensors)


def kept_memory(model: MemoryLanguageModel[StateT], state: StateT) -> str | None:
    """The largest tensor of floats in the memory that the next batch will still find. None: it finds none."""
    held = state.tensors()
    rows = next((len(tensor) for tensor in held.values() if tensor.ndim > 1), 1)
    with torch.no_grad():
        kept = model.between_batches(state, rows).tensors()
    sizes = {
        name: tensor.numel()
        for name, tensor in held.items()
        if tensor.is_floating_point() and tensor.numel() and name in kept and torch.equal(tensor, kept[name])
    }
    return max(sizes, key=lambda name: (sizes[name], name)) if sizes else None
