"""Modules that are no `MemoryLanguageModel`, as one: their state carried, or their text read again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cortexzoo.specs.own_variant import ModuleSpec
from cortexzoo.zoo.errors import OwnModuleError
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput
from cortexzoo.zoo.models.own_source import module_of, raised
from cortexzoo.zoo.models.read_text import RereadingModel
from cortexzoo.zoo.models.state_tree import named_tensors, tree_of


def own_model(spec: ModuleSpec) -> MemoryLanguageModel[Any]:
    """The model of a module variant; tried with two tokens, except on the meta device. Raises `OwnModuleError`."""
    module = module_of(spec)
    if isinstance(module, MemoryLanguageModel):
        if module.vocab_size != spec.vocab_size:
            raise OwnModuleError(
                f"variant.vocab_size must be {module.vocab_size}, as of what {spec.source} returns, "
                f"got {spec.vocab_size}"
            )
        return module
    carries = callable(getattr(module, "initial_state", None))
    if carries and spec.max_length is not None:
        raise OwnModuleError(f"variant.max_length must be null: {spec.source} carries its state from call to call")
    model = (
        CarriedModel(module, spec.vocab_size, spec.source)
        if carries
        else RereadModel(module, spec.vocab_size, spec.max_length, spec.source)
    )
    if not torch.empty(0).is_meta:
        with torch.no_grad():
            try:
                model(torch.zeros(1, 2, dtype=torch.long))
            except OwnModuleError:
                raise
            except Exception as problem:
                raise OwnModuleError(
                    f"variant.source: {spec.source} must take token ids [batch, time]{' and its state' * carries}; "
                    f"it raised {raised(problem)}"
                ) from problem
    return model


class RereadModel(RereadingModel):
    """A module without state; with `max_length` it reads pieces of so many tokens."""

    def __init__(self, module: nn.Module, vocab_size: int, max_length: int | None, name: str) -> None:
        super().__init__()
        self.module = module
        self.vocab_size = vocab_size
        self.max_length = self.piece = max_length
        self.name = name

    def in_pieces(self, whole: Int[Tensor, "batch time"], length: int) -> Float[Tensor, "batch time vocab"]:
        """One call for each piece."""
        pieces = whole.split(length, dim=1)
        return torch.cat([_logits(self._call(piece), piece, self.vocab_size, self.name) for piece in pieces], dim=1)

    def _call(self, tokens: Tensor) -> Any:
        return self.module(tokens)


class TransformersModel(RereadModel):
    """A causal language model of transformers, without its cache."""

    def _call(self, tokens: Tensor) -> Any:
        return self.module(input_ids=tokens, use_cache=False, return_dict=True)


@dataclass(frozen=True)
class CarriedState(MemoryState):
    """What a module returned beside its logits: numbers and tensors in dictionaries, lists and tuples."""

    content: Any

    def tensors(self) -> dict[str, Tensor]:
        """Each tensor and number by its path."""
        return named_tensors(self.content)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "CarriedState":
        """The inverse of `tensors`. Raises `ValueError` for other names."""
        return cls(tree_of(tensors))

    def sizes(self) -> dict[str, int]:
        """Unknown: a module does not state what its entries are."""
        return {}


class CarriedModel(MemoryLanguageModel[CarriedState]):
    """A module with `initial_state(batch_size)`, called as `module(tokens, state)`, which returns logits and state."""

    def __init__(self, module: nn.Module, vocab_size: int, name: str) -> None:
        super().__init__()
        self.module = module
        self.vocab_size = vocab_size
        self.name = name

    def initial_state(self, batch_size: int) -> CarriedState:
        """As the module has it. Raises `OwnModuleError` for what cannot be saved."""
        return self._kept(self.module.initial_state(batch_size))  # type: ignore[operator]

    def forward(
        self, tokens: Int[Tensor, "batch time"], state: CarriedState | None = None, disabled: Collection[str] = ()
    ) -> ModelOutput[CarriedState]:
        """Logits [B, T, V] and the state after the last token, without its history."""
        self.check_switches(disabled)
        given = self.initial_state(len(tokens)) if state is None else state
        returned = self.module(tokens, given.content)
        if not isinstance(returned, tuple | list) or len(returned) < 2:
            raise OwnModuleError(
                f"variant.source: {self.name} offers initial_state, so it must return (logits, state), "
                f"got {type(returned).__name__}"
            )
        logits = _logits(returned[0], tokens, self.vocab_size, self.name)
        return ModelOutput(logits, self._kept(returned[1]).detached())

    def _kept(self, content: Any) -> CarriedState:
        try:
            named_tensors(content)
        except ValueError as problem:
            raise OwnModuleError(f"variant.source: {self.name}: its state must consist of {problem}") from None
        return CarriedState(content)


def _logits(returned: Any, tokens: Tensor, vocab_size: int, name: str) -> Float[Tensor, "batch time vocab"]:
    """The logits in what a module returned: itself, its `logits`, or its first entry. Raises `OwnModuleError`."""
    found = getattr(returned, "logits", returned)
    if isinstance(found, tuple | list) and found:
        found = found[0]
    wanted = [*tokens.shape, vocab_size]
    if not isinstance(found, Tensor) or list(found.shape) != wanted:
        got = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise OwnModuleError(f"variant.source: {name} must return logits {wanted} [batch, time, vocab_size], got {got}")
    return found
