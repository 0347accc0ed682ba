"""A mutant: one defect, where it is seeded, and how; and the ways to patch code for a while."""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from cortexzoo.specs.properties import PropertyName

Host = Literal[
    "cortexgpt",
    "contexts",
    "original",
    "continual",
    "follower",
    "mixture",
    "transformer",
    "hybrid",
    "own",
    "gated-delta",
]
"""The healthy subject that a defect is seeded in; written ones know five of them, those made by machine all."""

Patch = Callable[[], AbstractContextManager[None]]
Make = Callable[[Any], Any]
"""From the healthy function to the defective one."""

PATCHED_PACKAGES = ("cortexzoo.zoo.", "cortexzoo.harness.checking.")


@dataclass(frozen=True)
class Mutant:
    """`seeded` puts the defect in place. With `trains` the host is trained with the defect, else checked with it.

    `caught_by` is the property that is there for it, where a short search on a small host shows that; a mutant without
    one needs a longer training, or a clock: `cortexzoo mutants` tries every property.
    """

    name: str
    host: Host
    defect: str
    seeded: Patch
    trains: bool = False
    caught_by: PropertyName | None = None


def replaced(owner: Any, name: str, make: Make) -> Patch:
    """Replace an attribute of a class or module."""

    @contextmanager
    def patch() -> Iterator[None]:
        original = owner.__dict__[name]
        defective = make(original)
        if isinstance(defective, cached_property):
            defective.__set_name__(owner, name)  # which only the body of a class does by itself
        with _nothing_kept(owner if inspect.ismodule(owner) else sys.modules[owner.__module__]):
            setattr(owner, name, defective)
            try:
                yield
            finally:
                setattr(owner, name, original)

    return patch


@contextmanager
def _nothing_kept(module: Any) -> Iterator[None]:
    """Functions of a module that keep results forget them, before it changes and after."""

    def forget() -> None:
        for value in list(vars(module).values()):
            if callable(clear := getattr(value, "cache_clear", None)):
                clear()

    forget()
    try:
        yield
    finally:
        forget()


def rebound(function: Callable[..., Any], make: Make) -> Patch:
    """Replace a function under its own name in every module that has imported it."""

    @contextmanager
    def patch() -> Iterator[None]:
        name = function.__name__
        users = [
            module
            for path, module in sys.modules.items()
            if path.startswith(PATCHED_PACKAGES) and module.__dict__.get(name) is function
        ]
        defective = make(function)
        with _nothing_kept(sys.modules[function.__module__]):
            for module in users:
                setattr(module, name, defective)
            try:
                yield
            finally:
                for module in users:
                    setattr(module, name, function)

    return patch


def rewritten(owner: Any, name: str, old: str, new: str) -> Patch:
    """Replace one place in the source of a function or method, under its name wherever it was imported.

    `owner` is its class or module. Raises `ValueError` unless the source contains `old` exactly once.
    """

    @contextmanager
    def patch() -> Iterator[None]:
        original = owner.__dict__[name]
        read: Any = getattr(original, "__func__", original)
        if isinstance(original, property | cached_property):
            read = original.fget if isinstance(original, property) else original.func
        source = textwrap.dedent(inspect.getsource(read))
        if source.count(old) != 1:
            raise ValueError(f"{name} contains {old!r} {source.count(old)} times, not once")
        with in_place_of(owner, name, compiled(source.replace(old, new), name, owner))():
            yield

    return patch


def in_place_of(owner: Any, name: str, defective: Any) -> Patch:
    """Put `defective` under a name of a class, or, of a module, wherever the function was imported."""
    if inspect.ismodule(owner):
        return rebound(owner.__dict__[name], instead(defective))
    return replaced(owner, name, instead(defective))


def compiled(source: str, name: str, owner: Any) -> Any:
    """What the definition of `name` gives where `owner`, a class or a module, is defined."""
    module = owner if inspect.ismodule(owner) else sys.modules[owner.__module__]
    space: dict[str, Any] = {}
    within = f"def make(__class__):\n{textwrap.indent(source, '    ')}\n    return {name}\n"
    exec(compile(within, f"<{name}, changed>", "exec"), module.__dict__, space)
    return space["make"](owner)


def in_source(
    name: str, host: Host, defect: str, owner: Any, function: str, old: str, new: str, by: PropertyName | None = None
) -> Mutant:
    """A mutant that is one change to the source of a function."""
    return Mutant(name, host, defect, rewritten(owner, function, old, new), caught_by=by)


def together(*patches: Patch) -> Patch:
    """Several patches that make one defect."""

    @contextmanager
    def patch() -> Iterator[None]:
        with ExitStack() as stack:
            for each in patches:
                stack.enter_context(each())
            yield

    return patch


def after(change: Callable[..., Any]) -> Make:
    """The healthy function, whose result goes through `change(result, *arguments)`."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def defective(*arguments: Any, **named: Any) -> Any:
            return change(original(*arguments, **named), *arguments)

        return defective

    return make


def before(change: Callable[..., None]) -> Make:
    """The healthy function, after `change(*arguments)` was called."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def defective(*arguments: Any, **named: Any) -> Any:
            change(*arguments)
            return original(*arguments, **named)

        return defective

    return make


def instead(defective: Any) -> Make:
    """Something else altogether."""
    return lambda _: defective
