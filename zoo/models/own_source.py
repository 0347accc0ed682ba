"""From a module variant to what its factory returns: permission, sum, import, arguments, in this order."""

import difflib
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cortexzoo.specs.allowed_code import executed, is_allowed
from cortexzoo.specs.own_variant import ModuleSpec
from cortexzoo.specs.regular_files import read_regular
from cortexzoo.specs.variant import VariantSpec
from cortexzoo.zoo.errors import OwnModuleError

if TYPE_CHECKING:
    from torch import nn

VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

CODE = "module.py"
"""The copy of the file in the folder of a run or of an exported model."""

copies: dict[str, Path] = {}
"""Copies by their sum: they count once the file itself has changed or is gone."""


def offer_copy(folder: Path, variant: VariantSpec) -> None:
    """Note the copy in a folder, where its sum is that of the spec."""
    path = (folder / CODE).absolute()
    if isinstance(variant, ModuleSpec) and path.is_file():
        with suppress(OSError):
            if hashlib.sha256(read_regular(path)).hexdigest() == variant.sha256:
                copies[variant.sha256] = path


def require_allowed(variant: VariantSpec) -> None:
    """Raises `OwnModuleError` for a variant whose code must not run."""
    if isinstance(variant, ModuleSpec) and not is_allowed(Path(variant.file)):
        raise OwnModuleError(
            f"variant.source: {variant.file}:{variant.factory} is code of its own, which runs with --allow-code only "
            f"(or, for all that is in its folder, after `cortexzoo allow-code {Path(variant.file).parent}`)"
        )


def module_of(spec: ModuleSpec) -> "nn.Module":
    """What the factory returns for the arguments of the spec. Raises `OwnModuleError`."""
    from torch import nn  # not at the top: permission is asked for where torch is not needed

    require_allowed(spec)
    named = f"{spec.file}:{spec.factory}"
    factory = _factory(_path(spec), spec.factory)
    _require_arguments(factory, spec.arguments, named)
    try:
        module = factory(**spec.arguments)
    except Exception as problem:
        raise OwnModuleError(f"variant.source: {named} raised {raised(problem)}") from problem
    if not isinstance(module, nn.Module):
        raise OwnModuleError(f"variant.source: {named} must return a torch.nn.Module, got {type(module).__name__}")
    if not any(True for _ in module.parameters()):
        raise OwnModuleError(f"variant.source: {named} returned a module without parameters: there is nothing to train")
    return module


def raised(problem: BaseException) -> str:
    """Type and first line of an exception, and the last line of the user's code that it passed."""
    first = (str(problem).strip().splitlines() or [""])[0]
    words = f"{type(problem).__name__}: {first}" if first else type(problem).__name__
    own = [frame for frame in traceback.extract_tb(problem.__traceback__) if frame.filename in executed]
    return f"{words} ({own[-1].filename}:{own[-1].lineno})" if own else words


def _path(spec: ModuleSpec) -> Path:
    """The file whose sum is that of the spec: the one that it names, else the copy that a run has kept."""
    path = Path(spec.file)
    try:
        found = hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as problem:
        if spec.sha256 in copies:
            return copies[spec.sha256]
        raise OwnModuleError(f"variant.source: {path} cannot be read: {problem.strerror or problem}") from problem
    if spec.sha256 in ("", found):
        return path
    if spec.sha256 in copies:
        return copies[spec.sha256]
    raise OwnModuleError(
        f"variant.source: {path} has changed since this spec was loaded (sha256 {found[:12]}…, then "
        f"{spec.sha256[:12]}…): load the spec again, or put that file back"
    )


def _factory(path: Path, name: str) -> Callable[..., Any]:
    module = _imported(path.resolve(), hashlib.sha256(read_regular(path)).hexdigest())
    found = getattr(module, name, None)
    if callable(found):
        factory: Callable[..., Any] = found
        return factory
    offered = [known for known, value in vars(module).items() if callable(value) and not known.startswith("_")]
    if found is not None:
        raise OwnModuleError(f"variant.source: {path}:{name} must be a function, got {type(found).__name__}")
    raise OwnModuleError(f"variant.source: {path} has nothing named {name}{_nearest(name, offered)}")


@cache
def _imported(path: Path, sha256: str) -> object:
    """The file as a module, run once for each of its versions."""
    name = f"cortexzoo_own_{path.stem}_{sha256[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    executed.add(str(path))
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        del sys.modules[name]
        raise OwnModuleError(f"variant.source: importing {path} raised {raised(problem)}") from problem
    return module


def _require_arguments(factory: Callable[..., Any], given: Mapping[str, Any], named: str) -> None:
    """Raise `OwnModuleError` for an argument that is unknown, missing, or of another type than is annotated."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    for name, value in given.items():
        if name not in parameters and not takes_any:
            hint = _nearest(name, list(parameters))
            raise OwnModuleError(f"variant.arguments.{name} is no argument of {named}{hint}")
        wanted = parameters[name].annotation if name in parameters else inspect.Parameter.empty
        if wanted in (int, float, bool, str, "int", "float", "bool", "str") and not _fits(value, wanted):
            wanted = wanted if isinstance(wanted, str) else wanted.__name__
            raise OwnModuleError(f"variant.arguments.{name} must be of type {wanted}, got {value!r}")
    for name, parameter in parameters.items():
        if name not in given and parameter.default is parameter.empty and parameter.kind not in VARIADIC:
            raise OwnModuleError(f"variant.arguments.{name} is missing: {named} has no default for it")


def _fits(value: object, wanted: Any) -> bool:
    name = wanted if isinstance(wanted, str) else wanted.__name__
    return type(value).__name__ == name or (name == "float" and type(value) is int)


def _nearest(name: str, offered: list[str]) -> str:
    found = difflib.get_close_matches(name, offered, n=1)
    return f": did you mean {found[0]}?" if found else ""
