"""What keeps a sleeping model near its state before sleep: KL to its predictions, EWC on its weights."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training.evaluation import lm_loss, undisturbed
from cortexzoo.zoo.training.sleep.dreams import Start, together
from cortexzoo.zoo.training.sleep.reservoir import Example


def divergence(
    before: Float[Tensor, "batch time vocab"],
    now: Float[Tensor, "batch time vocab"],
    real: Bool[Tensor, "batch time"] | None = None,
) -> Float[Tensor, ""]:
    """Mean of KL(before ‖ now) over the real positions, from logits, in nats and fp32."""
    before, now = (logits.float().log_softmax(-1) for logits in (before, now))
    each = F.kl_div(now, before, reduction="none", log_target=True).sum(-1)  # [B, T]
    return each.mean() if real is None else each[real].mean()


def fisher_information(
    model: MemoryLanguageModel[Any],
    parameters: Sequence[nn.Parameter],
    examples: Sequence[Example],
    start: Start,
    region: torch.autocast,
) -> list[Tensor]:
    """The diagonal of the Fisher information of one token, estimated from examples and their own targets.

    F = mean over examples of n · (∂ loss / ∂ θ)², loss the mean over the example's n counted targets: the expectation
    of the squared score of one target, where the scores of an example's targets do not correlate.
    Source: Kirkpatrick et al. 2017, arXiv:1612.00796, section 2. Differs: labels are those of the examples.
    """
    fisher = [torch.zeros_like(parameter) for parameter in parameters]
    counting = [example for example in examples if example.counted]
    for example in counting:
        dream = together([example]).on(parameters[0].device)
        with undisturbed(model), torch.enable_grad():
            with region:
                loss, _ = lm_loss(model, dream.tokens, dream.begun(model, start), scored=dream.scored)
            gradients = torch.autograd.grad(loss, list(parameters), allow_unused=True)
        for sum_, gradient in zip(fisher, gradients, strict=True):
            if gradient is not None:
                sum_.add_(gradient.square(), alpha=example.counted / len(counting))
    return fisher


def elastic_penalty(
    parameters: Sequence[Tensor], before: Sequence[Tensor], fisher: Sequence[Tensor]
) -> Float[Tensor, ""]:
    """½ Σ F (θ − θ before)². Source: Kirkpatrick et al. 2017, arXiv:1612.00796, Eq. 3."""
    terms = [(f * (now - then).square()).sum() for now, then, f in zip(parameters, before, fisher, strict=True)]
    return 0.5 * torch.stack(terms).sum()
