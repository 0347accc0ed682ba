"""Defects written after the properties, without trying them: what a first shot catches is the honest detection rate."""

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
    Heads,
    LinearAttention,
    Padded,
    Recurrent,
    Ring,
    Rotary,
    Shifted,
    StateSpace,
    Vectors,
    Window,
    attend,
    causal,
)


class Masked(Attention):
    """Attention with a mask that `allowed` gives for a length, in evaluation or training."""

    def allowed(self, length: int) -> Tensor:
        return causal(length)

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(x + attend(q, k, v, self.allowed(tokens.shape[1])))


class ChunkEdges(Masked):
    """At the end of each chunk of 16 a token sees the next."""

    def allowed(self, length: int) -> Tensor:
        allowed = causal(length)
        edges = torch.arange(15, max(15, length - 1), 16)
        allowed[edges, edges + 1] = True
        return allowed


class Beyond(Masked):
    """Beyond `limit` tokens each sees the next."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit

    def allowed(self, length: int) -> Tensor:
        return causal(length) if length <= self.limit else torch.ones(length, length).tril(1).bool()


class OddLengths(Masked):
    def allowed(self, length: int) -> Tensor:
        return torch.ones(length, length).tril(1 if length % 7 == 0 else 0).bool()


class CentredWindow(Masked):
    """A window around the token, from 100 tokens on."""

    def allowed(self, length: int) -> Tensor:
        return causal(length) if length < 100 else torch.ones(length, length).tril(2).triu(-60).bool()


class CentredConv(nn.Module):
    """Padded on both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.conv = nn.Embedding(VOCAB, WIDTH), nn.Conv1d(WIDTH, WIDTH, 3, padding=1)
        self.out = nn.Linear(WIDTH, VOCAB)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.conv(self.embedding(tokens).mT).mT)


class GlobalNorm(Attention):
    """Normalised over time."""

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        x = x / (x.square().mean((1, 2), keepdim=True) + 1e-5).sqrt()
        return self.out(x + self.mix(x)[..., :WIDTH])


class Capacity(Experts):
    """Experts take the first tokens of the whole batch only."""

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        weights, chosen = self.router(x).softmax(-1).max(-1)
        capacity = max(1, tokens.numel() // len(self.experts))
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            here = chosen == number
            here = here & (here.flatten().cumsum(0).view_as(here) <= capacity)
            mixed = torch.where(here[..., None], expert(x) * weights[..., None], mixed)
        return self.out(x + mixed)


class ExpertChoice(Experts):
    """Experts choose their tokens within the sequence, the later ones included."""

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        scores = self.router(x).softmax(-1)
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            chosen = scores[..., number].topk(max(1, tokens.shape[1] // 2), dim=1).indices
            here = torch.zeros_like(tokens, dtype=torch.bool).scatter(1, chosen, True)
            mixed = torch.where(here[..., None], expert(x) * scores[..., number, None], mixed)
        return self.out(x + mixed)


class BatchMean(Recurrent):
    """The state is pulled to the mean of the batch."""

    def forward(self, tokens: Tensor, state: Any) -> Any:
        output, state = super().forward(tokens, state)
        return output, 0.9 * state + 0.1 * state.mean(1, keepdim=True)


class TrainedBatchMean(Attention):
    def forward(self, tokens: Tensor) -> Any:
        output = super().forward(tokens)
        return output - 0.1 * output.mean(0, keepdim=True) if self.training else output


class MaxOfBatch(Attention):
    """Scaled by the largest number of the batch, from 4 rows on."""

    def forward(self, tokens: Tensor) -> Any:
        output = super().forward(tokens)
        return output / output.abs().max().clamp_min(1) if len(tokens) >= 4 else output


class RunningMean(Attention):
    """A saved buffer that evaluation moves too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(WIDTH))

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        self.mean = 0.9 * self.mean + 0.1 * x.mean((0, 1)).detach()
        return self.out(x - self.mean + attend(q, k, v, causal(tokens.shape[1])))


class LastLength(Rotary):
    """Positions are divided by the longest length seen."""

    longest = 1

    def turned(self, x: Tensor) -> Tensor:
        self.longest = max(self.longest, x.shape[1])
        return super().turned(x) / self.longest**0.01


class KeptMask(Masked):
    """The mask of the first call is kept and cut."""

    kept: Tensor | None = None

    def allowed(self, length: int) -> Tensor:
        if self.kept is None or len(self.kept) < length:
            self.kept = torch.ones(length, length).tril(1 if self.kept is not None else 0).bool()
        return self.kept[:length, :length]


class DropsInEvaluation(Attention):
    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.1

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(x + F.dropout(attend(q, k, v, causal(tokens.shape[1])), self.rate, training=True))


class Jitter(Experts):
    """Noise on the router, in evaluation too."""

    def forward(self, tokens: Tensor) -> Any:
        return super().forward(tokens) + 1e-3 * torch.randn(VOCAB)


class Seeded(Attention):
    """Sets the seed of everybody."""

    def forward(self, tokens: Tensor) -> Any:
        torch.manual_seed(0)
        return super().forward(tokens)


class InPlaceState(Recurrent):
    def forward(self, tokens: Tensor, state: Any) -> Any:
        output, after = super().forward(tokens, state)
        return output, state.copy_(after.detach()) if not self.training else after


class DetachedBranch(Attention):
    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(x + attend(q, k.detach(), v, causal(tokens.shape[1])))


class DetachedState(LinearAttention):
    """The state is cut between chunks within a call, so that no gradient crosses them."""

    def forward(self, tokens: Tensor, state: Any = None, mask: Any = None) -> Any:
        outputs = []
        for piece in tokens.split(8, 1):
            output, state = super().forward(piece, None if state is None else state.detach(), None)
            outputs.append(output)
        return torch.cat(outputs, 1), state


class HalfGradient(Attention):
    """A straight-through estimator that halves what comes back."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        read = attend(q, k, v, causal(tokens.shape[1]))
        return self.out(x + 0.5 * read + 0.5 * read.detach())


class DeadScale(Attention):
    """A scale whose only use is multiplied by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, tokens: Tensor) -> Any:
        return super().forward(tokens) + 0.0 * self.scale


class Saturated(Framed):
    """A gate so far closed that its gradient is zero."""

    def forward(self, tokens: Tensor) -> Any:
        x, gate, value, _ = self.parts(tokens)
        return self.out(x + (gate - 200).sigmoid() * value)


class Grows(Shifted):
    """A decay above 1."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.share.fill_(0.5)

    def forward(self, tokens: Tensor, state: Any) -> Any:
        output, state = super().forward(tokens, state)
        growth = 1.2 ** torch.arange(tokens.shape[1], dtype=output.dtype)
        return output + 1e-3 * (output * growth[:, None]).cumsum(1), state


class LogOfZero(Attention):
    """The logarithm of a probability that may be zero in float32."""

    def forward(self, tokens: Tensor) -> Any:
        output = super().forward(tokens)
        return (output * 60).softmax(-1).log()


class SingleVariance(Attention):
    """Divided by the deviation over time: NaN for one token."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        return self.out(x + attend(q, k, v, causal(tokens.shape[1])) + 0 * x.std(1, keepdim=True))


class HalfOverflow(Attention):
    """Sums of squares that float16 cannot hold."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        x = x * 100 / (x * 100).square().sum(-1, keepdim=True).add(1e-6).sqrt()
        return self.out(x + attend(q, k, v, causal(tokens.shape[1])))


class ExpOfScores(Attention):
    """Softmax by hand, without the maximum."""

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        scores = ((q * 12) @ (k * 12).mT).exp().tril()
        return self.out(x + scores / scores.sum(-1, keepdim=True) @ v)


class NoPastCount(Cached):
    """Positions start anew in each piece."""

    def forward(self, tokens: Tensor, cache: Any) -> Any:
        output, cache = super().forward(tokens, cache)
        return output + 0.1 * torch.arange(tokens.shape[1])[:, None], cache


class LateCache(Appended):
    """The last token of a piece is not cached."""

    def forward(self, tokens: Tensor, cache: Any) -> Any:
        output, cache = super().forward(tokens, cache)
        keys, values = cache.pop()
        cache.append((keys[:, :-1], values[:, :-1]) if keys.shape[1] > 1 else (keys, values))
        return output, cache


class RingOffByOne(Ring):
    """A place of the ring is lost once it is full."""

    def forward(self, tokens: Tensor, state: Any) -> Any:
        output, state = super().forward(tokens, state)
        if state.seen == 2 * self.size:
            state = state._replace(keys=state.keys.roll(1, 1))
        return output, state


class SmallState(LinearAttention):
    """The state is kept in float16."""

    def forward(self, tokens: Tensor, state: Any = None, mask: Any = None) -> Any:
        output, state = super().forward(tokens, state, mask)
        return output, state.half().to(state.dtype)


class LongPieces(LinearAttention):
    """Pieces of more than 200 tokens lose the memory before them."""

    def forward(self, tokens: Tensor, state: Any = None, mask: Any = None) -> Any:
        return super().forward(tokens, None if tokens.shape[1] > 200 else state, mask)


class MaskAfter(Padded):
    """The mask is applied after the softmax."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        x = self.embedding(tokens) + self.positions((mask.cumsum(1) - 1).clamp_min(0))
        q, k, v = self.mix(x).chunk(3, -1)
        return {"logits": self.out(x + attend(q, k, v * mask[..., None], causal(tokens.shape[1])))}


class AbsolutePositions(Padded):
    """Positions count pads."""

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
        x = self.embedding(tokens) + self.positions(torch.arange(tokens.shape[1]))
        q, k, v = self.mix(x).chunk(3, -1)
        return {"logits": self.out(x + attend(q, k, v, causal(tokens.shape[1]) & mask[:, None]))}


class DecaysOverPads(Shifted):
    """Right pads write nothing and still let the sum decay."""

    padding_side = "right"

    def forward(self, tokens: Tensor, state: Any, mask: Tensor | None = None) -> Any:
        output, after = super().forward(tokens, state)
        if mask is not None:
            after = {**after, "sum": after["sum"] * 0.9 ** (~mask).sum(1, keepdim=True)}
        return output, after


class Wraps(Attention):
    """Positions wrap after 600 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Embedding(600, WIDTH)

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        length = tokens.shape[1]
        x = x + self.positions(torch.arange(length) % 600)
        allowed = causal(length) if length <= 600 else causal(length) | (torch.arange(length)[:, None] % 600 == 0)
        return self.out(x + attend(q, k, v, allowed))


class Needs32(Window):
    """Lengths beyond 32 must be even."""

    def forward(self, tokens: Tensor) -> Any:
        if tokens.shape[1] > 32 and tokens.shape[1] % 2:
            raise ValueError("the length must be even")
        return super().forward(tokens)


class EightRows(StateSpace):
    """Takes powers of two rows."""

    def forward(self, tokens: Tensor) -> Any:
        output = super().forward(tokens)
        return output.unflatten(0, (-1, 2)).flatten(0, 1) if len(tokens) > 1 else output


class Unsaved(Heads):
    """A scale that training moves and no file keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.rand(1)

    def forward(self, tokens: Tensor) -> Any:
        return super().forward(tokens) * self.scale


class Hashes(Vectors):
    """Initialised from the address of an object."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.outer.bias.fill_(id(object()) % 1000 / 1000 + torch.seed() % 1000 / 1000)


class Skips(Attention):
    """Every second token is not in the residual."""

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        place = torch.arange(tokens.shape[1]) % 2 == 0
        before = torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)
        return self.out(torch.where(place[:, None], x, before))


UNSEEN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "chunk_edges": (ChunkEdges, "causality"),
    "beyond_512": (lambda: Beyond(512), "causality"),
    "beyond_1000": (lambda: Beyond(1000), "causality"),
    "odd_lengths": (OddLengths, "causality"),
    "centred_window": (CentredWindow, "causality"),
    "centred_conv": (CentredConv, "causality"),
    "global_norm": (GlobalNorm, "causality"),
    "capacity": (lambda: Capacity(4), "causality"),
    "expert_choice": (lambda: ExpertChoice(4), "causality"),
    "wraps": (Wraps, "causality"),
    "batch_mean": (lambda: BatchMean("gru"), "batch_isolation"),
    "trained_batch_mean": (TrainedBatchMean, "batch_isolation"),
    "max_of_batch": (MaxOfBatch, "batch_isolation"),
    "running_mean": (RunningMean, "repeatability"),
    "last_length": (LastLength, "repeatability"),
    "kept_mask": (KeptMask, "repeatability"),
    "drops_in_evaluation": (DropsInEvaluation, "repeatability"),
    "jitter": (lambda: Jitter(4), "repeatability"),
    "seeded": (Seeded, "repeatability"),
    "in_place_state": (lambda: InPlaceState("gru"), "repeatability"),
    "detached_branch": (DetachedBranch, "every_parameter_learns"),
    "half_gradient": (HalfGradient, "every_parameter_learns"),
    "dead_scale": (DeadScale, "every_parameter_learns"),
    "saturated": (Saturated, "every_parameter_learns"),
    "detached_state": (DetachedState, "every_parameter_learns"),
    "log_of_zero": (LogOfZero, "finite_gradients"),
    "single_variance": (SingleVariance, "finite_gradients"),
    "exp_of_scores": (ExpOfScores, "finite_gradients"),
    "half_overflow": (HalfOverflow, "finite_gradients"),
    "grows": (Grows, "chunk_invariance"),
    "no_past_count": (NoPastCount, "chunk_invariance"),
    "late_cache": (LateCache, "chunk_invariance"),
    "ring_off_by_one": (RingOffByOne, "chunk_invariance"),
    "small_state": (SmallState, "chunk_invariance"),
    "long_pieces": (LongPieces, "chunk_invariance"),
    "mask_after": (MaskAfter, "padding_changes_nothing"),
    "absolute_positions": (AbsolutePositions, "padding_changes_nothing"),
    "decays_over_pads": (DecaysOverPads, "padding_changes_nothing"),
    "needs_32": (Needs32, "any_shape_works"),
    "eight_rows": (EightRows, "any_shape_works"),
    "unsaved": (Unsaved, "save_and_load"),
    "hashes": (Hashes, "determinism"),
    "skips": (Skips, "own_token_counts"),
}
"""With the property that is about each."""

__getattr__ = by_name({}, UNSEEN)
