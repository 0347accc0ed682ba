"""What a context memory searches by: a code for the recent tokens, and the inverted list they belong to.

    c_i = Σ_j w_j R_j[u_(i−j)],  w_j = max(1, round(32 · decay^j)),  R_j[token] a vector of signs

Signs come from a fixed seed, so codes never age and nothing about them is stored. Codes are whole numbers that float32
represents exactly, and so are their squared distances, in whatever order they are summed.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Int
from torch import Tensor

from cortexzoo.specs.memory import Contexts

SEED = 20_481
MULTIPLIER = 0x9E3779B1
"""Of the hash that chooses a list: 2³² divided by the golden ratio, made odd."""
CHUNK = 1 << 16

Codes = npt.NDArray[np.float32]
Lists = npt.NDArray[np.int64]


class CodeBook:
    """Codes and lists of contexts, for a spec and a vocabulary."""

    def __init__(self, spec: Contexts, vocab_size: int) -> None:
        self.spec, self.vocab_size = spec, vocab_size

    def of_contexts(self, contexts: Int[Tensor, "asked context"]) -> tuple[Codes, Lists]:
        """Of contexts, the newest token first; a token below 0 is none."""
        tokens = contexts.cpu().numpy().astype(np.int64)
        return self._coded(tokens.T)

    def of_pages(self, tokens: Int[Tensor, " places"], entries: Int[Tensor, " entries"]) -> tuple[Codes, Lists]:
        """Of the contexts that end at these places of a diary."""
        padded = np.concatenate([np.full(self.spec.context, -1), tokens.cpu().numpy().astype(np.int64)])
        places = entries.cpu().numpy() + self.spec.context
        codes = np.empty((len(places), self.spec.code_size), np.float32)
        lists = np.empty(len(places), np.int64)
        for first in range(0, len(places), CHUNK):
            here = slice(first, first + CHUNK)
            shifted = padded[places[here][None, :] - np.arange(self.spec.context)[:, None]]
            shifted[np.logical_or.accumulate(shifted < 0, axis=0)] = -1
            codes[here], lists[here] = self._coded(shifted)
        return codes, lists

    def _coded(self, tokens: npt.NDArray[np.int64]) -> tuple[Codes, Lists]:
        """Of [context, asked] tokens, the newest first. The row behind the last token's is that of none."""
        signs = weighted_signs(self.vocab_size, tuple(self.spec.weights), self.spec.code_size)
        rows = np.where(tokens < 0, self.vocab_size, tokens)
        summed = np.zeros((rows.shape[1], self.spec.code_size), np.int16)
        for table, row in zip(signs, rows, strict=True):
            summed += table[row]
        hashed = np.zeros(rows.shape[1], np.uint64)
        for row in rows[: self.spec.list_tokens]:
            hashed = ((hashed + row.astype(np.uint64) + 1) * MULTIPLIER) & 0xFFFFFFFF
        return summed.astype(np.float32), (hashed % self.spec.list_count).astype(np.int64)


@lru_cache(maxsize=4)
def weighted_signs(vocab_size: int, weights: tuple[int, ...], code_size: int) -> npt.NDArray[np.int8]:
    """[context, vocab + 1, code]: each token's signs times the weight of its age; zeros for no token."""
    generator = np.random.default_rng(SEED)
    tables = np.zeros((len(weights), vocab_size + 1, code_size), np.int8)
    for table, weight in zip(tables, weights, strict=True):
        table[:vocab_size] = weight * (2 * generator.integers(0, 2, (vocab_size, code_size)) - 1)
    return tables


def contexts_of(tokens: Int[Tensor, "batch time"], before: Int[Tensor, "batch read"], length: int) -> Tensor:
    """[batch, time, length]: the tokens up to each place, the newest first, −1 where the document had not begun."""
    padded = torch.nn.functional.pad(torch.cat([before, tokens], dim=1), (length - 1, 0), value=-1)
    windows = padded.unfold(1, length, 1).flip(-1)
    return windows[:, before.shape[1] :]
