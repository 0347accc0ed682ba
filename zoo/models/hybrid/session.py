"""A session: a hybrid that reads a text as it comes, in pieces of any size, and remembers it."""

from collections.abc import Collection

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.state import HybridState


class Session:
    """Holds the state for those who stream. Any split of a text gives the same logits; nothing is learned.

    Memory used does not grow with the text, since `read` scores its last token alone.
    """

    def __init__(self, model: Hybrid, batch_size: int = 1, disabled: Collection[str] = ()) -> None:
        self.model = model
        self.disabled = frozenset(disabled)
        self.state = model.initial_state(batch_size)

    @property
    def batch_size(self) -> int:
        return self.state.batch_size

    @property
    def position(self) -> int:
        """Tokens read since the document's start."""
        return self.state.position

    @torch.no_grad()
    def feed(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time vocab"]:
        """Logits after every token. Raises `ValueError` when the number of rows is not that of the session."""
        self._check(tokens)
        output = self.model.advance(tokens, self.state, self.disabled)
        self.state = output.state
        return output.logits

    @torch.no_grad()
    def read(self, tokens: Int[Tensor, "batch time"]) -> Float[Tensor, "batch vocab"]:
        """Logits after the last token. Raises `ValueError` as `feed`, and when there is no token."""
        self._check(tokens)
        if tokens.shape[1] == 0:
            raise ValueError("read needs at least one token, got none")
        output = self.model.advance(tokens, self.state, self.disabled, score="last")
        self.state = output.state
        return output.logits[:, -1]

    def reset_fast(self, batch_size: int | None = None, device: torch.device | str | None = None) -> None:
        """Forget everything and start a new document, with `batch_size` rows (as before) on `device` (the model's)."""
        state: HybridState = self.model.initial_state(self.batch_size if batch_size is None else batch_size)
        self.state = state if device is None else state.map(lambda tensor: tensor.to(device))

    def _check(self, tokens: Tensor) -> None:
        if tokens.shape[0] != self.batch_size:
            raise ValueError(
                f"this session remembers {self.batch_size} rows, but these tokens have {tokens.shape[0]}: keep the "
                f"batch size, or forget everything with reset_fast(batch_size={tokens.shape[0]})"
            )
