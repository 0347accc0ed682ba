"""How it is made: specs become modules and trainers."""

from cortexzoo.zoo.build import build_model, build_trainer
from cortexzoo.zoo.exported import load_exported
from cortexzoo.zoo.generation import generate

__all__ = ["build_model", "build_trainer", "generate", "load_exported"]
