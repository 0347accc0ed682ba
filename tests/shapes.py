"""The type checker behind jaxtyping's import hook: every annotated tensor shape is checked in every call of a test."""

from collections.abc import Callable
from typing import Any, Self, get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

# An int may stand where a float is asked for, as in the language itself.
CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with its annotations enforced if one of them carries a shape; mypy answers for all others."""
    annotations = function.__annotations__
    if not any(_carries_shape(annotation) for annotation in annotations.values()):
        return function
    for name, annotation in annotations.items():
        if annotation is Self:  # beartype knows it only inside a class that it decorates itself
            annotations[name] = Any
    return CHECK(function)


def _carries_shape(annotation: object) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, AbstractArray):
        return True
    return any(_carries_shape(part) for part in get_args(annotation))
