"""FSDP2: a share of the weights on each process."""

import copy
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from cortexzoo.zoo.models.interface import MemoryState, ModelOutput
from cortexzoo.zoo.training.objectives.base import Objective, TrainingPass
from cortexzoo.zoo.training.ranks import Ranks
from cortexzoo.zoo.training.replicated import Model, Parallel


class Sharded(Parallel):
    """FSDP2: a copy of the model whose parameters are shards, gathered by torch for each pass.

    The model itself is whole between two steps, for guards, checkpoints, measurements and sleep, and has no contents
    while a pass runs.
    """

    def __init__(self, model: Model, objective: Objective, ranks: Ranks) -> None:
        self.ranks, self.model = ranks, model
        self.optimized = copy.deepcopy(model)
        self.network = _FreshLoss(self.optimized, objective)
        mesh = init_device_mesh(ranks.accelerator.device.type, (ranks.count,))
        fully_shard(self.network, mesh=mesh)
        shards = cast(dict[str, DTensor], dict(self.optimized.named_parameters()))
        self._pairs = [(whole, shards[name]) for name, whole in model.named_parameters()]
        self._whole = True
        self._set_trainable()

    def accumulating(self, last: bool) -> AbstractContextManager[object]:
        assert isinstance(self.network, FSDPModule)
        self.network.set_requires_gradient_sync(last)
        return self._views_at_the_end()

    def gradient_norm(self) -> float:
        own = get_total_norm([p.grad for p in self.trainable if p.grad is not None]).item()
        return math.sqrt(self.ranks.all_reduce_sum({"squared": own**2})["squared"])

    @torch.no_grad()
    def spread(self) -> None:
        if not self._whole:
            return
        for whole, shard in self._pairs:
            shard.to_local().copy_(own_part(whole, self.ranks, shard))
            whole.data = whole.new_empty(0)
        buffers = dict(self.model.named_buffers())
        for name, mine in self.optimized.named_buffers():
            mine.resize_(buffers[name].shape).copy_(buffers[name])
        self.optimized.train(self.model.training)
        self._whole = False

    @torch.no_grad()
    def gather(self) -> None:
        if self._whole:
            return
        for whole, shard in self._pairs:
            whole.data = shard.full_tensor()
        self._whole = True
        self._set_trainable()

    def _set_trainable(self) -> None:
        self.trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    @contextmanager
    def _views_at_the_end(self) -> Iterator[None]:
        """After a pass, guards see this process's part of the weights and their gradients, in place."""
        yield
        self.trainable = []
        for whole, shard in self._pairs:
            if whole.requires_grad:
                view = nn.Parameter(shard.to_local())
                gradient = shard.grad
                view.grad = gradient.to_local() if isinstance(gradient, DTensor) else gradient
                self.trainable.append(view)


class _FreshLoss(TrainingPass):
    """Gives a history to nothing but the loss: torch gathers weights again for whatever else has one."""

    def forward(
        self, tokens: Tensor, scored: Tensor | None, state: MemoryState, place: int
    ) -> tuple[Tensor, ModelOutput[Any]]:
        loss, output = super().forward(tokens, scored, state, place)
        return loss.clone(), replace(output, logits=output.logits.detach(), alone=None, state=output.state.detached())


def own_part(whole: Tensor, ranks: Ranks, shard: DTensor) -> Tensor:
    """This process's rows of a whole tensor, which may be none."""
    parts = whole.detach().chunk(ranks.count, dim=0)
    return parts[ranks.rank] if ranks.rank < len(parts) else whole.detach()[:0]
