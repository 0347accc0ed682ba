"""How it is made: specs become modules and trainers."""

from typing import TYPE_CHECKING

from cortexzoo.specs.late_names import late_names

if TYPE_CHECKING:
    from cortexzoo.zoo.build import build_model, build_trainer
    from cortexzoo.zoo.exported import load_exported
    from cortexzoo.zoo.generation import generate

__all__ = ["build_model", "build_trainer", "generate", "load_exported"]

_HOMES = {"build_model": "build", "build_trainer": "build", "generate": "generation", "load_exported": "exported"}
"""The module in which each name is defined: torch is imported when one is asked for."""

__getattr__, __dir__ = late_names(__name__, _HOMES)
