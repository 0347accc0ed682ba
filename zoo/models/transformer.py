"""The control: a pre-norm decoder-only transformer with rotary positions; its state is the key/value cache."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.variant import TransformerSpec
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput

QUERIES_AT_A_TIME = 256


@dataclass(frozen=True)
class TransformerState(MemoryState):
    """Keys and values of all tokens seen, one pair a layer: `[layers, batch, heads, seen, head_dim]`."""

    keys: Float[Tensor, "layers batch heads seen head_dim"]
    values: Float[Tensor, "layers batch heads seen head_dim"]

    def tensors(self) -> dict[str, Tensor]:
        """`keys` and `values`."""
        return {"keys": self.keys, "values": self.values}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "TransformerState":
        """The inverse of `tensors`. Raises `ValueError` naming what is missing."""
        if missing := sorted({"keys", "values"} - set(tensors)):
            raise ValueError(f"memory state lacks {', '.join(missing)}")
        return cls(tensors["keys"], tensors["values"])

    def sizes(self) -> dict[str, int]:
        """No short-term or long-term memory: only the cache of this document."""
        return {"cache": self.keys.shape[3]}


class Layer(nn.Module):
    """x + attention(LN x), then x + W₂ gelu(W₁ LN x)."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        width = spec.hidden_size
        self.num_heads = spec.num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attention_output = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, spec.intermediate_size), nn.GELU(), nn.Linear(spec.intermediate_size, width)
        )

    def forward(
        self,
        x: Float[Tensor, "batch time hidden"],
        rotation: tuple[Tensor, Tensor],
        past_keys: Float[Tensor, "batch heads seen head_dim"],
        past_values: Float[Tensor, "batch heads seen head_dim"],
    ) -> tuple[Float[Tensor, "batch time hidden"], Tensor, Tensor, Tensor | None]:
        """The layer's output, its keys and values, past ones included, and the largest attention logit.

        Keys are cached with their rotation. No logit: the model is in training, which is spared the cost.
        """
        heads = self.query_key_value(self.attention_norm(x)).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # each [B, H, T, head_dim]
        query = _rotate(query, rotation)
        keys = torch.cat([past_keys.to(key.dtype), _rotate(key, rotation)], dim=2)
        values = torch.cat([past_values.to(value.dtype), value], dim=2)
        seen, time = past_keys.shape[2], x.shape[1]
        mask = None
        if seen:
            mask = torch.ones(time, seen + time, dtype=torch.bool, device=x.device).tril(seen)
        attended = F.scaled_dot_product_attention(query, keys, values, mask, is_causal=not seen)
        x = x + self.attention_output(attended.transpose(1, 2).flatten(2))
        largest = None if self.training else largest_logit(query, keys)
        return x + self.feed_forward(self.feed_forward_norm(x)), keys, values, largest


class Transformer(MemoryLanguageModel[TransformerState]):
    """The control of equal size: what plain attention learns on the same data in the same steps."""

    def __init__(self, spec: TransformerSpec) -> None:
        super().__init__()
        self.spec = spec
        self.vocab_size = spec.vocab_size
        self.embedding = nn.Embedding(spec.vocab_size, spec.hidden_size)
        nn.init.normal_(self.embedding.weight, std=spec.embedding_std)
        self.layers = nn.ModuleList(Layer(spec) for _ in range(spec.num_layers))
        self.final_norm = nn.LayerNorm(spec.hidden_size)
        self.vocabulary = nn.Linear(spec.hidden_size, spec.vocab_size, bias=False)

    def initial_state(self, batch_size: int) -> TransformerState:
        """An empty cache."""
        spec = self.spec
        empty = self.vocabulary.weight.new_zeros(
            spec.num_layers, batch_size, spec.num_heads, 0, spec.hidden_size // spec.num_heads
        )
        return TransformerState(empty, empty)

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: TransformerState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[TransformerState]:
        """Logits [B, T, V] and the grown cache; in evaluation the largest attention logit of all layers.

        Raises `ValueError` when the cache belongs to another batch size.
        """
        self.check_switches(disabled)
        state = self.initial_state(tokens.shape[0]) if state is None else state
        if state.keys.shape[1] != tokens.shape[0]:
            raise ValueError(
                f"the cache belongs to a batch of {state.keys.shape[1]}, but this batch has {tokens.shape[0]} rows: "
                "start from initial_state(batch_size) or keep the batch size"
            )
        x = self.embedding(tokens)
        rotation = _rotation(state.keys.shape[3], tokens.shape[1], state.keys.shape[4], self.spec.rope_base, x)
        keys, values, largest = [], [], []
        for layer, past_keys, past_values in zip(self.layers, state.keys, state.values, strict=True):
            x, layer_keys, layer_values, layer_largest = layer(x, rotation, past_keys, past_values)
            keys.append(layer_keys.detach())
            values.append(layer_values.detach())
            if layer_largest is not None:
                largest.append(layer_largest)
        logits = self.vocabulary(self.final_norm(x))
        readings = {"stability/max_attention_logit": torch.stack(largest).amax().float()} if largest else {}
        return ModelOutput(logits, TransformerState(torch.stack(keys), torch.stack(values)), readings)


@torch.no_grad()
def largest_logit(
    query: Float[Tensor, "batch heads time head_dim"], keys: Float[Tensor, "batch heads seen head_dim"]
) -> Float[Tensor, ""] | None:
    """The largest q · k / √d that the causal mask lets through; None: there is no query.

    The fused attention does not expose its logits. They are computed once more, some queries at a time, so that this
    too needs memory in proportion to the length.
    """
    before = keys.shape[2] - query.shape[2]
    largest = []
    for first in range(0, query.shape[2] if query.numel() else 0, QUERIES_AT_A_TIME):
        asked = query[:, :, first : first + QUERIES_AT_A_TIME]
        now = before + first
        logits = asked @ keys[:, :, : now + asked.shape[2]].mT
        later = torch.ones_like(logits[0, 0], dtype=torch.bool).triu(now + 1)
        largest.append(logits.masked_fill(later, -torch.inf).amax())
    return torch.stack(largest).amax() * query.shape[-1] ** -0.5 if largest else None


def _rotation(start: int, length: int, head_dim: int, base: float, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin [T, head_dim / 2] of the rotary positions start … start + length − 1.

    Source: Su et al. 2021, arXiv:2104.09864, Eq. 34.
    """
    rate = base ** (-torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim)
    angle = torch.arange(start, start + length, device=like.device, dtype=torch.float32)[:, None] * rate
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def _rotate(
    x: Float[Tensor, "batch heads time head_dim"], rotation: tuple[Tensor, Tensor]
) -> Float[Tensor, "batch heads time head_dim"]:
    """Rotate the pairs (x_i, x_{i + head_dim/2})."""
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
