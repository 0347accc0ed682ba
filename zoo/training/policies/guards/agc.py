"""AGC: each unit's gradient is bounded by the norm of the unit's weights."""

import torch
from torch import Tensor

from cortexzoo.specs import guards as kinds
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


class AGC(Policy):
    """G_i ← G_i · min(1, ratio · max(‖W_i‖, eps) / ‖G_i‖) for every unit i, a row of a matrix or a whole vector.

    It has no state. Source: Brock et al. 2021, arXiv:2102.06171, Eq. 3. Differs: the last linear map is clipped too,
    since its weights are trained with all the others.
    """

    name = "agc"

    def __init__(self, spec: kinds.AGC) -> None:
        self.spec = spec

    @torch.no_grad()
    def gradients_known(self, trainer: Trainer, step: Step) -> None:
        for parameter in trainer.trainable:
            gradient = parameter.grad
            if gradient is not None:
                bound = self.spec.ratio * _unit_norms(parameter).clamp_min(self.spec.eps)
                norms = _unit_norms(gradient)
                scale = (bound / norms).clamp(max=1.0)
                gradient.mul_(scale.where(norms.isfinite() & (norms > 0), 1.0))


def _unit_norms(tensor: Tensor) -> Tensor:
    """L2 norms over all dimensions but the first, kept as dimensions; over everything for vectors and scalars."""
    dimensions = tuple(range(1, tensor.ndim)) if tensor.ndim > 1 else None
    norms: Tensor = torch.linalg.vector_norm(tensor.detach(), dim=dimensions, keepdim=tensor.ndim > 1)
    return norms
