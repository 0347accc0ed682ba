"""What a sleep that consolidates moves of a day's texts, worked out again token by token."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.harness.checking.experts import in_float64
from cortexzoo.harness.checking.properties.base import largest_difference, scale_of
from cortexzoo.specs.sleep import ConsolidateSleep
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.slow_store import Pairs, SlowStore
from cortexzoo.zoo.models.hybrid.unit import UNIT_EPS
from cortexzoo.zoo.models.hybrid.weights import with_slow_store
from cortexzoo.zoo.training.sleep.consolidating import ConsolidationPhase
from cortexzoo.zoo.training.sleep.reservoir import Example, Reservoir
from cortexzoo.zoo.training.sleep.transfer import consolidate

LENGTHS = (12, 7, 20)
"""Tokens of the day's texts."""
FEATURES = 48
RIDGE, SAME_KEY = 3e-3, 0.97
DAYS = 2
"""With unlike texts; on each the last text is an earlier one with one token changed, so that keys are bound anew."""


@dataclass
class _Trainer:
    """As much of a trainer as such a sleep needs."""

    model: Hybrid
    over: bool = False

    def is_over(self) -> bool:
        return self.over


def of_a_day(model: Hybrid, seed: int) -> tuple[float, str]:
    """How far the store is, after a sleep, from one that is given what the texts wrote; relative, and in words."""
    model = _with_store(model)
    store, random = model.slow_store, torch.Generator().manual_seed(seed)
    assert store is not None
    days = [_texts(model, random) for _ in range(DAYS)]
    written = [[_written(model, text) for text in texts] for texts in days]
    least = _in_the_widest_gap([strongest for day in written for _, _, strongest in day])
    spec = ConsolidateSleep(least_write=least, ridge=RIDGE, same_key=SAME_KEY, keep_curvature=False)
    wanted, moved = copy.deepcopy(store), 0
    for texts, day in zip(days, written, strict=True):
        keys, values = [], []
        for query, value, strongest in day:
            for place in range(1, len(strongest)):  # nothing could have asked for a text's first token
                if float(strongest[place]) > least:
                    keys.append(query[place - 1])
                    values.append(value[place])
        if keys:
            wanted.absorb(Pairs(torch.stack(keys), torch.stack(values)), RIDGE, SAME_KEY, keep_curvature=False)
        moved += len(keys)
        examples = tuple(Example(text, torch.ones(len(text) - 1, dtype=torch.bool)) for text in texts)
        reservoir = Reservoir(len(examples), examples, len(examples))
        told = list[tuple[int, int]]()
        ended = [_sleep(model, spec, reservoir, told, over=over) for over in (True, False)]
        if ended != [False, True] or told != [(0, 1)]:
            return float("inf"), f"a sleep that is stopped and one that is not end with {ended}, told as {told}"
    before = copy.deepcopy(store.state_dict())
    new = consolidate(model, [], spec)
    if new or not all(torch.equal(tensor, before[name]) for name, tensor in store.state_dict().items()):
        return float("inf"), f"a day without a text moves {new} keys"
    if int(store.pairs) != int(wanted.pairs):
        return float("inf"), f"sleeps move {int(store.pairs)} keys, {int(wanted.pairs)} were written strongly"
    names = ("curvature", "targets", "weights")
    pairs = {name: (getattr(store, name), getattr(wanted, name)) for name in names}
    apart = {name: largest_difference(one, other) / scale_of(other) for name, (one, other) in pairs.items()}
    worst = max(apart, key=lambda name: apart[name])
    return apart[worst], f"after {DAYS} days of {moved} tokens the {worst} is {apart[worst]:.2g} from what they wrote"


def _sleep(
    model: Hybrid, spec: ConsolidateSleep, reservoir: Reservoir, told: list[tuple[int, int]], *, over: bool
) -> bool:
    phase = ConsolidationPhase(cast(Any, _Trainer(model, over)), spec, reservoir)
    return phase.dream(lambda done, total: told.append((done, total)))


def _texts(model: Hybrid, random: torch.Generator) -> list[Tensor]:
    texts = [torch.randint(model.vocab_size, (length,), generator=random) for length in LENGTHS]
    again = texts[-1].clone()
    again[len(again) // 2] = (again[len(again) // 2] + 1) % model.vocab_size
    return [*texts, again]


def _with_store(model: Hybrid) -> Hybrid:
    """A copy in float64, whose empty store has few features."""
    own, mixer = model.spec.slow_store, model.spec.mixer
    store = own if isinstance(own, ProductStore) else ProductStore()
    most = store.distinct_products(mixer.num_heads * mixer.memory_key_dim)
    small = store.model_copy(update={"features": min(FEATURES, most)})
    return with_slow_store(in_float64(copy.deepcopy(model)), small).eval()


@torch.no_grad()
def _written(model: Hybrid, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each token of a text: the query that asks the memory, its value, and the write of the head that writes most.

    The text is read from an empty memory; the queries are of all heads beside each other, and so are the values.
    """
    sidecar = next(model.sidecar(n) for n in model.sidecars if isinstance(model.sidecar(n).slow_store, SlowStore))
    inputs: list[Tensor] = []
    handle = sidecar.register_forward_pre_hook(lambda _module, given: inputs.append(given[0]))
    try:
        model(text[None].to(sidecar.output.weight.device))
    finally:
        handle.remove()
    x = torch.cat(inputs, dim=1)[0]  # [T, hidden]
    q, v = _convolved(sidecar, x)
    return q.flatten(1), v.flatten(1), _strongest(sidecar, x)


def _convolved(sidecar: Sidecar, x: Tensor) -> tuple[Tensor, Tensor]:
    spec, taps = sidecar.spec, sidecar.conv.weight  # [channels, lags], the newest first
    projected = torch.cat([x @ w.weight.T for w in (sidecar.query, sidecar.key, sidecar.value)], dim=-1)
    summed = torch.zeros_like(projected)
    for lag in range(taps.shape[1]):
        summed[lag:] += projected[: len(projected) - lag] * taps[:, lag]
    q, _, v = (part.unflatten(-1, (spec.num_heads, -1)) for part in F.silu(summed).chunk(3, dim=-1))
    q = q / (q.square().sum(-1, keepdim=True) + UNIT_EPS).sqrt()
    if spec.key_products:
        dim = spec.head_dim
        every = [q[..., i] * q[..., (i + j) % dim] for j in range(1, spec.key_products + 1) for i in range(dim)]
        q = torch.stack(every, dim=-1)
        q = q / (q.square().sum(-1, keepdim=True) + UNIT_EPS).sqrt()
    return q, v


def _strongest(sidecar: Sidecar, x: Tensor) -> Tensor:
    gates, threshold = sidecar.memory.gates, sidecar.spec.write_threshold
    wish = x @ gates.write.weight.T + gates.write.bias
    if gates.write_hidden is not None and gates.write_from_hidden is not None:
        hidden = x @ gates.write_hidden.weight.T + gates.write_hidden.bias
        wish = wish + (hidden * hidden.sigmoid()) @ gates.write_from_hidden.weight.T
    strength = (wish.sigmoid() - threshold).clamp_min(0) / (1 - threshold)
    return (2 if sidecar.spec.negative_eigenvalues else 1) * strength.max(dim=-1).values


def _in_the_widest_gap(strengths: Sequence[Tensor]) -> float:
    """Between two strengths, so that no rounding moves a token across it; the last token of some text lies above it."""
    every = torch.cat(list(strengths)).sort().values
    below = every[every <= max(each[-1] for each in strengths)][len(every) // 4 :]
    if len(below) < 2:
        return 0.0
    place = int(below.diff().argmax())
    return float(below[place : place + 2].mean())
