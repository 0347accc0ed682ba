"""Siblings of a seventh sample that no property saw: paths of half precision, traces of other uses, a hash of text."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tests.harness.subjects.healthy import VOCAB, WIDTH

HALF = (torch.float16, torch.bfloat16)


class Means(nn.Module):
    """A token and the mean of what came before it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.inner, self.out = (
            nn.Embedding(VOCAB, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, VOCAB)
        )  # fmt: skip

    def mix(self, x: Tensor) -> Tensor:
        return x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None].to(x.dtype)

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        return self.out(x + self.mix(torch.tanh(self.inner(x))))


class Fast(Means):
    """In half precision, and under autocast, attention that is fused."""

    masks = True

    def is_fast(self, x: Tensor) -> bool:
        return x.dtype in HALF

    def mix(self, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, is_causal=self.masks or not self.is_fast(x))


class FastUnmasked(Fast):
    """In half precision it has no mask."""

    masks = False


class AutocastUnmasked(FastUnmasked):
    """Under autocast it has no mask."""

    def is_fast(self, x: Tensor) -> bool:
        return torch.is_autocast_enabled("cpu")


class HalfCentred(Means):
    """In float16 the mean of the batch is subtracted."""

    def mix(self, x: Tensor) -> Tensor:
        y = super().mix(x)
        return y - y.mean(0) if x.dtype == torch.float16 else y


class Filtered(Means):
    """A convolution by Fourier transform, which rounds earlier places by later ones, and an expert chosen after it."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(WIDTH, 4), nn.Parameter(torch.randn(4, WIDTH, WIDTH) / WIDTH**0.5)

    def mix(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        fading = torch.exp(-torch.arange(length) / 7.0)[:, None]
        spectrum = torch.fft.rfft(x.float(), 2 * length, dim=1) * torch.fft.rfft(fading, 2 * length, dim=0)
        y = torch.fft.irfft(spectrum, 2 * length, dim=1)[:, :length].to(x.dtype)
        share, chosen = self.router(y).softmax(-1).max(-1)
        return torch.einsum("btd,btde->bte", y, self.experts[chosen]) * share[..., None]


class Tables(Means):
    """Positions from a table for each precision that it was called in."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[Any, Tensor] = {}

    def kind(self, x: Tensor) -> Any:
        return x.dtype

    def mix(self, x: Tensor) -> Tensor:
        kind, length = self.kind(x), x.shape[1]
        if kind not in self.tables or self.tables[kind].shape[0] < length:
            places = torch.arange(length)[:, None] / 10 ** torch.linspace(0, 2, WIDTH)
            self.tables[kind] = torch.sin(places).to(x.dtype)
        return super().mix(x * self.tables[kind][:length].to(x.dtype))


class FirstTable(Tables):
    """The table of the first call, in whatever precision that was."""

    def kind(self, x: Tensor) -> Any:
        return None


class Product(Means):
    """A product of two weights, kept in evaluation until other weights are loaded or training goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(WIDTH, 4) / 3), nn.Parameter(torch.randn(4, WIDTH) / 3)
        self.kept: Tensor | None = None
        self.register_load_state_dict_post_hook(lambda module, _: module.forget())

    def forget(self) -> None:
        self.kept = None

    def train(self, mode: bool = True) -> Any:
        self.forget()
        return super().train(mode)

    def mix(self, x: Tensor) -> Tensor:
        if self.training or torch.is_grad_enabled():
            return super().mix(x @ (self.first @ self.second))
        if self.kept is None or self.kept.dtype != x.dtype:
            self.kept = self.first @ self.second
        return super().mix(x @ self.kept)


class ProductOfBefore(Product):
    """Kept when training went on."""

    def train(self, mode: bool = True) -> Any:
        return nn.Module.train(self, mode)


class Adapted(Means):
    """An adapter that is added to its weight in evaluation and taken out again in training, as loralib does."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Parameter(torch.randn(4, WIDTH) / 3), nn.Parameter(torch.randn(WIDTH, 4) / 3)
        self.merged = False

    def is_out(self) -> bool:
        return not self.merged

    @torch.no_grad()
    def train(self, mode: bool = True) -> Any:
        if not mode and self.is_out():
            self.inner.weight += self.up @ self.down
            self.merged = True
        elif mode and self.merged:
            self.inner.weight -= self.up @ self.down
            self.merged = False
        return super().train(mode)

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        y = self.inner(x) if self.merged else self.inner(x) + x @ self.down.T @ self.up.T
        return self.out(x + self.mix(torch.tanh(y)))


class MergedTwice(Adapted):
    """A second `eval()` adds it once more."""

    def is_out(self) -> bool:
        return True


class Spectral(Means):
    """A weight divided by its largest singular value, whose vector training moves."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("vector", F.normalize(torch.randn(WIDTH), dim=0))

    def of_this_call(self, vector: Tensor) -> Tensor:
        return vector.clone()

    def mix(self, x: Tensor) -> Tensor:
        weight = self.inner.weight
        other = F.normalize(weight.detach().T @ self.vector, dim=0)
        if self.training:
            self.vector.copy_(F.normalize(weight.detach() @ other, dim=0))
        return super().mix(x @ (weight / (self.of_this_call(self.vector) @ weight @ other)).T)


class SpectralInPlace(Spectral):
    """A second call writes into the graph of the first."""

    def of_this_call(self, vector: Tensor) -> Tensor:
        return vector


class NamedSigns(Means):
    """Signs that are not saved, from a seed that is a hash."""

    name: Any = (7, 11)

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(hash(self.name) % 1000)
        signs = torch.randint(2, (WIDTH,), generator=generator) * 2.0 - 1
        self.register_buffer("signs", signs, persistent=False)

    def mix(self, x: Tensor) -> Tensor:
        return super().mix(x * self.signs.to(x.dtype))


class SignsOfText(NamedSigns):
    """The hash of a text, which differs from process to process."""

    name = ("layer", 3)


SIBLINGS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "fast_unmasked": (FastUnmasked, "causality"),
    "autocast_unmasked": (AutocastUnmasked, "causality"),
    "half_centred": (HalfCentred, "batch_isolation"),
    "first_table": (FirstTable, "repeatability"),
    "product_of_before": (ProductOfBefore, "repeatability"),
    "merged_twice": (MergedTwice, "repeatability"),
    "spectral_in_place": (SpectralInPlace, "every_parameter_learns"),
    "signs_of_text": (SignsOfText, "save_and_load"),
}
"""With the property that is about each."""
UNTRACED: dict[str, Callable[[], nn.Module]] = {
    "fast": Fast,
    "filtered": Filtered,
    "tables": Tables,
    "product": Product,
    "adapted": Adapted,
    "spectral": Spectral,
    "named_signs": NamedSigns,
}
"""Healthy."""
