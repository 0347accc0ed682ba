"""The context memory of a model: searched once a forward call, mixed into the prediction, written by reading."""

from contextlib import nullcontext

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.contexts.codes import contexts_of
from cortexzoo.zoo.memory.contexts.diary import UNKNOWN, Diary
from cortexzoo.zoo.memory.contexts.mixture import Mixture
from cortexzoo.zoo.memory.contexts.read_out import ContextReadOut


class ContextMemory(nn.Module):
    """Long-term memory whose keys are contexts, and whose values are the tokens that followed them."""

    def __init__(self, spec: Contexts, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        self.spec = spec
        self.read_out = ContextReadOut(spec, vocab_size)
        self.mixture = Mixture(hidden_size, spec.share_width)

    def empty(self, batch_size: int, like: Tensor) -> Diary:
        """An empty diary."""
        return Diary.empty(batch_size, like.device)

    def mixed(
        self,
        logits: Float[Tensor, "batch time vocab"],
        hidden: Float[Tensor, "batch time hidden"],
        tokens: Int[Tensor, "batch time"],
        diary: Diary,
    ) -> tuple[Float[Tensor, "batch time vocab"], Float[Tensor, "batch time"]]:
        """log p and the share of long-term memory at each place. The diary must have an entry."""
        # Autocast does not support the meta device.
        with nullcontext() if logits.is_meta else torch.autocast(logits.device.type, enabled=False):
            contexts = contexts_of(tokens.to(diary.open.dtype), diary.open, self.spec.context)
            offsets = torch.arange(tokens.shape[1], device=tokens.device) + diary.open.shape[1]
            known = diary.begins[:, None] != UNKNOWN
            sources = torch.where(known, diary.begins[:, None] + offsets, UNKNOWN)
            found = self.read_out(contexts, sources, diary.pages)
            log_odds = self.mixture.log_odds(hidden.float() if hidden.dtype == torch.bfloat16 else hidden, found)
            exact = logits.float() if logits.dtype == torch.bfloat16 else logits
            mixed = self.mixture(exact, log_odds, found)
            some = found.weights.detach().sum(dim=-1) > 0
            return mixed, log_odds.detach().sigmoid() * some
