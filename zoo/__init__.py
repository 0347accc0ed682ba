"""How it is made: specs become modules and trainers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cortexzoo.zoo.build import build_model, build_trainer
    from cortexzoo.zoo.exported import load_exported
    from cortexzoo.zoo.generation import generate

__all__ = ["build_model", "build_trainer", "generate", "load_exported"]

_HOMES = {"build_model": "build", "build_trainer": "build", "generate": "generation", "load_exported": "exported"}
"""The module in which each name is defined: torch is imported when one is asked for."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
