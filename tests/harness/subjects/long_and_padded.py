"""Healthy modules and defective twins whose difference shows late: beyond a chunk, behind pads, at special tokens."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.harness.subjects.factories import by_name
from tests.harness.subjects.healthy import WIDTH, Attention, Framed, attend, causal


class Chunked(Framed):
    """Linear attention in chunks; a bug shows from the second chunk on."""

    def __init__(self, chunk: int, bug: str = "") -> None:
        super().__init__()
        self.chunk, self.bug = chunk, bug

    def initial_state(self, rows: int) -> Tensor:
        return torch.zeros(rows, WIDTH, WIDTH, dtype=self.out.weight.dtype)

    def forward(self, tokens: Tensor, state: Tensor) -> Any:
        x, *qkv = self.parts(tokens)
        q, k, v = (t / WIDTH**0.5 for t in qkv)
        whole, read = k.mT @ v, []
        for number, (a, b, c) in enumerate(zip(*(t.split(self.chunk, 1) for t in (q, k, v)), strict=True)):
            before = state
            if number and self.bug == "future":
                before = whole
            if number and self.bug == "rows":
                before = state.mean(0, keepdim=True).expand_as(state)
            read.append((a @ b.mT).tril() @ c + a @ before)
            written = b.mT @ c
            state = written if number and self.bug == "forgets" else state + written
        return self.out(x + torch.cat(read, 1)), state


class Decaying(nn.Module):
    """A state that fades with each token; careful: not with pads."""

    padding_side = "right"

    def __init__(self, careful: bool, width: int = 12) -> None:
        super().__init__()
        self.careful, self.width = careful, width
        self.embedding, self.fade, self.out = nn.Embedding(50, width), nn.Linear(width, width), nn.Linear(width, 50)

    def initial_state(self, rows: int) -> Tensor:
        return torch.zeros(rows, self.width, dtype=self.out.weight.dtype)

    def forward(self, tokens: Tensor, state: Tensor, mask: Tensor | None = None) -> Any:
        x = write = self.embedding(tokens)
        fade = self.fade(x).sigmoid()
        if mask is not None:
            write = write * mask[..., None]
            fade = torch.where(mask[..., None], fade, 1.0) if self.careful else fade
        outputs = []
        for step in range(tokens.shape[1]):
            state = fade[:, step] * state + write[:, step]
            outputs.append(state)
        return self.out(torch.stack(outputs, 1)), state


class MaskedRows(Framed):
    """Left pads look nowhere: softmax gives NaN, which is hidden in one of several ways."""

    padding_side = "left"

    def __init__(self, hide: str) -> None:
        super().__init__()
        self.hide = hide

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        x, q, k, v = self.parts(tokens)
        allowed = causal(tokens.shape[1])[None]
        allowed = allowed if mask is None else allowed & mask[:, None]
        scores = q @ k.mT / WIDTH**0.5
        if self.hide == "added":
            scores = scores + torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
        else:
            scores = scores.masked_fill(~allowed, -torch.inf)
        weights = scores.softmax(-1)
        if self.hide in ("nan_to_num", "added"):
            weights = weights.nan_to_num(0.0)
        elif self.hide == "where":
            weights = torch.where(allowed.any(-1, keepdim=True), weights, 0.0)
        read = weights @ v
        if self.hide == "output" and mask is not None:
            read = read.masked_fill(~mask[..., None], 0.0)
        return self.out(x + read)


class PadOfTokens(Framed):
    """Which keys are pads is read from the tokens; `soft`: a large negative score instead of −∞."""

    def __init__(self, vocab: int, pad: int, soft: bool = False) -> None:
        super().__init__(vocab=vocab)
        self.pad, self.soft = pad, soft
        self.embedding = nn.Embedding(vocab, WIDTH, padding_idx=pad)
        self.out = nn.Linear(WIDTH, 8)

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        allowed = causal(tokens.shape[1]) & (tokens != self.pad)[:, None]
        if self.soft:
            return self.out(x + attend(q, k, v, allowed))
        return self.out(x + (q @ k.mT / WIDTH**0.5).masked_fill(~allowed, -torch.inf).softmax(-1) @ v)


class NoEpsilon(PadOfTokens):
    """Queries and keys of length one, without an epsilon: the pad's vector is zero."""

    def forward(self, tokens: Tensor) -> Any:
        x = self.embedding(tokens)
        q, k, v = (x @ part.T for part in self.mix.weight.chunk(3))
        q, k = q / q.norm(dim=-1, keepdim=True), k / k.norm(dim=-1, keepdim=True)
        return self.out(x + attend(q, k, v, causal(tokens.shape[1])))


class Tables(Attention):
    """Looks up something that is no token, with a first dimension that may equal the number of rows."""

    def __init__(self, what: str, size: int = 2) -> None:
        super().__init__()
        self.what = what
        sizes = {"positions": (3000, WIDTH), "distances": (16, 1), "slots": (size, WIDTH)}
        self.table = nn.Embedding(*sizes[what])

    def forward(self, tokens: Tensor) -> Any:
        x, q, k, v = self.parts(tokens)
        length = tokens.shape[1]
        if self.what == "positions":
            x = x + self.table(torch.arange(length))
        elif self.what == "slots":
            slots = self.table(torch.arange(self.table.num_embeddings))
            x = x + (x @ slots.T).softmax(-1) @ slots
        else:
            apart = (torch.arange(length)[:, None] - torch.arange(length)).clamp(0, 15)
            scores = q @ k.mT / WIDTH**0.5 + self.table(apart)[..., 0]
            return self.out(x + scores.masked_fill(~causal(length), -1e9).softmax(-1) @ v)
        return self.out(x + attend(q, k, v, causal(length)))


class Short(Attention):
    """Refuses more than its learned positions, named or not."""

    def __init__(self, longest: int, named: bool) -> None:
        super().__init__()
        self.positions = nn.Embedding(longest, WIDTH)
        if named:
            self.max_length = longest

    def forward(self, tokens: Tensor) -> Any:
        length, longest = tokens.shape[1], self.positions.num_embeddings
        assert length <= longest, f"a text of {length} tokens, but there are {longest} positions"
        x, q, k, v = self.parts(tokens)
        return self.out(x + self.positions(torch.arange(length)) + attend(q, k, v, causal(length)))


SOUND: dict[str, Callable[[], nn.Module]] = {
    "chunked_64": lambda: Chunked(64),
    "chunked_256": lambda: Chunked(256),
    "chunked_100": lambda: Chunked(100),
    "careful": lambda: Decaying(True),
    "masked_where": lambda: MaskedRows("where"),
    "masked_nan_to_num": lambda: MaskedRows("nan_to_num"),
    "soft_pad": lambda: PadOfTokens(100, 0, soft=True),
    "table_of_positions": lambda: Tables("positions"),
    "table_of_distances": lambda: Tables("distances"),
    "slots_2": lambda: Tables("slots", 2),
    "slots_5": lambda: Tables("slots", 5),
    "short_64": lambda: Short(64, True),
    "short_untold": lambda: Short(64, False),
    "short_20": lambda: Short(20, False),
    "short_256": lambda: Short(256, True),
    "chunked_bfloat16": lambda: Chunked(64).bfloat16(),
}
UNSOUND: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "future_64": (lambda: Chunked(64, "future"), ("causality",)),
    "future_200": (lambda: Chunked(200, "future"), ("causality",)),
    "future_256": (lambda: Chunked(256, "future"), ("causality",)),
    "future_512": (lambda: Chunked(512, "future"), ("causality",)),
    "rows_128": (lambda: Chunked(128, "rows"), ("batch_isolation",)),
    "rows_256": (lambda: Chunked(256, "rows"), ("batch_isolation",)),
    "rows_512": (lambda: Chunked(512, "rows"), ("batch_isolation",)),
    "forgets_256": (lambda: Chunked(256, "forgets"), ("chunk_invariance",)),
    "forgets_512": (lambda: Chunked(512, "forgets"), ("chunk_invariance",)),
    "careless": (lambda: Decaying(False), ("padding_changes_nothing",)),
    "careless_wide": (lambda: Decaying(False, 32), ("padding_changes_nothing",)),
    "masked_output": (lambda: MaskedRows("output"), ("finite_gradients", "padding_changes_nothing")),
    "masked_added": (lambda: MaskedRows("added"), ("finite_gradients", "padding_changes_nothing")),
    "pad_0": (lambda: PadOfTokens(1000, 0), ("finite_gradients",)),
    "pad_last": (lambda: PadOfTokens(3001, 3000), ("finite_gradients",)),
    "no_epsilon": (lambda: NoEpsilon(3001, 3000), ("finite_gradients",)),
    "future_bfloat16": (lambda: Chunked(256, "future").bfloat16(), ("causality",)),
}

__getattr__ = by_name(SOUND, UNSOUND)
