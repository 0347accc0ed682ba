"""Models written out as plainly as can be, with the weights of a built one: what fast forms are compared with."""

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.memory.long_term import LongTermState, LongTermStore
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.models.cortexgpt_token_loop import token_loop
from cortexzoo.zoo.models.hybrid.block_token_loop import sidecar_token_loop
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.state import HybridState, SidecarState
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.models.transformer import Layer, Transformer, TransformerState


@dataclass(frozen=True)
class WrittenOut:
    """What a forward call gives, written out."""

    logits: Float[Tensor, "batch time vocab"]
    memory: Mapping[str, Tensor]
    """By names that people read."""
    readings: Mapping[str, float]
    """As the model's in evaluation."""


def written_out_cortexgpt(model: CortexGPT, tokens: Int[Tensor, "batch time"], state: CortexGPTState) -> WrittenOut:
    """One token after the other, memories as lists. Raises `ValueError` for a model without short-term memory."""
    looped = token_loop(model, tokens, state)
    rings = looped.rings
    memory = {"how much the short-term memory holds": torch.tensor(float(len(rings[0])))}
    if rings[0]:
        for name in ("key", "value"):
            slots = [torch.stack([getattr(slot, name) for slot in ring]) for ring in rings]
            memory[f"the short-term {name}s"] = torch.stack(slots)
        reads = torch.tensor([[slot.reads for slot in ring] for ring in rings])
        memory["how often the short-term memory was read"] = reads.double()
    return WrittenOut(looped.logits, memory, looped.readings)


def written_out_without(
    model: CortexGPT, tokens: Int[Tensor, "batch time"], state: CortexGPTState, switch: str
) -> WrittenOut:
    """Without one memory: what an empty one gives, which for a short-term memory is empty again before each token.

    An empty ring reads a zero, of which a norm makes its bias: without the ring there is none.
    """
    empty = model.initial_state(len(tokens))
    if switch == "long_term":
        return written_out_cortexgpt(model, tokens, replace(state, long_term=empty.long_term))
    without = copy.deepcopy(model)
    if without.memory.short_term is not None and without.memory.short_term.norm is not None:
        torch.nn.init.zeros_(without.memory.short_term.norm.bias)
    logits, long_term = [], state.long_term
    for place, token in enumerate(tokens.split(1, dim=1)):
        begun = CortexGPTState(empty.short_term, long_term, state.position + place)
        logits.append(token_loop(without, token, begun).logits)
        if model.contexts is not None and isinstance(long_term, Diary):
            long_term = long_term.read(token, model.contexts.spec)
    return WrittenOut(torch.cat(logits, dim=1), {}, {})


def written_out_consolidation(model: CortexGPT, state: CortexGPTState) -> Mapping[str, Tensor]:
    """The store after a consolidation, one stored pair after the other; nothing for a model without a store.

    Nothing too where the pairs that are read most are not defined, since several are read equally often.
    """
    store, kept, before = model.memory.long_term, state.short_term, state.long_term
    if store is None or not isinstance(before, LongTermState):
        return {}
    pairs = list(zip(kept.keys.flatten(0, 1), kept.values.flatten(0, 1), kept.reads.flatten().tolist(), strict=True))
    if isinstance(store, LongTermStore):
        chosen = [place for place, (_, _, reads) in enumerate(pairs) if reads >= store.spec.min_reads]
    else:
        by_reads = sorted(range(len(pairs)), key=lambda place: -pairs[place][2])
        most = store.spec.writes
        if most < len(pairs) and pairs[by_reads[most - 1]][2] == pairs[by_reads[most]][2]:
            return {}
        chosen = sorted(by_reads[:most])
    entries = list(zip(before.keys, before.values, before.codes, strict=True))
    for place in chosen:
        key, value, _ = pairs[place]
        code = store.compress(key)
        if isinstance(store, LongTermStore):
            entries.append((key[:0], store.consolidation_network(torch.cat([key, value])), code))
        else:
            entries.append((key, value, code))
    if store.spec.capacity is not None:
        entries = entries[max(0, len(entries) - store.spec.capacity) :]
    if not entries:
        return {"the stored keys": before.keys, "the stored values": before.values, "the stored codes": before.codes}
    keys, values, codes = (torch.stack(parts) for parts in zip(*entries, strict=True))
    if not isinstance(store, LongTermStore):  # its coders have learnt since
        codes = torch.stack([store.compress(key) for key in keys])
    return {"the stored keys": keys, "the stored values": values, "the stored codes": codes}


def written_out_transformer(
    model: Transformer, tokens: Int[Tensor, "batch time"], state: TransformerState
) -> WrittenOut:
    """One layer, one head and one query after the other, behind the keys and values that are cached."""
    x = model.embedding.weight[tokens]
    keys, values, largest = [], [], -math.inf
    for layer, past_keys, past_values in zip(model.layers, state.keys, state.values, strict=True):
        assert isinstance(layer, Layer)
        x, layer_keys, layer_values, score = _layer(layer, x, model.spec.rope_base, past_keys, past_values)
        keys.append(layer_keys.detach())
        values.append(layer_values.detach())
        largest = max(largest, score)
    logits = _norm(model.final_norm, x) @ model.vocabulary.weight.T
    memory = {"the cached keys": torch.stack(keys), "the cached values": torch.stack(values)}
    memory["how many tokens are cached"] = torch.tensor(float(state.keys.shape[3] + tokens.shape[1]))
    return WrittenOut(logits, memory, {"stability/max_attention_logit": largest})


def _layer(
    layer: Layer, x: Tensor, base: float, past_keys: Tensor, past_values: Tensor
) -> tuple[Tensor, Tensor, Tensor, float]:
    """Output, keys and values with those of before, and the largest attention logit of these queries."""
    time, width = x.shape[1:]
    size, seen = width // layer.num_heads, past_keys.shape[2]
    projected = _norm(layer.attention_norm, x) @ layer.query_key_value.weight.T  # [B, T, 3 · H · size]
    all_keys, all_values, all_read, largest = [], [], [], -math.inf
    for head in range(layer.num_heads):
        query, key, value = (projected[..., part * width + head * size :][..., :size] for part in range(3))
        query, key = (
            torch.stack([_turned(part[:, t], seen + t, base) for t in range(time)], 1) for part in (query, key)
        )
        key, value = torch.cat([past_keys[:, head], key], 1), torch.cat([past_values[:, head], value], 1)
        read = []
        for t in range(time):
            scores = (key[:, : seen + t + 1] * query[:, t : t + 1]).sum(-1) / math.sqrt(size)
            largest = max(largest, float(scores.detach().max()))
            read.append((scores.softmax(-1)[..., None] * value[:, : seen + t + 1]).sum(1))
        all_keys.append(key)
        all_values.append(value)
        all_read.append(torch.stack(read, 1))
    x = x + torch.cat(all_read, -1) @ layer.attention_output.weight.T
    inner, _, outer = layer.feed_forward
    assert isinstance(inner, torch.nn.Linear) and isinstance(outer, torch.nn.Linear)
    wide = _norm(layer.feed_forward_norm, x) @ inner.weight.T + inner.bias
    gelu = 0.5 * wide * (1 + torch.erf(wide / math.sqrt(2)))
    x = x + gelu @ outer.weight.T + outer.bias
    return x, torch.stack(all_keys, 1), torch.stack(all_values, 1), largest


def _turned(x: Float[Tensor, "batch head_dim"], place: int, base: float) -> Tensor:
    """Each pair (x_i, x_{i + head_dim/2}) as a complex number, turned by place · base^(−2i / head_dim).

    The angles are those of float32, as the model's: of large places they are known no better.
    """
    half = x.shape[-1] // 2
    angles = place * base ** (-torch.arange(half, dtype=torch.float32) * 2 / x.shape[-1])
    turned = torch.complex(x[:, :half], x[:, half:]) * torch.complex(angles.cos().double(), angles.sin().double())
    return torch.cat([turned.real, turned.imag], -1)


def _norm(norm: torch.nn.Module, x: Tensor) -> Tensor:
    assert isinstance(norm, torch.nn.LayerNorm)
    centred = x - x.mean(-1, keepdim=True)
    normed = centred / (centred.square().mean(-1, keepdim=True) + norm.eps).sqrt()
    return normed * norm.weight + norm.bias


def written_out_hybrid(
    model: Hybrid, tokens: Int[Tensor, "batch time"], state: HybridState, disabled: Collection[str] = ()
) -> WrittenOut:
    """One chunk after the other, each row alone, the sidecars token by token.

    The memory at the start must be one between two chunks.
    """
    rows = [_row(model, row[None], state, number, disabled) for number, row in enumerate(tokens)]
    memory = {
        f"{name} of layer {layer}": torch.cat([each.memories[layer].tensors()[name] for each in rows])
        for layer, held in rows[0].memories.items()
        for name in held.tensors()
    }
    held = next(iter(rows[0].memories.values())).window_keys.shape[1]
    memory["how many tokens the window holds"] = torch.tensor(float(held))
    readings = {name: sum(each.readings[name] for each in rows) / len(rows) for name in rows[0].readings}
    shares = [value for name, value in readings.items() if name.startswith("memory/gate_mean")]
    window = sum(shares) / len(shares)
    readings |= {"memory/gate_share/window": window, "memory/gate_share/fast_weights": 1 - window}
    return WrittenOut(torch.cat([each.logits for each in rows]), memory, readings)


@dataclass(frozen=True)
class _Row:
    logits: Float[Tensor, "one time vocab"]
    memories: dict[int, SidecarState]
    readings: dict[str, float]


def _row(model: Hybrid, tokens: Tensor, state: HybridState, row: int, disabled: Collection[str]) -> _Row:
    memories = {layer: memory.map(lambda tensor: tensor[row : row + 1]) for layer, memory in state.sidecars.items()}
    sums: dict[str, float] = {}
    norms: dict[str, float] = {}

    def edit(layer: int, normed: Tensor, hidden: Tensor) -> Tensor:
        out, memories[layer], measured = sidecar_token_loop(model.sidecar(layer), normed, memories[layer], disabled)
        for name, value in measured.items():
            if name == "memory/state_norm":
                norms[f"{name}/layer_{layer}"] = float(value)
            else:
                named = f"{name}/layer_{layer}"
                sums[named] = sums.get(named, 0.0) + float(value) * normed.shape[1]
        return hidden + out

    chunks = tokens.split(model.spec.chunk_size, 1)
    logits = [model.base.run(chunk, (), edit, tuple(memories), keep_cache=False)[0] for chunk in chunks]
    means = {name: total / tokens.shape[1] for name, total in sums.items()}
    return _Row(torch.cat(logits, 1), memories, means | norms)


def counted(
    model: MemoryLanguageModel[Any], after: MemoryState, before: MemoryState, tokens: Int[Tensor, "batch time"]
) -> dict[str, tuple[Tensor, Tensor]]:
    """How many tokens of the document a memory counts, and that of the next document, beside how many there are.

    Nothing for a memory that counts none.
    """
    counts = CortexGPTState | HybridState
    following = model.between_batches(after, len(tokens))
    if not (isinstance(after, counts) and isinstance(before, counts) and isinstance(following, counts)):
        return {}
    places = {
        "how many tokens the memory counts": (after.position, before.position + tokens.shape[1]),
        "how many tokens the next document begins with": (following.position, 0),
    }
    if isinstance(model, Hybrid) and isinstance(after, HybridState):
        begun = (before.position + tokens.shape[1]) % model.spec.chunk_size
        places["how many tokens the base's cache holds"] = (after.sizes()["cache"], begun)
    return {name: (torch.tensor(float(one)), torch.tensor(float(other))) for name, (one, other) in places.items()}


def beside_written_out(state: MemoryState, written: WrittenOut) -> dict[str, tuple[Tensor, Tensor]]:
    """The memory of the model beside that of the written-out form."""
    match state:
        case CortexGPTState(short_term=kept):
            found = {"how much the short-term memory holds": torch.tensor(float(state.sizes()["stm"]))}
            found |= {"the short-term keys": kept.keys, "the short-term values": kept.values}
            found["how often the short-term memory was read"] = kept.reads
        case TransformerState():
            found = {"the cached keys": state.keys, "the cached values": state.values}
            found["how many tokens are cached"] = torch.tensor(float(state.sizes()["cache"]))
        case HybridState():
            found = {
                f"{name} of layer {layer}": tensor
                for layer, memory in state.sidecars.items()
                for name, tensor in memory.tensors().items()
            }
            found["how many tokens the window holds"] = torch.tensor(float(state.sizes()["window"]))
        case _:
            raise AssertionError("only what has a written-out form is compared")
    return {name: (found[name], tensor) for name, tensor in written.memory.items()}
