"""The language-modelling loss, and measuring it without leaving a trace in model, memory or random numbers."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.data.text import HeldOutPart, TextData
from cortexzoo.zoo.models.interface import MemoryLanguageModel, ModelOutput, StateT
from cortexzoo.zoo.models.modes import evaluating

Precision = Literal["fp32", "bf16"]


def lm_loss(
    model: nn.Module,
    tokens: Int[Tensor, "batch time_and_target"],
    state: StateT | None = None,
    disabled: Collection[str] = (),
    scored: Bool[Tensor, "batch time"] | None = None,
) -> tuple[Float[Tensor, ""], ModelOutput[StateT]]:
    """Mean cross-entropy of the next token, in nats and fp32 (fp64 for fp64 logits): token t + 1 is token t's target.

    Memories named in `disabled` are switched off. With `scored` only the inputs that it marks count.
    """
    output = cast(ModelOutput[StateT], model(tokens[:, :-1], state, disabled))
    return next_token_loss(output.logits, tokens, scored), output


def next_token_loss(
    logits: Float[Tensor, "batch time vocab"],
    tokens: Int[Tensor, "batch time_and_target"],
    scored: Bool[Tensor, "batch time"] | None = None,
) -> Float[Tensor, ""]:
    """As `lm_loss`, of logits that are there. Where nothing is scored the loss is 0."""
    if scored is None:
        return mean_cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    return mean_cross_entropy(logits[scored], tokens[:, 1:][scored])


def mean_cross_entropy(logits: Float[Tensor, "places vocab"], targets: Int[Tensor, " places"]) -> Float[Tensor, ""]:
    """In nats and fp32 (fp64 for fp64 logits), regardless of autocast; 0 where there is no place."""
    with torch.autocast(logits.device.type, enabled=False):
        exact = logits if logits.dtype == torch.float64 else logits.float()
        if not len(targets):
            return exact.sum()  # of nothing, but with a gradient
        return F.cross_entropy(exact, targets)


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The autocast region of a recipe's precision: bf16 activations over fp32 weights, or nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradient; afterwards every module's mode and torch's generators are as they were."""
    device = model_device(model)
    devices = [device] if device.type == "cuda" else []
    with evaluating(model), torch.random.fork_rng(devices), torch.no_grad():
        yield


def model_device(model: nn.Module) -> torch.device:
    """Where the model's weights are."""
    return next(model.parameters()).device


@dataclass(frozen=True)
class HeldOut:
    """Sums over held-out batches, so that parts measured by several processes add up."""

    loss_sum: float
    """Nats, summed over all targets."""
    targets: int
    readings: dict[str, float]
    """Each reading's mean over the batches that had it."""
    bytes: float
    """Bytes of text that the targets stand for."""

    @property
    def loss(self) -> float:
        """Nats a target."""
        return self.loss_sum / self.targets

    @property
    def loss_per_byte(self) -> float:
        """Nats a byte."""
        return self.loss_sum / self.bytes


def evaluate(
    model: MemoryLanguageModel[StateT],
    data: TextData,
    *,
    sequence_length: int,
    batch_size: int,
    at_most: int | None = None,
    state: StateT | None = None,
    disabled: Collection[str] = (),
    precision: Precision = "fp32",
    part: HeldOutPart = "validation",
) -> float:
    """Held-out loss of `model` in nats a byte, over contiguous windows of a part (`at_most` of them, evenly spread).

    Every batch starts from an empty memory, or with `state` from what the model makes of it between batches; memories
    named in `disabled` are switched off. Model, state and generators are left as they were.
    """
    windows = data.windows(part, sequence_length, batch_size, at_most)
    lengths = data.token_bytes(part)
    scored = data.scored_windows(part, sequence_length, batch_size, at_most)
    return measure(
        model, windows, state=state, disabled=disabled, precision=precision, scored=scored, token_bytes=lengths
    ).loss_per_byte


def measure(
    model: MemoryLanguageModel[StateT],
    batches: Sequence[Int[Tensor, "_ time_and_target"]],
    *,
    state: StateT | None = None,
    disabled: Collection[str] = (),
    precision: Precision = "fp32",
    scored: Sequence[Bool[Tensor, "_ time"]] | None = None,
    consolidate_every: int | None = None,
    token_bytes: Float[Tensor, " vocab"] | None = None,
) -> HeldOut:
    """Loss and mean readings over `batches`; memory as for `evaluate`. With `scored` only what it marks counts.

    `token_bytes` are the bytes that each token stands for; None: one.

    With `consolidate_every` memory continues from batch to batch and is consolidated after every so many.
    """
    device = model_device(model)
    loss_sum, targets, length = 0.0, 0, 0.0
    readings: dict[str, list[float]] = {}
    with undisturbed(model), autocast(device, precision):
        for index, batch in enumerate(batches):
            tokens = batch.to(device)
            counting = None if scored is None else scored[index].to(device)
            start = None if state is None else model.between_batches(state, len(tokens))
            if counting is None:
                loss, output = lm_loss(model, tokens, start, disabled)
                count = tokens[:, 1:].numel()
            else:
                output = model.logits_at(tokens[:, :-1], counting, start, disabled)
                loss = mean_cross_entropy(output.logits, tokens[:, 1:][counting])
                count = int(counting.sum())
            if consolidate_every is not None:
                state = model.documents_ended(output.state)
                if (index + 1) % consolidate_every == 0:
                    state = model.consolidate(state)
            asked = batch[:, 1:].flatten() if scored is None else batch[:, 1:][scored[index]]
            loss_sum += loss.item() * count
            targets += count
            length += count if token_bytes is None else float(token_bytes[asked.cpu()].sum())
            for name, value in read_out(output.readings).items():
                readings.setdefault(name, []).append(value)
    means = {name: sum(values) / len(values) for name, values in readings.items()}
    return HeldOut(loss_sum, targets, means, length)


def read_out(readings: dict[str, Tensor]) -> dict[str, float]:
    """The readings as numbers, by one transfer from the device."""
    if not readings:
        return {}
    return dict(zip(readings, torch.stack([value.float() for value in readings.values()]).tolist(), strict=True))
