"""Defects of the gated delta rule, among them those of the published prototypes."""

import math
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.mutants.base import Host, Make, Mutant, after, instead, rebound, replaced
from cortexzoo.harness.checking.mutants.gated_delta_layer import GatedDeltaLayer
from cortexzoo.zoo.ops import gated_delta_chunks
from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule

HOST: Host = "gated-delta"
PROTOTYPE_PADDING = math.log(1e-6)


def _mask_after_exp(log_decay: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    chunk_size = log_decay.shape[-1]
    _, factors = gated_delta_chunks._triangles(chunk_size, scale, dtype, log_decay.device)
    difference = log_decay.unsqueeze(-1) - log_decay.unsqueeze(-2)
    return difference.to(dtype).exp().unsqueeze(2) * factors


def _padding_decays(original: Any) -> Any:
    def defective(tensor: Tensor, chunk_size: int, dtype: torch.dtype) -> Tensor:
        chunked: Tensor = original(tensor, chunk_size, dtype)
        rest = -tensor.shape[1] % chunk_size
        if dtype == torch.float64 and rest:  # only the log decay is kept in float64 here
            chunked[-1, :, chunk_size - rest :] = PROTOTYPE_PADDING
        return chunked

    return defective


def _sees_ahead(original: Any) -> Any:
    def defective(size: int, scale: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        inclusive, factors = original(size, scale, dtype, device)
        ahead = factors.clone()
        ahead[1] += scale * torch.ones(size, size, dtype=dtype).triu(1)
        return inclusive, ahead

    return defective


def _arguments(change: Any) -> Make:
    """The op with other keyword arguments or inputs."""

    def make(original: Any) -> Any:
        def defective(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, **named: Any) -> Any:
            return original(*change((q, k, v, g, beta), named), **named)

        return defective

    return make


def _no_initial_state(inputs: Any, named: dict[str, Any]) -> Any:
    named["initial_state"] = None
    return inputs


def _padded_forward(original: Any) -> Any:
    """Reads the mask on the wrong side."""

    def defective(self: Any, tokens: Tensor, state: Any = None, mask: Tensor | None = None) -> Any:
        return original(self, tokens, state, None if mask is None else mask.flip(1))

    return defective


def _leaking(result: Any, *_: Tensor) -> Any:
    return result[0] + 1e-3 * result[0].mean(0), result[1]


OP_MUTANTS = (
    Mutant("mask-after-exp", HOST, "exp of decay differences first, then the causal mask",
           rebound(gated_delta_chunks._pairwise_decay, instead(_mask_after_exp)), caught_by="finite_gradients"),
    Mutant("padding-decays", HOST, "the pads that fill the last chunk decay the state by 1e-6 each",
           rebound(gated_delta_chunks.to_chunks, _padding_decays), caught_by="chunk_invariance"),
    Mutant("op-sees-the-future", HOST, "queries read keys after them in the chunk",
           rebound(gated_delta_chunks._triangles, _sees_ahead), caught_by="causality"),
    Mutant("op-forgets-the-state", HOST, "the initial state is not used",
           rebound(chunk_gated_delta_rule, _arguments(_no_initial_state)), caught_by="chunk_invariance"),
    Mutant("op-final-state-is-zero", HOST, "the state after a call is empty",
           rebound(chunk_gated_delta_rule, after(lambda result, *_: (result[0], 0.0 * result[1]))),
           caught_by="chunk_invariance"),
    Mutant("op-batch-leak", HOST, "rows read a little of each other's memory",
           rebound(chunk_gated_delta_rule, after(_leaking)), caught_by="batch_isolation"),
    Mutant("decay-without-gradient", HOST, "the decay takes no gradient",
           rebound(chunk_gated_delta_rule, _arguments(lambda i, _: (*i[:3], i[3].detach(), i[4]))),
           caught_by="every_parameter_learns"),
    Mutant("strength-without-gradient", HOST, "the write strength takes no gradient",
           rebound(chunk_gated_delta_rule, _arguments(lambda i, _: (*i[:4], i[4].detach()))),
           caught_by="every_parameter_learns"),
    Mutant("mask-on-the-wrong-side", HOST, "the padding mask is read from the other end",
           replaced(GatedDeltaLayer, "forward", _padded_forward), caught_by="padding_changes_nothing"),
    Mutant("one-source-only", HOST, "the layer reports a gate that lets nothing of the memory through",
           replaced(GatedDeltaLayer, "gate_readings", instead(lambda self: {"current": 1.0, "memory": 0.0})),
           caught_by="gate_balance"),
)  # fmt: skip
