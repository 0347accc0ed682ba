"""Models written out as plainly as can be, with the weights of a built one: what fast forms are compared with."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cortexzoo.zoo.models.hybrid.block_token_loop import sidecar_token_loop
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.state import HybridState, SidecarState
from cortexzoo.zoo.models.transformer import Layer, Transformer


def written_out_transformer(
    model: Transformer, tokens: Int[Tensor, "batch time"]
) -> tuple[Float[Tensor, "batch time vocab"], Tensor, Tensor]:
    """Logits, keys and values, one layer, one head and one query after the other; from no cache."""
    x = model.embedding.weight[tokens]
    keys, values = [], []
    for layer in model.layers:
        assert isinstance(layer, Layer)
        x, layer_keys, layer_values = _layer(layer, x, model.spec.rope_base)
        keys.append(layer_keys.detach())
        values.append(layer_values.detach())
    logits = _norm(model.final_norm, x) @ model.vocabulary.weight.T
    return logits, torch.stack(keys), torch.stack(values)


def _layer(layer: Layer, x: Tensor, base: float) -> tuple[Tensor, Tensor, Tensor]:
    time, width = x.shape[1:]
    size = width // layer.num_heads
    projected = _norm(layer.attention_norm, x) @ layer.query_key_value.weight.T  # [B, T, 3 · H · size]
    all_keys, all_values, all_read = [], [], []
    for head in range(layer.num_heads):
        query, key, value = (projected[..., part * width + head * size :][..., :size] for part in range(3))
        query, key = (torch.stack([_turned(part[:, t], t, base) for t in range(time)], 1) for part in (query, key))
        read = []
        for t in range(time):
            scores = (key[:, : t + 1] * query[:, t : t + 1]).sum(-1) / math.sqrt(size)
            read.append((scores.softmax(-1)[..., None] * value[:, : t + 1]).sum(1))
        all_keys.append(key)
        all_values.append(value)
        all_read.append(torch.stack(read, 1))
    x = x + torch.cat(all_read, -1) @ layer.attention_output.weight.T
    inner, _, outer = layer.feed_forward
    assert isinstance(inner, torch.nn.Linear) and isinstance(outer, torch.nn.Linear)
    wide = _norm(layer.feed_forward_norm, x) @ inner.weight.T + inner.bias
    gelu = 0.5 * wide * (1 + torch.erf(wide / math.sqrt(2)))
    return x + gelu @ outer.weight.T + outer.bias, torch.stack(all_keys, 1), torch.stack(all_values, 1)


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
    model: Hybrid, tokens: Int[Tensor, "batch time"], state: HybridState
) -> tuple[Float[Tensor, "batch time vocab"], dict[int, SidecarState]]:
    """Logits and memories, one chunk after the other, each row alone, the sidecars token by token.

    The memory at the start must be one between two chunks.
    """
    rows = [_row(model, row[None], state, number) for number, row in enumerate(tokens)]
    memories = {
        layer: SidecarState(
            **{field: torch.cat([each[layer].tensors()[field] for _, each in rows]) for field in memory.tensors()}
        )
        for layer, memory in rows[0][1].items()
    }
    return torch.cat([logits for logits, _ in rows]), memories


def _row(model: Hybrid, tokens: Tensor, state: HybridState, row: int) -> tuple[Tensor, dict[int, SidecarState]]:
    memories = {layer: memory.map(lambda tensor: tensor[row : row + 1]) for layer, memory in state.sidecars.items()}

    def edit(layer: int, normed: Tensor, hidden: Tensor) -> Tensor:
        out, memories[layer] = sidecar_token_loop(model.sidecar(layer), normed, memories[layer])
        return hidden + out

    chunks = tokens.split(model.spec.chunk_size, 1)
    logits = [model.base.run(chunk, (), edit, tuple(memories), keep_cache=False)[0] for chunk in chunks]
    return torch.cat(logits, 1), memories
