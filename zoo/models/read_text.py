"""The state of a model without memory: the text that it reads again at its next call."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from cortexzoo.zoo.models.interface import MemoryState


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
