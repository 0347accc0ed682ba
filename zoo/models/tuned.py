"""A base that is trained itself, chunk by chunk, without a memory: the control for sidecars on the same base."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cortexzoo.specs.tuned import LowRankAdapters, TunedSpec
from cortexzoo.zoo.models.adapters import insert_adapters
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.interface import TOKENS_AT_ONCE, ModelOutput
from cortexzoo.zoo.models.read_text import ReadState, RereadingModel


def tuned_base(spec: TunedSpec, base: Base) -> "TunedBase":
    """The model of a spec. Raises `BackboneError` when adapters cannot be had."""
    return AdaptedBase(spec, base) if isinstance(spec.method, LowRankAdapters) else WhollyTunedBase(spec, base)


class TunedBase(RereadingModel):
    """Each chunk is read without those before it; its beginning is read again at every call.

    Without dropout: the base stays in evaluation mode, as it is under sidecars.
    """

    def __init__(self, spec: TunedSpec, base: Base) -> None:
        super().__init__()
        self.spec = spec
        self.base = base
        self.vocab_size = spec.vocab_size
        self.piece = spec.chunk_size

    @property
    def base_network(self) -> nn.Module:
        """The base, with adapters in it."""
        return self.base.network

    def in_pieces(self, whole: Int[Tensor, "batch time"], length: int) -> Float[Tensor, "batch time vocab"]:
        """Whole chunks are rows of one call."""
        full = whole.shape[1] // length * length
        chunks = whole[:, :full].reshape(-1, length)
        parts = [self._logits(rows) for rows in chunks.split(max(1, TOKENS_AT_ONCE // length)) if rows.numel()]
        logits = [torch.cat(parts).reshape(len(whole), full, -1)] if parts else []
        if whole.shape[1] > full:
            logits.append(self._logits(whole[:, full:]))
        if not logits:
            logits = [next(self.parameters()).new_zeros(len(whole), 0, self.vocab_size)]
        return torch.cat(logits, dim=1)

    def read(self, tokens: Int[Tensor, "batch time"], state: ReadState | None = None) -> ModelOutput[ReadState]:
        """As `forward`, from the last chunk alone: the others change nothing."""
        state = self.initial_state(len(tokens)) if state is None else state
        whole, size = state.continued(tokens), self.spec.chunk_size
        last = (whole.shape[1] - 1) // size * size if whole.shape[1] else 0
        output: ModelOutput[ReadState] = self(whole[:, last:])
        return ModelOutput(output.logits[:, -1:], output.state)

    def train(self, mode: bool = True) -> "TunedBase":
        super().train(mode)
        self.base.network.eval()
        return self

    def _logits(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.base.network(input_ids=tokens, use_cache=False, return_dict=True).logits
        return logits


class WhollyTunedBase(TunedBase):
    """All weights are parameters, and part of every checkpoint."""

    def __init__(self, spec: TunedSpec, base: Base) -> None:
        super().__init__(spec, base)
        self.learning_base = base.network.requires_grad_(True)


class AdaptedBase(TunedBase):
    """The base's own weights are no part of this module: its checkpoints contain the adapters and the base's sum."""

    def __init__(self, spec: TunedSpec, base: Base) -> None:
        super().__init__(spec, base)
        assert isinstance(spec.method, LowRankAdapters)
        self.adapters = insert_adapters(base, spec.method)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "AdaptedBase":
        """Moving or casting takes the base along."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.base.network._apply(fn)
        return self

    def get_extra_state(self) -> Tensor:
        """The base's sum, 32 bytes."""
        return self.base.sum_bytes()

    def set_extra_state(self, state: Tensor) -> None:
        """Raises `CheckpointError` when the weights being loaded were trained on another base."""
        self.base.require_sum(state, "the adapters")
