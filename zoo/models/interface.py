"""What every model of the zoo offers: explicit state in, explicit state out, and readings for the monitor."""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Generic, Self, TypeVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class MemoryState:
    """Everything that a model remembers between two forward calls: a value, never changed in place."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """The contents as named tensors, enough for `from_tensors` to give an equal state."""

    @classmethod
    @abstractmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The state that `tensors` described. Raises `ValueError` when a tensor is missing or has a wrong shape."""

    def detached(self) -> Self:
        """The same contents without their history: no gradient reaches what was read before."""
        return self.from_tensors({name: tensor.detach() for name, tensor in self.tensors().items()})

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """The number of entries in each memory, by name (`stm`, `ltm`)."""


StateT = TypeVar("StateT", bound=MemoryState)


TOKENS_AT_ONCE = 16_384
"""Most tokens of one call: enough to keep a device busy, little enough to stream any length."""


@dataclass(frozen=True)
class ModelOutput(Generic[StateT]):
    """One forward call's result. `readings` are detached scalars such as `memory/gate_share/short_term`."""

    logits: Float[Tensor, "*places vocab"]
    """[B, T, V], or [places, V] of the places that were asked for."""
    state: StateT
    readings: dict[str, Tensor] = field(default_factory=dict)
    alone: Float[Tensor, "*places vocab"] | None = None
    """Logits without the memory that is mixed into `logits`; None: nothing is mixed in."""
    alone_weight: float = 0.0
    """Weight of their loss in training."""


class MemoryLanguageModel(nn.Module, Generic[StateT]):
    """A causal language model whose memory is an argument and a result."""

    vocab_size: int
    switches: tuple[str, ...] = ()
    """Memories that a forward call can do without, by name: `model(tokens, state, disabled={"short_term"})`."""
    state_carries_gradient = False
    """Whether the state keeps its history, so that gradients flow from one call to those before."""
    recompute_activations: bool | None = None
    """Keep only what the backward pass cannot make again, and make the rest twice; None: the model cannot do so."""
    has_frozen_base = False
    """Whether the model without any of its switches is a language model that training does not change."""

    @property
    def base_network(self) -> nn.Module | None:
        """The pretrained network that this model runs, whether it is part of this module or not; None: it has none."""
        return None

    @abstractmethod
    def initial_state(self, batch_size: int) -> StateT:
        """An empty memory for `batch_size` rows, on the model's device."""

    @abstractmethod
    def forward(
        self, tokens: Int[Tensor, "batch time"], state: StateT | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[StateT]:
        """Logits for every position. Without `state` the memory starts empty.

        Memories named in `disabled` are switched off: neither read nor written.
        Raises `ValueError` when the state belongs to another batch size, or `disabled` has a name that is no switch.
        """

    def check_switches(self, disabled: Collection[str]) -> None:
        """Raises `ValueError` when `disabled` has a name that is not in `switches`."""
        if unknown := sorted(set(disabled) - set(self.switches)):
            known = ", ".join(self.switches) or "none that can be switched off"
            raise ValueError(f"{unknown[0]} is no memory of this model, it has {known}")

    def logits_at(
        self,
        tokens: Int[Tensor, "batch time"],
        scored: Bool[Tensor, "batch time"],
        state: StateT | None = None,
        disabled: Collection[str] = (),
    ) -> ModelOutput[StateT]:
        """As `forward`, with `logits[scored]` alone, [places, V]: cheaper where a model can skip the rest."""
        output: ModelOutput[StateT] = self(tokens, state, disabled)
        return replace(output, logits=output.logits[scored], alone=None)

    def read(self, tokens: Int[Tensor, "batch time"], state: StateT | None = None) -> ModelOutput[StateT]:
        """As `forward`, with logits [B, 1, V] of the last token alone: for reading what need not be scored."""
        output = self(tokens, state)
        return replace(output, logits=output.logits[:, -1:], alone=None)

    def fixed_weights(self) -> AbstractContextManager[object]:
        """No weight changes inside, and nothing that is made inside is ever differentiated.

        So what follows from weights alone may be kept.
        """
        return nullcontext()

    def receptive_field(self, disabled: Collection[str] = ()) -> int | None:
        """How many tokens before its chunk a logit can depend on at most, without these memories; None: on all."""
        return None

    def between_batches(self, state: StateT, batch_size: int) -> StateT:
        """The state that the next, unrelated batch starts from: empty unless the variant carries memory over."""
        return self.initial_state(batch_size)

    def documents_ended(self, state: StateT) -> StateT:
        """The memory after the last token of every row, with what was read kept for the next consolidation."""
        return state

    def placed(self, state: StateT, places: Int[Tensor, " batch"]) -> StateT:
        """The memory of a batch that begins, with the place of each row in the training text.

        What a memory has of these very places it then leaves out.
        """
        return state

    def consolidate(self, state: StateT) -> StateT:
        """Move the contents of short-term memory into long-term memory. Without long-term memory: the same state."""
        return state

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by the group names of `RateFactors`, and `base` for all others."""
        return {"base": [parameter for parameter in self.parameters() if parameter.requires_grad]}
