"""How far back a hybrid sees without its fast weights: as far as it states, and no token further."""

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.experts import in_float64
from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number, text
from cortexzoo.harness.checking.properties.hybrid import hybrid_of
from cortexzoo.harness.checking.subject import Subject, Tokens
from cortexzoo.specs.mixer import DecaySpec, ShortConvSpec
from cortexzoo.specs.slow_store import NoSlowStore
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.hybrid.block import FAST_WEIGHTS, WINDOW
from cortexzoo.zoo.models.hybrid.model import Hybrid

CHUNK, CHUNKS = 8, 6
"""Tokens of a chunk, and chunks of a text, one of them after the last that is looked at."""
SIZES = (1, 5, 6, 7, 13, 14, 15)
"""Windows: with a convolution of 4 taps they end before, on and behind the border of a chunk."""
ROUNDING = 1e-11
"""Of the largest logit: what lies below may be the order of sums in float64."""
STD = 0.5
"""Of the last projection of a sidecar, which begins at zero."""


def reach_cases(subject: Subject) -> Iterable[Case]:
    """Windows and filters that end before, on and behind a border; and other memories switched off."""
    several = hybrid_of(subject).spec.backbone.architecture.num_layers > 1
    for layers in ("last", "all") if several else ("all",):
        for size in SIZES if layers == "last" else SIZES[3:5]:
            yield {"window": size, "kernel": 4, "layers": layers, "without": FAST_WEIGHTS}
    yield {"window": 5, "kernel": 4, "layers": "all", "without": f"{FAST_WEIGHTS} and {WINDOW}"}
    yield {"window": 5, "kernel": 4, "layers": "all", "without": WINDOW}


@torch.no_grad()
def reach_is_as_stated(subject: Subject, case: Case) -> Finding:
    """Every token of a text is edited in turn: which of them change the logits of its last chunk but one.

    Of those before that chunk, none may lie further back than is stated, in float64. Where only the last layer has a
    sidecar, which reads what the base made of a chunk from its start, the furthest must be the first that is stated;
    and where no limit is stated, the first token of all. A base may itself see less than a chunk, such as one whose
    own attention is over a shorter window: of it only the limit is asked.
    """
    model, disabled = _small(subject, case), text(case, "without").split(" and ")
    stated = model.receptive_field(disabled)
    if stated is not None and stated % CHUNK:
        return Finding(1, f"a reach of {stated} tokens ends within a chunk of {CHUNK}", {**case, "stated": stated})
    begin = (CHUNKS - 2) * CHUNK
    tokens = subject.random_tokens(1, CHUNKS * CHUNK)
    seen = _seen(model, tokens, subject.other_tokens(tokens), begin, disabled)
    wanted = begin if stated is None else min(begin, stated)
    exact = stated is None or (case["layers"] == "last" and _reads_a_chunk(model, tokens))
    off = abs(seen - wanted) if exact else seen - wanted
    reason = f"{seen} tokens before a chunk are seen, {'all' if stated is None else stated} are stated"
    return Finding(max(0, off), f"{reason}: a window of {case['window']}, a filter of {case['kernel']}", case)


def _seen(model: Hybrid, tokens: Tokens, others: Tokens, begin: int, disabled: Collection[str]) -> int:
    """How far before place `begin` the furthest token lies that the chunk there sees; 0: none does."""

    read = tokens.repeat(begin + 1, 1)
    for place in range(begin):
        read[place, place] = others[0, place]
    logits = model(read, None, disabled).logits[:, begin : begin + CHUNK]
    apart = (logits[:-1] - logits[-1:]).abs().amax(dim=(1, 2))
    moved = (apart > ROUNDING * float(logits.abs().max())).nonzero()[:, 0].tolist()
    return begin - min(moved, default=begin)


def _reads_a_chunk(model: Hybrid, tokens: Tokens) -> bool:
    """Whether what the last layer reads at the end of a chunk depends on the first token of the chunk."""
    last: list[Tensor] = []

    def keep(_layer: int, normed: Tensor, hidden: Tensor) -> Tensor:
        last.append(normed[:, -1])
        return hidden

    chunk = tokens[:, :CHUNK].repeat(2, 1)
    chunk[1, 0] = (chunk[1, 0] + 1) % model.vocab_size
    model.base.run(chunk, (), keep, (model.spec.backbone.architecture.num_layers - 1,), keep_cache=False)
    return float((last[0][0] - last[0][1]).abs().max()) > ROUNDING * float(last[0].abs().max())


def _small(subject: Subject, case: Case) -> Hybrid:
    """A fresh hybrid on the subject's base, with short chunks, whose sidecars add something, and every path carries.

    What only makes a path weak, such as filters or writes near zero, is as shipped: a reach is no question of strength.
    """
    spec = hybrid_of(subject).spec
    mixer = spec.mixer
    conv = ShortConvSpec(kernel_size=number(case, "kernel"))
    usual = {"decay": DecaySpec(), "write_bias": -1.0, "write_threshold": 0.0, "gate_bias": 0.0}
    mixer = mixer.model_copy(update={"window_size": number(case, "window"), "conv": conv, **usual})
    there = spec.backbone.architecture.num_layers
    is_one = spec.layers is not None and len(spec.layers) == 1
    several = tuple(range(min(2, there))) if is_one else spec.layers
    layers = (there - 1,) if case["layers"] == "last" else several
    small = {"chunk_size": CHUNK, "mixer": mixer, "layers": layers, "slow_store": NoSlowStore()}
    model = build_model(spec.model_copy(update=small), 0)
    assert isinstance(model, Hybrid)
    random = torch.Generator().manual_seed(0)
    for layer in model.sidecars:
        nn.init.normal_(model.sidecar(layer).output.weight, std=STD, generator=random)
    return in_float64(model).eval()


REACH = (Property("reach_is_as_stated", reach_is_as_stated, reach_cases),)
