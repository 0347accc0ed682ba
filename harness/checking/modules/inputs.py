"""What a bare module takes: token ids or vectors, how they are drawn, and which ids are special."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

WIDTH_NAMES = ("hidden_size", "d_model", "dim", "width", "embed_dim", "n_embd", "input_size", "model_dim")
VOCABULARY_NAMES = ("vocab_size", "num_tokens", "n_vocab", "vocabulary_size", "vocab")
SPECIAL_NAMES = (
    "pad", "pad_id", "pad_token_id", "pad_idx", "padding_idx", "eos", "eos_id", "eos_token_id", "bos", "bos_id",
    "bos_token_id",
)  # fmt: skip
CONFIGS = ("config", "cfg", "args", "hparams")
COMMON_WIDTHS = (8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Inputs:
    """Token ids below `size`, or vectors of `size` numbers."""

    kind: Literal["tokens", "vectors"]
    size: int

    def __str__(self) -> str:
        return f"token ids below {self.size}" if self.kind == "tokens" else f"vectors of {self.size}"

    def draw(self, rows: int, length: int, seed: int = 0, scale: float = 1.0) -> Tensor:
        """[B, T] uniform ids, or [B, T, D] normal numbers times `scale`."""
        generator = torch.Generator().manual_seed(seed)
        if self.kind == "tokens":
            return torch.randint(self.size, (rows, length), generator=generator)
        return torch.randn(rows, length, self.size, generator=generator) * scale

    def other(self, inputs: Tensor, seed: int = 0) -> Tensor:
        """Inputs of the same shape that differ from the given ones at every token."""
        generator = torch.Generator().manual_seed(1000 + seed)
        if self.kind == "tokens":
            shift = torch.randint(1, max(2, self.size), inputs.shape, generator=generator)
            return (inputs + shift) % self.size
        return torch.randn(inputs.shape, generator=generator).to(inputs.dtype)


def special_ids(module: nn.Module, inputs: Inputs) -> tuple[int, ...]:
    """The first id, the last, and what the module names as padding or end of text; none for vectors."""
    if inputs.kind == "vectors":
        return ()
    found = [0, inputs.size - 1]
    found += [e.padding_idx for e in module.modules() if isinstance(e, nn.Embedding) and e.padding_idx is not None]
    for holder in (module, *(getattr(module, name, None) for name in CONFIGS)):
        found += [value for name in SPECIAL_NAMES if type(value := getattr(holder, name, None)) is int]
    return tuple(dict.fromkeys(value for value in found if 0 <= value < inputs.size))


def candidates(module: nn.Module, vocab_size: int | None, width: int | None) -> Iterator[Inputs]:
    """What the module may take, the likeliest first."""
    if vocab_size is not None:
        yield Inputs("tokens", vocab_size)
        return
    if width is None:
        sizes = [value for name in VOCABULARY_NAMES if (value := _declared(module, name))]
        sizes += [layer.num_embeddings for layer in module.modules() if isinstance(layer, nn.Embedding)]
        yield from (Inputs("tokens", size) for size in dict.fromkeys(sizes))
    widths = [width] if width is not None else list(_widths(module))
    yield from (Inputs("vectors", size) for size in dict.fromkeys(widths) if size > 0)
    if width is None:
        shapes = [size for parameter in module.parameters() for size in _shape(parameter)]
        yield from (Inputs("tokens", size) for size in sorted(set(shapes), reverse=True) if size > 1)


def _declared(module: nn.Module, name: str) -> int | None:
    for holder in (module, *(getattr(module, config, None) for config in CONFIGS)):
        if type(value := getattr(holder, name, None)) is int:
            return value
    return None


def _shape(parameter: Tensor) -> tuple[int, ...]:
    return () if nn.parameter.is_lazy(parameter) else tuple(parameter.shape)


def _widths(module: nn.Module) -> Iterator[int]:
    for name in WIDTH_NAMES:
        if isinstance(value := getattr(module, name, None), int):
            yield value
    for layer in module.modules():
        for name in ("in_features", "in_channels", "input_size", "embed_dim"):
            if isinstance(value := getattr(layer, name, None), int):
                yield value
        if isinstance(layer, nn.LayerNorm):
            yield layer.normalized_shape[-1]
    for parameter in module.parameters():
        yield from reversed(_shape(parameter))
    yield from COMMON_WIDTHS
