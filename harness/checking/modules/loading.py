"""From `path/to/file.py:make_model` to a factory, and from a factory to a module."""

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from cortexzoo.harness.checking.judge import where
from cortexzoo.harness.checking.modules.errors import ModuleError

Factory = Callable[[], nn.Module]


@dataclass(frozen=True)
class Reference:
    """A file and the name of a factory in it."""

    path: Path
    name: str

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"

    @property
    def label(self) -> str:
        """The name of the folder that its certificate goes into."""
        return f"{self.path.stem}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Raises `ModuleError` unless `text` is FILE.py:NAME with a file that is there."""
        file, separator, name = text.rpartition(":")
        if not separator or not name.isidentifier() or not file.endswith(".py"):
            raise ModuleError(f"--module {text}: must be FILE.py:FACTORY, as in my_model.py:make_model")
        path = Path(file)
        if not path.is_file():
            raise ModuleError(f"--module {text}: there is no file {path}")
        return cls(path, name)


def load_factory(reference: Reference) -> Factory:
    """Import the file and find the factory. Raises `ModuleError` when that fails or it needs arguments."""
    module = _imported(reference)
    found = getattr(module, reference.name, None)
    if found is None:
        offered = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        nearest = difflib.get_close_matches(reference.name, offered, n=1)
        hint = f": did you mean {nearest[0]}?" if nearest else ""
        raise ModuleError(f"{reference.path}: has nothing named {reference.name}{hint}")
    if not callable(found):
        raise ModuleError(f"{reference}: must be a function that returns a module, got {type(found).__name__}")
    if missing := _required_arguments(found):
        raise ModuleError(
            f"{reference}: must need no arguments, got {', '.join(missing)} without default: wrap it in a function"
        )
    factory: Factory = found
    return factory


def make(factory: Factory, reference: Reference) -> nn.Module:
    """What the factory gives. Raises `ModuleError` when it raises, or gives anything but a module."""
    try:
        module = factory()
    except Exception as problem:
        raise ModuleError(f"{reference}: the factory raised {where(problem)}") from problem
    if not isinstance(module, nn.Module):
        raise ModuleError(f"{reference}: must return a torch.nn.Module, got {type(module).__name__}")
    return module


def _imported(reference: Reference) -> object:
    path = reference.path.resolve()
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        raise ModuleError(f"{reference.path}: importing it raised {where(problem)}") from problem
    return module


def _required_arguments(found: Callable[..., object]) -> list[str]:
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variadic]
