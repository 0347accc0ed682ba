"""What a context memory searches by: a code for the recent tokens, and the inverted list they belong to.

    c_i = Σ_j w_j R_j[u_(i−j)],  w_j = max(1, round(32 · decay^j)),  R_j[token] a vector of signs

Signs come from a fixed seed, so codes never age and nothing about them is stored. Codes are whole numbers that float32
represents exactly, and so are their squared distances, in whatever order they are summed.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.memory import Contexts

SEED = 20_481
MULTIPLIER = 0x9E3779B1
"""Of the hash that chooses a list: 2³² divided by the golden ratio, made odd."""

Codes = npt.NDArray[np.float32]
Lists = npt.NDArray[np.int64]


class CodeBook:
    """Codes and lists of contexts, for a spec and a vocabulary."""

    def __init__(self, spec: Contexts, vocab_size: int) -> None:
        self.spec, self.vocab_size = spec, vocab_size

    def of_contexts(self, contexts: Int[Tensor, "asked context"]) -> tuple[Codes, Lists]:
        """Of contexts, the newest token first; a token below 0 is none."""
        tokens = contexts.cpu().int()
        rows = torch.where(tokens < 0, self.vocab_size, tokens)
        signs = weighted_signs(self.vocab_size, tuple(self.spec.weights), self.spec.code_size)
        ages = torch.arange(self.spec.context, dtype=torch.int32) * (self.vocab_size + 1)
        codes = F.embedding_bag(rows + ages, signs.flatten(0, 1), mode="sum")
        hashed = torch.zeros(len(rows), dtype=torch.long)
        for row in rows[:, : self.spec.list_tokens].long().unbind(1):
            hashed = ((hashed + row + 1) * MULTIPLIER) & 0xFFFFFFFF
        return codes.numpy(), (hashed % self.spec.list_count).numpy()


@lru_cache(maxsize=4)
def weighted_signs(vocab_size: int, weights: tuple[int, ...], code_size: int) -> Float[Tensor, "context tokens code"]:
    """[context, vocab + 1, code]: each token's signs times the weight of its age; zeros for no token."""
    generator = np.random.default_rng(SEED)
    tables = torch.zeros(len(weights), vocab_size + 1, code_size)
    for table, weight in zip(tables, weights, strict=True):
        table[:vocab_size] = torch.from_numpy(weight * (2 * generator.integers(0, 2, (vocab_size, code_size)) - 1))
    return tables


def contexts_of(tokens: Int[Tensor, "batch time"], before: Int[Tensor, "batch read"], length: int) -> Tensor:
    """[batch, time, length]: the tokens up to each place, the newest first, −1 where the document had not begun."""
    padded = torch.nn.functional.pad(torch.cat([before, tokens], dim=1), (length - 1, 0), value=-1)
    windows = padded.unfold(1, length, 1).flip(-1)
    return windows[:, before.shape[1] :]
