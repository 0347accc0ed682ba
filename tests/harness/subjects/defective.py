"""Defective twins of healthy modules: each breaks one thing, and names the properties of which one must fail."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from tests.harness.subjects.factories import by_name
from tests.harness.subjects.healthy import (
    VOCAB,
    WIDTH,
    Appended,
    Attention,
    Cached,
    Experts,
    Framed,
    Indexed,
    Learned,
    LinearAttention,
    Padded,
    Recurrent,
    Reset,
    Ring,
    Rotary,
    Shifted,
    StateSpace,
    Vectors,
    Window,
    attend,
    causal,
)


class TrainingSeesAll(Attention):
    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        allowed = torch.ones_like(causal(tokens.shape[1])) if self.training else causal(tokens.shape[1])
        return self.out(x + attend(q, k, v, allowed))


class MaskedLate(Attention):
    """Beyond 256 tokens the mask is off by one."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        length = tokens.shape[1]
        allowed = causal(length)
        if length > 256:
            allowed = torch.ones(length, length, dtype=torch.bool).tril(1)
        return self.out(x + attend(q, k, v, allowed))


class LengthOfText(Attention):
    """Every output is scaled by how many tokens are no padding, the later ones included."""

    def forward(self, tokens: Tensor) -> Any:
        return super().forward(tokens) / (tokens != 0).sum(1)[:, None, None].clamp_min(1)


class CircularConvolution(StateSpace):
    def forward(self, tokens: Tensor) -> Any:
        x, gate, value, skip = self.parts(tokens)
        length = tokens.shape[1]
        kernel = self.decay.sigmoid() ** torch.arange(length)[:, None]
        mixed = torch.fft.irfft(torch.fft.rfft(value, dim=1) * torch.fft.rfft(kernel, dim=0), length, dim=1)
        return self.out(x + mixed * gate.sigmoid() + skip)


class BatchStatistics(Indexed):
    """Normalised over the batch in training; no nn.Embedding."""

    def forward(self, tokens: Tensor) -> Any:
        x = F.one_hot(tokens, VOCAB).to(self.table.dtype) @ self.table
        if self.training:
            x = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
        return self.mix(x)[0] @ self.table.T


class Normed(Framed):
    """BatchNorm between the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, tokens: Tensor) -> Any:
        return self.out(self.norm(self.embedding(tokens).mT).mT + self.mix(self.embedding(tokens))[..., :WIDTH])


class LeaksGradient(Attention):
    """Values of the rows are apart, their gradients are not."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        middle = x.mean(0, keepdim=True)
        x = x + middle - middle.detach()
        return self.out(x + attend(q, k, v, causal(tokens.shape[1])))


class ManyRows(Attention):
    """From 9 rows on the batch is computed in two halves, the second with the keys of the first."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        if len(tokens) > 8:
            k = torch.cat([k[:8], k[: len(k) - 8]])
        return self.out(x + attend(q, k, v, causal(tokens.shape[1])))


class SharedMemory(LinearAttention):
    """The memory that a call ends with is that of row 0, for all rows."""

    def forward(self, tokens: Tensor, state: Any = None, mask: Any = None) -> Any:
        output, state = super().forward(tokens, state, mask)
        return output, state[:1].expand_as(state)


class KeepsLast(Attention):
    """Adds the mean of the call before, where that had as many rows."""

    last: Tensor | None = None

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        hidden = x + attend(q, k, v, causal(tokens.shape[1]))
        before, self.last = self.last, hidden.mean((1, 2)).detach()
        return self.out(hidden if before is None or len(before) != len(x) else hidden + before[:, None, None])


class FirstShape(Rotary):
    """The table is stretched to the longest text that was seen."""

    def turned(self, x: Tensor) -> Tensor:
        result = super().turned(x)
        return result * (1 + self.table.shape[0] / 1000)


class ForgetsDropout(Attention):
    def forward(self, tokens: Tensor) -> Any:
        return F.dropout(super().forward(tokens), 0.1)


class WritesItsState(LinearAttention):
    """The memory that was given is written to."""

    def forward(self, tokens: Tensor, state: Any = None, mask: Any = None) -> Any:
        output, after = super().forward(tokens, state, mask)
        return output, state.copy_(after.detach())


class OneSession(Recurrent):
    """Two sessions share what the module keeps beside their state."""

    kept: Tensor | float = 0.0

    def forward(self, tokens: Tensor, state: Any) -> Any:
        output, state = super().forward(tokens, state)
        bias, self.kept = self.kept, tokens.float().mean().detach() / VOCAB
        return output + bias, state


class HalfMask(Attention):
    """Scores that overflow in half precision before the softmax."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        scores = ((q * 300) @ (k * 300).mT) / 9e4
        return self.out(x + scores.masked_fill(~causal(tokens.shape[1]), torch.finfo(q.dtype).min).softmax(-1) @ v)


class PadAtFirst(Attention):
    """A mask made of the tokens: a text that begins with the last id attends to nothing."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        allowed = causal(tokens.shape[1]) & (tokens != VOCAB - 1)[:, None]
        return self.out(x + (q @ k.mT).masked_fill(~allowed, -torch.inf).softmax(-1) @ v)


class RootOfZero(Vectors):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x) + (x.diff(dim=1, prepend=x[:, :1]).square().sum(-1, keepdim=True)).sqrt()


class Overflows(Shifted):
    """The decay of 200 tokens is divided by."""

    def forward(self, tokens: Tensor, state: Any) -> Any:
        output, state = super().forward(tokens, state)
        growth = 2.0 ** torch.arange(tokens.shape[1])
        return output + ((output * growth[:, None]).cumsum(1) / growth[:, None]) * 1e-3, state


class Unused(Attention):
    def __init__(self) -> None:
        super().__init__()
        self.spare = nn.Linear(WIDTH, WIDTH)


class ZeroTimesZero(Attention):
    """Two factors that both begin at zero: neither gets a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Parameter(torch.zeros(WIDTH, 2)), nn.Parameter(torch.zeros(2, VOCAB))

    def forward(self, tokens: Tensor) -> Any:
        return super().forward(tokens) + self.embedding(tokens) @ self.down @ self.up


class Detached(Attention):
    """Queries learn nothing from the read."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(x + attend(q.detach(), k, v, causal(tokens.shape[1])))


class InAList(Attention):
    """A layer that no optimizer sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(WIDTH, VOCAB)]

    def forward(self, tokens: Tensor) -> Any:
        return super().forward(tokens) + self.layers[0](self.embedding(tokens))


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return gradient * (1 - x.tanh())


class OwnTanh(Framed):
    def forward(self, tokens: Tensor) -> Any:
        return self.out(WrongBackward.apply(self.mix(self.embedding(tokens))[..., :WIDTH]))


class DeadExpert(Experts):
    """The last expert is never asked."""

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        weights, chosen = self.router(x)[..., :-1].softmax(-1).max(-1)
        mixed = sum(
            (torch.where((chosen == n)[..., None], e(x) * weights[..., None], 0.0) for n, e in enumerate(self.experts)),
            torch.zeros_like(x),
        )
        return self.out(x + mixed + self.mix(x)[..., :WIDTH])


class ShiftedCache(Cached):
    """Several tokens on a cache see one another's future."""

    def forward(self, tokens: Tensor, cache: Any) -> Any:
        x, q, k, v = self.parts(tokens)
        before = cache.keys.shape[1]
        cache.extend(k, v)
        allowed = causal(tokens.shape[1], before)
        if before:
            allowed = torch.ones_like(allowed)
        return self.out(x + attend(q, cache.keys, cache.values, allowed)), cache


class ForgetsOldest(Appended):
    """Keeps the last 20 pieces only."""

    def forward(self, tokens: Tensor, cache: Any) -> Any:
        output, cache = super().forward(tokens, cache)
        del cache[:-20]
        return output, cache


class RingOfOne(Ring):
    """The ring is turned one place too far after its end."""

    def forward(self, tokens: Tensor, state: Any) -> Any:
        output, state = super().forward(tokens, state)
        return output, state._replace(seen=state.seen + (1 if state.seen > self.size else 0))


class LosesLast(Shifted):
    """The token before a piece is not carried."""

    def forward(self, tokens: Tensor, state: Any) -> Any:
        return super().forward(tokens, {**state, "last": torch.zeros_like(state["last"])})


class TrainingForgets(LinearAttention):
    """In training the memory that was given is ignored."""

    def forward(self, tokens: Tensor, state: Any = None, mask: Any = None) -> Any:
        return super().forward(tokens, None if self.training else state, mask)


class FirstMask(Padded):
    """Row 0's mask for all rows."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        return super().forward(tokens, mask if mask is None else mask[:1].expand_as(mask))


class PadsWrite(LinearAttention):
    """Pads are masked in the output only; the memory is written by them."""

    def forward(self, tokens: Tensor, state: Any = None, mask: Any = None) -> Any:
        output, after = super().forward(tokens, state, None)
        return (output if mask is None else output * mask[..., None]), after


class NotANumber(Padded):
    """Rows of pads get NaN, which is then hidden."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        x = self.embedding(tokens) + self.positions((mask.cumsum(1) - 1).clamp_min(0))
        q, k, v = self.mix(x).chunk(3, -1)
        allowed = causal(tokens.shape[1]) & mask[:, None]
        read = (q @ k.mT).masked_fill(~allowed, -torch.inf).softmax(-1) @ v
        return self.out(x + torch.where(mask[..., None], read, 0.0))


class Multiples(Window):
    """Takes multiples of 64 beyond 64 tokens only."""

    def forward(self, tokens: Tensor) -> Any:
        if tokens.shape[1] > 64:
            tokens.unflatten(1, (-1, 64))
        return super().forward(tokens)


class Seventeen(Recurrent):
    """A state for 16 rows at most."""

    def initial_state(self, rows: int) -> Any:
        state = super().initial_state(16)
        return state[:, :rows]


class OwnLess(Attention):
    """The own token is neither in the residual nor attended to."""

    def forward(self, tokens: Tensor) -> Any:
        _, q, k, v = self.parts(tokens)
        before = torch.cat([torch.zeros_like(q[:, :1]), q[:, :-1]], 1)
        return self.out(attend(before, k, v, causal(tokens.shape[1]).tril(-1)))


class RandomFeatures(Attention):
    """A random projection that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("features", torch.randn(WIDTH, WIDTH) / 4, persistent=False)

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(x + attend(q @ self.features, k, v, causal(tokens.shape[1])))


class Sampled(Attention):
    """Drawn from the system at every making."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.out.bias.normal_(generator=torch.Generator().manual_seed(torch.Generator().seed()))


class StaleReset(Reset):
    """Emptied only where the number of rows changes."""

    def reset(self, rows: int) -> None:
        if self.memory is None or self.memory.shape[1] != rows:
            super().reset(rows)


class CutPositions(Learned):
    """Positions beyond the table are all the last one's; in training they are wrapped and see the future."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        length = tokens.shape[1]
        x = x + self.positions[torch.arange(length).clamp_max(len(self.positions) - 1)]
        allowed = causal(length)
        allowed[:, : max(0, length - len(self.positions))] |= True
        return self.out(x + attend(q, k, v, allowed))


DEFECTIVE: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "training_sees_all": (TrainingSeesAll, ("causality",)),
    "masked_late": (MaskedLate, ("causality",)),
    "length_of_text": (LengthOfText, ("causality",)),
    "circular": (CircularConvolution, ("causality",)),
    "cut_positions": (lambda: CutPositions(100), ("causality",)),
    "batch_statistics": (lambda: BatchStatistics("one-hot"), ("batch_isolation",)),
    "normed": (Normed, ("batch_isolation",)),
    "leaks_gradient": (LeaksGradient, ("batch_isolation",)),
    "many_rows": (ManyRows, ("batch_isolation",)),
    "shared_memory": (SharedMemory, ("batch_isolation",)),
    "keeps_last": (KeepsLast, ("repeatability",)),
    "first_shape": (FirstShape, ("repeatability",)),
    "forgets_dropout": (ForgetsDropout, ("repeatability",)),
    "writes_its_state": (WritesItsState, ("repeatability",)),
    "one_session": (lambda: OneSession("gru"), ("repeatability",)),
    "stale_reset": (StaleReset, ("repeatability",)),
    "half_mask": (HalfMask, ("finite_gradients",)),
    "pad_at_first": (PadAtFirst, ("finite_gradients",)),
    "root_of_zero": (RootOfZero, ("finite_gradients",)),
    "overflows": (Overflows, ("finite_gradients",)),
    "not_a_number": (NotANumber, ("finite_gradients",)),
    "unused": (Unused, ("every_parameter_learns",)),
    "zero_times_zero": (ZeroTimesZero, ("every_parameter_learns",)),
    "detached": (Detached, ("every_parameter_learns",)),
    "in_a_list": (InAList, ("every_parameter_learns",)),
    "own_tanh": (OwnTanh, ("every_parameter_learns",)),
    "dead_expert": (lambda: DeadExpert(4), ("every_parameter_learns",)),
    "shifted_cache": (ShiftedCache, ("chunk_invariance", "causality")),
    "forgets_oldest": (ForgetsOldest, ("chunk_invariance",)),
    "ring_of_one": (RingOfOne, ("chunk_invariance",)),
    "loses_last": (LosesLast, ("chunk_invariance",)),
    "training_forgets": (TrainingForgets, ("chunk_invariance",)),
    "first_mask": (FirstMask, ("padding_changes_nothing",)),
    "pads_write": (PadsWrite, ("padding_changes_nothing",)),
    "multiples": (Multiples, ("any_shape_works",)),
    "seventeen": (lambda: Seventeen("gru"), ("any_shape_works",)),
    "own_less": (OwnLess, ("own_token_counts",)),
    "random_features": (RandomFeatures, ("save_and_load",)),
    "sampled": (Sampled, ("determinism",)),
}

__getattr__ = by_name({}, DEFECTIVE)
