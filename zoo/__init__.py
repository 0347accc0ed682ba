"""How it is made: specs become modules and trainers."""

from zoo.build import build_model, build_trainer
from zoo.generation import generate

__all__ = ["build_model", "build_trainer", "generate"]
