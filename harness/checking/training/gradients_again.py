"""How far the gradient of an answer flows: through all chunks of a document, or through so many."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective

ROUNDING = 1e-3
"""Of the largest gradient of a weight."""


def wrong_flow(
    objective: RecallObjective, model: Any, parameters: Sequence[nn.Parameter], tokens: Tensor, scored: Tensor
) -> list[str]:
    """Gradients of the loss of a few documents, against those of chunks whose memory is cut off by the harness."""
    kept, wrong = objective.spec, []
    size = objective.task.chunk_size
    try:
        for chunks in (None, 1, 2):
            objective.spec = kept.model_copy(update={"bptt_chunks": chunks})
            loss, _ = objective.loss(model, tokens, scored, model.initial_state(len(tokens)), 0)
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            wanted = torch.autograd.grad(_loss(model, tokens, scored, chunks and chunks * size), parameters,
                                         allow_unused=True)  # fmt: skip
            apart = [_apart(one, other) for one, other in zip(found, wanted, strict=True)]
            if max(apart) > ROUNDING:
                wrong.append(f"through {chunks or 'all'} chunks gradients flow otherwise, by {max(apart):.3g}")
    finally:
        objective.spec = kept
    return wrong + _recomputed(model, parameters, tokens, scored)


def _recomputed(model: Any, parameters: Sequence[nn.Parameter], tokens: Tensor, scored: Tensor) -> list[str]:
    """The same gradients where activations are computed again; then a module is called twice, else once a chunk."""
    if model.recompute_activations is None:
        return []
    before, gradients, calls = model.recompute_activations, list[Sequence[Tensor | None]](), list[int]()
    sidecar = model.sidecar(next(iter(model.sidecars)))
    try:
        for again in (False, True):
            called = [0]

            def count(*_: Any, called: list[int] = called) -> None:
                called[0] += 1

            model.recompute_activations = again
            hook = sidecar.register_forward_pre_hook(count)
            loss = _loss(model, tokens, scored, None)
            gradients.append(torch.autograd.grad(loss, parameters, allow_unused=True))
            hook.remove()
            calls.append(called[0])
    finally:
        model.recompute_activations = before
    apart = max(_apart(one, other) for one, other in zip(*gradients, strict=True))
    wrong = [f"with activations computed again gradients are {apart:.3g} apart"] if apart > ROUNDING else []
    if calls[1] != 2 * calls[0]:
        wrong.append(f"a sidecar is called {calls[1]} times where activations are computed again, {calls[0]} otherwise")
    return wrong


def _loss(model: Any, tokens: Tensor, scored: Tensor, size: int | None) -> Tensor:
    state, losses = model.initial_state(len(tokens)), list[Tensor]()
    length = scored.shape[1]
    for begin in range(0, length, size or length):
        part = slice(begin, min(begin + (size or length), length))
        output = model.logits_at(tokens[:, :-1][:, part], scored[:, part], state)
        losses.append(F.cross_entropy(output.logits.float(), tokens[:, 1:][:, part][scored[:, part]], reduction="none"))
        named = {name: tensor.detach() for name, tensor in output.state.tensors().items()}
        state = type(output.state).from_tensors(named)
    return torch.cat(losses).mean()


def _apart(one: Tensor | None, other: Tensor | None) -> float:
    if one is None or other is None:
        return 0.0 if all(each is None or not bool(each.any()) for each in (one, other)) else float("inf")
    return float(((one - other).abs() / other.abs().max().clamp_min(1e-12)).nan_to_num(nan=math.inf).max())
