"""Experts inside a base of transformers: how their products round, and in which precision torch computes them."""

from typing import Any, TypeVar

from cortexzoo.zoo.models.interface import MemoryLanguageModel

M = TypeVar("M", bound=MemoryLanguageModel[Any])


def has_experts(model: MemoryLanguageModel[Any]) -> bool:
    """Whether tokens choose among experts, of a base that has them in a module of that name."""
    base = model.base_network
    return base is not None and any(name.rpartition(".")[2] == "experts" for name, _ in base.named_modules())


def in_float64(model: M) -> M:
    """The model, from then on in float64, and its experts one after the other: torch's grouped product refuses that."""
    base: Any = model.base_network
    if has_experts(model) and hasattr(base, "set_experts_implementation"):
        base.set_experts_implementation("eager")
    return model.double()
