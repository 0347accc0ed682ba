"""Defects of the CortexGPT and of the transformer: what they depend on, what they leave behind, how they grow."""

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

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
)
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.zoo.memory.short_term import ShortTermMemory
from cortexzoo.zoo.models import transformer
from cortexzoo.zoo.models.columns import Columns
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.interface import MemoryLanguageModel, ModelOutput
from cortexzoo.zoo.models.transformer import Transformer, TransformerState

CORTEX: Host = "cortexgpt"
CONTROL: Host = "transformer"


def _adds(leak: Any) -> Make:
    """The columns' output plus something that must not be there."""
    return after(lambda out, _self, x: out + leak(x))


def _time_and_batch_top_k(_self: Columns, rows: Tensor, mask: Tensor) -> Tensor:
    kept = torch.zeros_like(mask).scatter(0, mask.topk(max(1, len(rows) // 20), dim=0).indices, 1.0)
    return _weighted(_self, rows, mask * kept)


_weighted = Columns._weighted


def _with_logits(change: Any) -> Make:
    def changed(output: ModelOutput[Any], *_: Any) -> ModelOutput[Any]:
        return replace(output, logits=change(output.logits))

    return after(changed)


def _quadratic(x: Tensor) -> Tensor:
    scores = (x @ x.mT).tril()
    return 0.0 * scores.sum(-1, keepdim=True)


def _pairwise(x: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return torch.zeros_like(x)
    sums = x[..., :16].sin()
    return 0.0 * (sums[:, :, None] * sums[:, None]).tanh().mean((2, 3), keepdim=True)[..., 0]


def _close_a_column(model: Any, _subject: Subject) -> Any:
    with torch.no_grad():
        model.columns.score.bias[0] = -60.0
    return model


def _empty_a_column(model: Any, _subject: Subject) -> Any:
    with torch.no_grad():
        model.columns.output_weight[0], model.columns.output_bias[0] = 0.0, 0.0
    return model


def _frozen_batch(model: Any, tokens: Tensor, *_: Any) -> None:
    first = model.__dict__.setdefault("first_batch", len(tokens))
    if len(tokens) != first:
        raise RuntimeError(f"the memory was made for {first} rows, got {len(tokens)}")


def _at_most_128(model: Any, tokens: Tensor, *_: Any) -> None:
    if tokens.shape[1] > 128:
        raise IndexError("position 128 is out of range")


def _writes_a_weight(model: Any, *_: Any) -> None:
    with torch.no_grad():
        model.vocabulary.weight.mul_(1.0 + 1e-3)


def _draws(*_: Any) -> None:
    torch.rand(())


def _shifted(original: Any) -> Any:
    def defective(self: Any, tokens: Tensor, *arguments: Any, **named: Any) -> Any:
        return original(self, F.pad(tokens[:, :-1], (1, 0)), *arguments, **named)

    return defective


def _too_hot(logits: Tensor) -> Tensor:
    """Past some 64 tokens the logits grow without reason."""
    places = torch.arange(logits.shape[1], dtype=logits.dtype)
    return logits * (1 + (places / 100) ** 2)[:, None]


def _rounded(logits: Tensor) -> Tensor:
    largest = logits.abs().max()
    return (logits / largest).bfloat16().float() * largest


def _unseeded(columns: Columns) -> None:
    columns.mix_bias.data.normal_(generator=torch.Generator().manual_seed(time.perf_counter_ns() % 2**31))


def _attention(change: Any) -> Any:
    """torch.nn.functional with another attention, for the transformer's module."""

    def attend(
        query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, *change(mask, is_causal))

    return instead(SimpleNamespace(scaled_dot_product_attention=attend))


def _empty_cache(output: ModelOutput[TransformerState], model: Transformer, tokens: Tensor, *_: Any) -> Any:
    return replace(output, state=model.initial_state(len(tokens)))


def _detached_in(name: str) -> Make:
    """One submodule's output takes no gradient."""

    def make(original: Any) -> Any:
        def defective(self: Any, *arguments: Any, **named: Any) -> Any:
            part = getattr(self, name)
            with part.register_forward_hook(lambda _m, _i, output: output.detach()):
                return original(self, *arguments, **named)

        return defective

    return make


MODEL_MUTANTS = (
    Mutant("column-sees-the-future", CORTEX, "columns add the mean over all of time",
           replaced(Columns, "forward", _adds(lambda x: x.mean(1, keepdim=True))), caught_by="causality"),
    Mutant("top-k-over-time-and-batch", CORTEX, "columns keep the best twentieth of all positions together",
           replaced(Columns, "_weighted", instead(_time_and_batch_top_k)), caught_by="causality"),
    Mutant("batch-leak", CORTEX, "columns add the mean over the batch",
           replaced(Columns, "forward", _adds(lambda x: x.mean(0, keepdim=True))), caught_by="batch_isolation"),
    Mutant("gradient-leak", CORTEX, "rows share a gradient and no value",
           replaced(Columns, "forward", _adds(lambda x: x.mean(0, keepdim=True) - x.mean(0, keepdim=True).detach())),
           caught_by="batch_isolation"),
    Mutant("evaluation-writes-weights", CORTEX, "every call changes a weight",
           replaced(CortexGPT, "forward", before(_writes_a_weight)), caught_by="repeatability"),
    Mutant("evaluation-draws", CORTEX, "every call draws from torch's global generator",
           replaced(CortexGPT, "forward", before(_draws)), caught_by="repeatability"),
    Mutant("nan-at-64", CORTEX, "square root at 0 where the length is a multiple of 64",
           replaced(Columns, "forward", _adds(lambda x: (x - x).abs().sqrt() if x.shape[1] % 64 == 0 else 0.0)),
           caught_by="finite_gradients"),
    Mutant("column-scores-detached", CORTEX, "the columns' scores take no gradient",
           replaced(Columns, "forward", _detached_in("score")), caught_by="every_parameter_learns"),
    Mutant("own-token-unseen", CORTEX, "each position is given the token before it",
           replaced(CortexGPT, "forward", _shifted), caught_by="own_token_counts"),
    Mutant("quadratic-columns", CORTEX, "columns compare all positions with each other",
           replaced(Columns, "forward", _adds(_quadratic))),
    Mutant("fixed-batch", CORTEX, "a model keeps the batch size of its first call",
           replaced(CortexGPT, "forward", before(_frozen_batch)), caught_by="any_shape_works"),
    Mutant("fixed-length", CORTEX, "positions end at 128", replaced(CortexGPT, "forward", before(_at_most_128)),
           caught_by="any_shape_works"),
    Mutant("unseeded-weights", CORTEX, "a bias is drawn from the clock",
           replaced(Columns, "reset_parameters", after(lambda _, columns: _unseeded(columns))),
           caught_by="determinism"),
    Mutant("hot-at-length", CORTEX, "logits grow with the position",
           replaced(CortexGPT, "forward", _with_logits(_too_hot)), caught_by="chunk_invariance"),
    Mutant("dead-column", CORTEX, "one column was trained into never opening",
           replaced(Subject, "copy", after(_close_a_column)), caught_by="no_dead_column"),
    Mutant("column-adds-nothing", CORTEX, "one column was trained into opening and adding nothing",
           replaced(Subject, "copy", after(_empty_a_column)), caught_by="no_dead_column"),
    Mutant("pairwise-training", CORTEX, "training keeps a number for every pair of positions",
           replaced(Columns, "forward", _adds(_pairwise)), caught_by="linear_memory"),
    Mutant("bfloat16-logits", CORTEX, "logits pass through bfloat16 in evaluation, each call on its own scale",
           replaced(CortexGPT, "forward", _with_logits(_rounded))),
    Mutant("attention-sees-the-future", CONTROL, "attention without its causal mask",
           replaced(transformer, "F", _attention(lambda mask, _: (mask,))), caught_by="causality"),
    Mutant("no-mask-over-the-cache", CONTROL, "with a cache every token sees all others",
           replaced(transformer, "F", _attention(lambda _, is_causal: (None, 0.0, is_causal))),
           caught_by="chunk_invariance"),
    Mutant("positions-start-anew", CONTROL, "rotary positions begin at 0 in every piece",
           rebound(transformer._rotation, lambda original: lambda start, *rest: original(0, *rest)),
           caught_by="chunk_invariance"),
    Mutant("cache-wiped", CONTROL, "the cache is empty after every call",
           replaced(Transformer, "forward", after(_empty_cache)), caught_by="chunk_invariance"),
    Mutant("cache-survives-batches", CONTROL, "an unrelated batch starts from the last one's cache",
           replaced(MemoryLanguageModel, "between_batches", lambda original: lambda self, state, rows: (
               state if isinstance(state, TransformerState) and state.keys.shape[1] == rows
               else original(self, state, rows))), caught_by="repeatability"),
    in_source("angles-fall-too-fast", CONTROL, "no pair of a rotary position is turned at the full rate", transformer,
              "_rotation", "torch.arange(0, head_dim, 2,", "torch.arange(1, head_dim, 2,",
              by="forward_matches_a_reference"),
    in_source("ages-may-attract", CORTEX, "the weight of an age in short-term memory may be negative", ShortTermMemory,
              "plan", "F.softplus(self.recency)", "self.recency", by="forward_matches_a_reference"),
)  # fmt: skip
