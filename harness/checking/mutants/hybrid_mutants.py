"""Defects of the hybrid: the base, the sidecars' states across calls and chunks, training and reports of recall."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.mutants.base import (
    Host,
    Make,
    Mutant,
    after,
    before,
    in_source,
    instead,
    rebound,
    replaced,
    together,
)
from cortexzoo.zoo.data.tasks.accuracy import AnswerTally
from cortexzoo.zoo.data.tasks.token_pairs import TokenPairsTask
from cortexzoo.zoo.models.hybrid import block, model
from cortexzoo.zoo.models.hybrid.block import FAST_WEIGHTS, WINDOW, Sidecar
from cortexzoo.zoo.models.hybrid.delta_memory import Gates
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.one_token import FoldedWeights
from cortexzoo.zoo.models.hybrid.state import HybridState, SidecarState
from cortexzoo.zoo.models.hybrid.unit import unit
from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule
from cortexzoo.zoo.ops.sliding_window import masked_window_attention, sliding_window_attention
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.drift import Drift, divergence
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.policies.base import Step

HYBRID: Host = "hybrid"
TOO_STRONG = 3.0


def _thaw(_groups: Any, hybrid: Hybrid) -> Any:
    hybrid.base.network.requires_grad_(True)
    return _groups


def _moves_the_base(trainer: TrainingLoop, _step: Step) -> None:
    assert isinstance(trainer.model, Hybrid)
    with torch.no_grad():
        for weight in trainer.model.base.network.parameters():
            if weight.grad is not None:
                weight.sub_(1e-3 * weight.grad)
            weight.grad = None


def _awake(_: Any, sidecar: Sidecar, *__: Any) -> None:
    with torch.no_grad():
        sidecar.output.weight.copy_(sidecar.value.weight.T)


def _stronger(original: Any) -> Any:
    def defective(self: Gates, x: Tensor) -> tuple[Tensor, Tensor]:
        log_decay, beta = original(self, x)
        return log_decay, TOO_STRONG * beta

    return defective


def _but_first(x: Tensor, count: int) -> Tensor:
    """Zeros behind the first channels."""
    return torch.cat([x[..., :count], torch.zeros_like(x[..., count:])], dim=-1)


def _of_bound_keys(original: Any) -> Any:
    """Only the first of a document's keys is left out."""

    def defective(self: TokenPairsTask, bound: Any, key: int, *, near: bool) -> Any:
        return original(self, bound[:1], key, near=near)

    return defective


def _gated_linear_attention(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, *_: Any, **named: Any) -> Any:
    """S <- exp(g) S + beta k v^T: nothing is taken out before something is written."""
    size, outs, state = 64, [], named["initial_state"]
    for part in range(0, k.shape[1], size):
        queries, keys, values, decay, strength = (
            tensor[:, part : part + size].transpose(1, 2) for tensor in (q, k, v, g, beta)
        )
        sums = decay.cumsum(-1)
        between = (sums[..., :, None] - sums[..., None, :]).tril().exp().tril()
        written = values * strength[..., None]
        outs.append((queries @ keys.mT * between) @ written + sums.exp()[..., None] * (queries @ state))
        left = (sums[..., -1:] - sums).exp()[..., None]
        state = sums[..., -1].exp()[..., None, None] * state + (keys * left).mT @ written
    return torch.cat(outs, dim=2).transpose(1, 2), state


def _left_behind(**emptied: Any) -> Make:
    """The sidecar's state after a call, with some of its fields as nothing had been read."""

    def change(result: Any, *_: Any) -> Any:
        out, state, readings = result
        return out, replace(state, **{name: empty(getattr(state, name)) for name, empty in emptied.items()}), readings

    return after(change)


def _no_token(held: Tensor) -> Tensor:
    return held[:, :0]


def _state_of(change: Any) -> Make:
    """A piece's state goes through `change(state)` before the next one."""
    return after(lambda result, *_: (result[0], change(result[1]), *result[2:]))


def _at_borders(original: Any) -> Any:
    """Fast weights are empty at the beginning of every chunk."""

    def defective(self: Hybrid, tokens: Tensor, piece: Any, state: HybridState, *rest: Any) -> Any:
        if state.position % self.spec.chunk_size == 0:
            sidecars = {n: replace(s, fast_weights=0.0 * s.fast_weights) for n, s in state.sidecars.items()}
            state = replace(state, sidecars=sidecars)
        return original(self, tokens, piece, state, *rest)

    return defective


def _deaf_to(name: str) -> Make:
    """Sidecars without regard to a switch."""

    def make(original: Any) -> Any:
        def defective(self: Sidecar, x: Tensor, state: SidecarState, disabled: Any = ()) -> Any:
            return original(self, x, state, set(disabled) - {name})

        return defective

    return make


@contextmanager
def _positions_anew() -> Iterator[None]:
    """Rotary positions of the base begin at 0 in every call, regardless of its cache."""
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

    def make(original: Any) -> Any:
        return lambda self, x, position_ids, *rest: original(self, x, position_ids - position_ids[:, :1], *rest)

    with replaced(Qwen2RotaryEmbedding, "forward", make)():
        yield


def _unshifted(original: Any) -> Any:
    """Logits are compared with the token that was given, not with the next."""

    def defective(self: AnswerTally, logits: Tensor, tokens: Tensor, *rest: Any) -> None:
        original(self, logits.roll(-1, dims=1), tokens, *rest)

    return defective


def _late_baseline(original: Any) -> Any:
    """What is called the base's perplexity is measured with the sidecars on, and again every time."""

    def defective(self: Drift, trainer: Any, metrics: Any) -> None:
        self.base_perplexity = math.exp(self._measure(trainer, ())[0])
        original(self, trainer, metrics)

    return defective


HYBRID_MUTANTS = (
    Mutant("base-trained-along", HYBRID, "every step moves the base's weights too",
           together(replaced(Hybrid, "parameter_groups", after(_thaw)),
                    replaced(TrainingLoop, "_update", before(_moves_the_base))), caught_by="base_is_frozen"),
    Mutant("sidecar-awake-at-the-start", HYBRID, "the output projection does not start at zero",
           replaced(Sidecar, "__init__", after(_awake)), caught_by="base_is_frozen"),
    Mutant("write-strength-up-to-3", HYBRID, "a write may overshoot by twice what was there",
           replaced(Gates, "forward", _stronger), caught_by="state_norm_is_bounded"),
    Mutant("keys-not-normalised", HYBRID, "queries and keys keep their length",
           rebound(unit, instead(lambda x, *_: x)), caught_by="state_norm_is_bounded"),
    Mutant("no-delta-rule", HYBRID, "gated linear attention: writes are added to what is stored under the key",
           rebound(chunk_gated_delta_rule, instead(_gated_linear_attention)), caught_by="state_norm_is_bounded"),
    Mutant("conv-state-not-carried", HYBRID, "the short convolution starts empty in every call",
           replaced(Sidecar, "forward", _left_behind(conv_state=torch.zeros_like)), caught_by="chunk_invariance"),
    Mutant("window-not-carried", HYBRID, "window attention starts empty in every call",
           replaced(Sidecar, "forward", _left_behind(window_keys=_no_token, window_values=_no_token)),
           caught_by="chunk_invariance"),
    Mutant("fast-weights-not-carried", HYBRID, "the gated delta memory starts empty in every call",
           replaced(Sidecar, "forward", _left_behind(fast_weights=torch.zeros_like)), caught_by="chunk_invariance"),
    Mutant("fast-weights-reset-at-borders", HYBRID, "the gated delta memory is emptied where the base's chunks begin",
           together(replaced(model, "TOKENS_AT_ONCE", instead(1)), replaced(Hybrid, "_run_piece", _at_borders)),
           caught_by="recall_beats_controls"),
    Mutant("few-key-channels", HYBRID, "the memory has 16 key channels, too few to keep further facts apart",
           rebound(block.products, after(lambda result, *_: unit(_but_first(result, 16)))),
           caught_by="recall_survives_distractors"),
    Mutant("filler-binds-what-is-asked", HYBRID, "further facts have keys that are asked for",
           replaced(TokenPairsTask, "other_pairs", _of_bound_keys), caught_by="recall_survives_distractors"),
    Mutant("base-cache-lost", HYBRID, "the base forgets the unfinished chunk between calls",
           replaced(Hybrid, "_run_piece", _state_of(lambda state: replace(state, cache=()))),
           caught_by="chunk_invariance"),
    Mutant("position-off-by-one", HYBRID, "the place in the document moves on by one token too many",
           replaced(Hybrid, "_run_piece", _state_of(lambda state: replace(state, position=state.position + 1))),
           caught_by="chunk_invariance"),
    Mutant("base-positions-start-anew", HYBRID, "the base counts positions from the call, not from the chunk",
           _positions_anew, caught_by="chunk_invariance"),
    Mutant("window-cannot-be-switched-off", HYBRID, "`disabled` is ignored for the window",
           replaced(Sidecar, "forward", _deaf_to(WINDOW)), caught_by="every_switch_counts"),
    Mutant("fast-weights-cannot-be-switched-off", HYBRID, "`disabled` is ignored for the gated delta memory",
           replaced(Sidecar, "forward", _deaf_to(FAST_WEIGHTS)), caught_by="every_switch_counts"),
    Mutant("window-attention-by-a-mask", HYBRID, "every pair of tokens is scored, most are masked",
           rebound(sliding_window_attention, instead(masked_window_attention)), caught_by="linear_memory"),
    Mutant("detached-at-every-chunk", HYBRID, "training lets no gradient through from chunk to chunk",
           replaced(RecallObjective, "_piece", instead(property(lambda self: self.task.chunk_size))),
           caught_by="gradients_reach_the_facts"),
    Mutant("answers-unshifted", HYBRID, "predictions are compared with the token that was given, not with the next",
           replaced(AnswerTally, "add", _unshifted)),
    Mutant("divergence-is-zero", HYBRID, "the divergence from the base is reported as 0",
           rebound(divergence, instead(lambda *_: torch.zeros(()))), caught_by="drift_is_measured"),
    Mutant("baseline-after-training", HYBRID, "the base's perplexity is measured with the sidecars on",
           replaced(Drift, "_report", _late_baseline), caught_by="drift_is_measured"),
    in_source("shares-swapped", HYBRID, "the gate's share goes to the other part", Sidecar, "mix",
              "share * attention + (1 - share) * memory", "share * memory + (1 - share) * attention",
              by="forward_matches_a_reference"),
    in_source("keys-of-any-length", HYBRID, "keys are not made unit vectors", Sidecar, "queries_keys_values",
              "unit(q), unit(k), v", "unit(q), k, v", by="forward_matches_a_reference"),
    in_source("write-gate-linear", HYBRID, "the write gate leaves out its hidden units", Gates, "forward",
              "write = write + wide", "write = write + 0 * wide", by="forward_matches_a_reference"),
    in_source("write-gate-linear-in-generation", HYBRID, "the same, where a text is generated", FoldedWeights, "step",
              "self.spec.write_width", "False", by="sampling_follows_its_settings"),
)  # fmt: skip
