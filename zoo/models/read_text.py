"""Models without memory: they read their text again at each call, from where its last piece began."""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput


@dataclass(frozen=True)
class ReadState(MemoryState):
    """The tokens of the document so far, [batch, seen]."""

    tokens: Int[Tensor, "batch seen"]

    @classmethod
    def empty(cls, batch_size: int, device: torch.device) -> "ReadState":
        """No text."""
        return cls(torch.zeros(batch_size, 0, dtype=torch.long, device=device))

    def tensors(self) -> dict[str, Tensor]:
        """`tokens`."""
        return {"tokens": self.tokens}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "ReadState":
        """The inverse of `tensors`. Raises `ValueError` naming what is missing."""
        if "tokens" not in tensors:
            raise ValueError("memory state lacks tokens")
        return cls(tensors["tokens"])

    def sizes(self) -> dict[str, int]:
        """No short-term or long-term memory: the text itself."""
        return {"cache": self.tokens.shape[1]}

    def continued(self, tokens: Int[Tensor, "batch time"]) -> Int[Tensor, "batch whole"]:
        """The text with what comes next. Raises `ValueError` for another batch size."""
        kept, given = len(self.tokens), len(tokens)
        if kept != given:
            raise ValueError(
                f"the text read so far belongs to a batch of {kept}, but this batch has {given} rows: "
                "start from initial_state(batch_size) or keep the batch size"
            )
        return torch.cat([self.tokens, tokens], dim=1)


class RereadingModel(MemoryLanguageModel[ReadState]):
    """Its text is read in pieces that do not see each other, counted from the beginning; in one piece without a length.

    A piece that was begun is read again at the next call.
    """

    piece: int | None = None
    """Tokens of a piece; None: all that there are."""

    def initial_state(self, batch_size: int) -> ReadState:
        """No text."""
        return ReadState.empty(batch_size, next(self.parameters()).device)

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: ReadState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[ReadState]:
        """Logits [B, T, V] and the piece that was begun. Raises `ValueError` for a text of another batch size."""
        self.check_switches(disabled)
        state = self.initial_state(len(tokens)) if state is None else state
        whole = state.continued(tokens)
        time = whole.shape[1]
        logits = self.in_pieces(whole, self.piece or max(1, time))
        kept = time % self.piece if self.piece else time
        return ModelOutput(logits[:, state.tokens.shape[1] :], ReadState(whole[:, time - kept :]))

    @abstractmethod
    def in_pieces(self, whole: Int[Tensor, "batch time"], length: int) -> Float[Tensor, "batch time vocab"]:
        """The logits of a text, each piece of so many tokens, the last one perhaps shorter, read by itself."""
