"""A second sample of defects, written without trying the properties: those that a first shot missed.

And healthy modules which were accused, or which are near to it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tests.harness.subjects.factories import by_name
from tests.harness.subjects.healthy import VOCAB, WIDTH, Attention, Framed, Padded, Recurrent, attend, causal


class ForgetsLongGradients(Attention):
    """From 128 tokens on the first 64 keys get no gradient."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        if tokens.shape[1] >= 128:
            k = torch.cat([k[:, :64].detach(), k[:, 64:]], 1)
        return self.out(x + attend(q, k, v, causal(tokens.shape[1])))


class _ChunkedSum(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, x: Tensor) -> Tensor:
        return x.cumsum(1)

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return torch.cat([piece.flip(1).cumsum(1).flip(1) for piece in gradient.split(64, 1)], 1)


class ChunkBackward(Framed):
    """The backward pass of a scan leaves out what later chunks of 64 add."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        count = torch.arange(1, tokens.shape[1] + 1, dtype=x.dtype)[:, None]
        return self.out(x + q.sigmoid() * _ChunkedSum.apply(k.tanh() * v) / count)  # type: ignore[no-untyped-call]


class Keeps(Attention):
    """Keeps every output."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def forward(self, tokens: Tensor) -> Any:
        output = super().forward(tokens)
        self.kept.append(output.detach())
        return output


class UnsavedCentre(Attention):
    """A centre that training moves, evaluation uses and no file has."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(WIDTH), persistent=False)

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        if self.training:
            with torch.no_grad():
                self.centre.mul_(0.9).add_(0.1 * x.mean((0, 1)))
        return self.out(x - self.centre + attend(q, k, v, causal(tokens.shape[1])))


class NoMaskForRowZero(Padded):
    """Where row 0 has no pads the mask is ignored."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        return super().forward(tokens, None if mask is not None and bool(mask[0].all()) else mask)


class HalfSum(Framed):
    """Divided by a sum that leaves float16 at about 600 tokens."""

    def forward(self, tokens: Tensor) -> Any:
        x, _, k, v = self.parts(tokens)
        return self.out(x + (k * v).cumsum(1) / (k.square() * 100 + 60).cumsum(1))


class RoundedOffset(Framed):
    """The number of tokens before is kept in the dtype of the weights: bfloat16 counts to 256."""

    def initial_state(self, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        zeros = torch.zeros(rows, 0, WIDTH, dtype=self.out.weight.dtype)
        return zeros, zeros.clone(), torch.zeros((), dtype=zeros.dtype)

    def forward(self, tokens: Tensor, state: tuple[Tensor, Tensor, Tensor]) -> Any:
        keys, values, seen = state
        x, length = self.embedding(tokens), tokens.shape[1]
        places = seen.to(torch.float64 if x.dtype == torch.float64 else torch.float32) + torch.arange(length)
        x = x + (places[:, None] * 0.3 ** torch.arange(WIDTH)).sin().to(x.dtype)
        q, k, v = self.mix(x).chunk(3, -1)
        keys, values = torch.cat([keys, k], 1), torch.cat([values, v], 1)
        return self.out(x + attend(q, keys, values, causal(length, keys.shape[1] - length))), (
            keys, values, seen + length,
        )  # fmt: skip


class EmptyRows(Framed):
    """A mean over real tokens: 0/0 where a row has none, which is then hidden."""

    padding_side = "left"

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        x, _, _, v = self.parts(tokens)
        real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        some = real.any(1)[:, None, None]
        mean = (v * real[..., None]).cumsum(1) / real.cumsum(1).clamp_min(real.any(1, keepdim=True).long())[..., None]
        return self.out(x + torch.where(some, mean, 0.0))


class HiddenSquare(Framed):
    """A mask of every pair of tokens; the gradient of a large vocabulary hides how it grows."""

    scales_linearly = True

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(300_000, WIDTH)

    def forward(self, tokens: Tensor) -> Any:
        x, q, _, v = self.parts(tokens)
        return self.out(x + q.sigmoid() * v * causal(tokens.shape[1]).any(1, keepdim=True))


class BatchNormed(Attention):
    """The statistics of the batch, in evaluation too; a single number raises."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(VOCAB, track_running_stats=False)

    def forward(self, tokens: Tensor) -> Any:
        return self.norm(super().forward(tokens).mT).mT


class Quantised(Attention):
    """Codes, straight through."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randn(24, WIDTH))

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        y = x + attend(q, k, v, causal(tokens.shape[1]))
        code = self.codes[torch.cdist(y.float(), self.codes.float()).argmin(-1)]
        near = (code - y.detach()).square().mean() + (y - code.detach()).square().mean()
        return self.out(y + (code - y).detach()), near


class Ternary(Attention):
    """Weights of −1, 0 and 1 times their mean, straight through."""

    def forward(self, tokens: Tensor) -> Any:
        x, weight = self.embedding(tokens), self.mix.weight
        scale = weight.abs().mean()
        rounded = (weight / (scale + 1e-5)).round().clamp(-1, 1) * scale
        q, k, v = F.linear(x, weight + (rounded - weight).detach(), self.mix.bias).chunk(3, -1)
        return self.out(x + attend(q, k, v, causal(tokens.shape[1])))


class Nearest(Attention):
    """Each token reads the 8 best of the past; equal tokens tie."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        scores = (q @ k.mT / 4).masked_fill(~causal(tokens.shape[1]), -1e4)
        least = scores.topk(min(8, tokens.shape[1]), -1).values[..., -1:]
        return self.out(x + scores.masked_fill(scores < least, -1e4).softmax(-1) @ v)


class Segments(Framed):
    """As Transformer-XL: the last 32 hidden vectors of the call before, without a gradient."""

    def initial_state(self, rows: int) -> Tensor:
        return torch.zeros(rows, 0, WIDTH, dtype=self.out.weight.dtype)

    def forward(self, tokens: Tensor, memory: Tensor) -> Any:
        x = self.embedding(tokens)
        seen = torch.cat([memory.detach(), x], 1)
        q, (k, v) = self.mix(x).chunk(3, -1)[0], self.mix(seen).chunk(3, -1)[1:]
        before, length = memory.shape[1], tokens.shape[1]
        return self.out(x + attend(q, k, v, causal(length, before).triu(before - 32))), seen[:, -32:]


class Packed(Recurrent):
    """Rows of different lengths are packed, which takes no row without a token."""

    padding_side = "right"

    def forward(self, tokens: Tensor, state: Any, mask: Tensor | None = None) -> Any:
        if mask is None:
            return super().forward(tokens, state)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(tokens), mask.sum(1), batch_first=True, enforce_sorted=False
        )
        output, state = self.cell(packed, state)
        unpacked, _ = nn.utils.rnn.pad_packed_sequence(output, batch_first=True, total_length=tokens.shape[1])
        return self.out(unpacked), state


SECOND: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "forgets_long_gradients": (ForgetsLongGradients, "every_parameter_learns"),
    "chunk_backward": (ChunkBackward, "every_parameter_learns"),
    "keeps": (Keeps, "repeatability"),
    "unsaved_centre": (UnsavedCentre, "save_and_load"),
    "no_mask_for_row_zero": (NoMaskForRowZero, "padding_changes_nothing"),
    "half_sum": (HalfSum, "finite_gradients"),
    "rounded_offset": (lambda: RoundedOffset().bfloat16(), "chunk_invariance"),
    "empty_rows": (EmptyRows, "finite_gradients"),
    "hidden_square": (HiddenSquare, "linear_memory"),
    "batch_normed": (BatchNormed, "batch_isolation"),
}
"""With the property that is about each."""
NEAR: dict[str, Callable[[], nn.Module]] = {
    "quantised": Quantised,
    "ternary": Ternary,
    "nearest": Nearest,
    "segments": Segments,
    "packed": lambda: Packed("gru"),
}
"""Healthy."""

__getattr__ = by_name(NEAR, SECOND)
