"""Faults in numbers: not finite, far too large, or with one bit turned over."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from specs.fault import BitFlip, NonFinite, OptimizerReset, Scaled
from zoo.models.interface import MemoryLanguageModel, StateT
from zoo.training.faults.base import MISSED, FaultAfterStep, InjectedFault
from zoo.training.policy import Step

if TYPE_CHECKING:
    from zoo.training.loop import Trainer


class ScaledNumbers(InjectedFault[Scaled]):
    """Loss and gradients, gradients alone, or the learning rate times `factor`, for one step."""

    def loss_known(self, trainer: "Trainer", step: Step) -> None:
        if self.here and self.spec.place == "loss":
            scale_loss(step, self.spec.factor)

    def gradients_ready(self, trainer: "Trainer", step: Step) -> None:
        if self.here and self.spec.place == "learning_rate":
            step.learning_rate *= self.spec.factor
            step.metrics["train/learning_rate"] = step.learning_rate
        elif self.here:
            scale_gradients(trainer, self.spec.factor)


class NonFiniteInStep(InjectedFault[NonFinite]):
    """A loss that is not finite, as every gradient after it; or one element of a gradient that is not."""

    def loss_known(self, trainer: "Trainer", step: Step) -> None:
        if self.here and self.spec.place == "loss":
            scale_loss(step, float(self.spec.value))

    def gradients_ready(self, trainer: "Trainer", step: Step) -> None:
        if self.here and self.spec.place == "loss":
            scale_gradients(trainer, float(self.spec.value))
        elif self.here:
            gradient = largest_parameter(trainer).grad
            assert gradient is not None
            poison(gradient, float(self.spec.value))


class NonFiniteState(FaultAfterStep[NonFinite]):
    """One element of the largest weight, of its first moment, or of each entry that memory keeps, is not finite."""

    def strike(self, trainer: "Trainer", step: Step) -> None:
        value = float(self.spec.value)
        weight = largest_parameter(trainer)
        match self.spec.place:
            case "weight":
                poison(weight.data, value)
            case "moment" if "exp_avg" in trainer.optimizer.state[weight]:
                poison(trainer.optimizer.state[weight]["exp_avg"], value)
            case "memory" if (name := kept_memory(trainer.model, trainer.memory)) is not None:
                tensors = trainer.memory.tensors()
                tensors[name] = tensors[name].clone()
                tensors[name][..., 0] = value
                trainer.memory = type(trainer.memory).from_tensors(tensors)
            case place:
                self.tell(trainer, step, MISSED, reason=f"nothing is in the {place} that the next step would read")


class FlippedBit(FaultAfterStep[BitFlip]):
    """The bit of the middle element of the largest weight."""

    def strike(self, trainer: "Trainer", step: Step) -> None:
        bits = largest_parameter(trainer).data.view(torch.int32).view(-1)
        # As a signed number the highest bit is the lowest integer.
        mask = -(1 << 31) if self.spec.bit == 31 else 1 << self.spec.bit
        bits[bits.numel() // 2] ^= mask


class ZeroedMoments(FaultAfterStep[OptimizerReset]):
    """Adam's running means of gradient and squared gradient are 0; its count of steps stays."""

    def strike(self, trainer: "Trainer", step: Step) -> None:
        for moments in trainer.optimizer.state.values():
            for name, tensor in moments.items():
                if name != "step":
                    tensor.zero_()


def scale_loss(step: Step, factor: float) -> None:
    """What the policies, the recorder and the user see of the loss, times `factor`."""
    step.loss *= factor
    step.metrics["train/loss"] = step.loss


def scale_gradients(trainer: "Trainer", factor: float) -> None:
    """Every gradient times `factor`."""
    for parameter in trainer.trainable:
        if parameter.grad is not None:
            parameter.grad.mul_(factor)


def largest_parameter(trainer: "Trainer") -> torch.nn.Parameter:
    """The trainable parameter with most elements among those that the step gave a gradient or a moment."""
    used = [p for p in trainer.trainable if p.grad is not None or p in trainer.optimizer.state]
    return max(used or trainer.trainable, key=lambda parameter: parameter.numel())


def poison(tensor: Tensor, value: float) -> None:
    """Set the middle element in place."""
    tensor.view(-1)[tensor.numel() // 2] = value


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
