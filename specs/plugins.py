"""Kinds that other packages add through entry points: found once, each checked, one that fails left out with a line."""

import sys
from collections.abc import Callable, Collection
from functools import cache
from importlib import import_module
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from cortexzoo.specs.base import Spec
from cortexzoo.specs.entry_points import PREFIX, Group, entry_points
from cortexzoo.specs.errors import UserError
from cortexzoo.specs.property_info import AddedProperty

NO_PROPERTY = "must be a cortexzoo.specs.property_info.AddedProperty"


def extended(union: Any, group: Group) -> Any:
    """A tagged union of specs, `Annotated[A | B, Field(discriminator=…)]`, with those of plugins, ordered by name.

    A tag of ours stays ours; a class that cannot be added costs one line.
    """
    if not entry_points(group):
        return union
    members, field = get_args(union)
    tag = str(field.discriminator)
    found = {_tag(member, tag): member for member in get_args(members)}
    for name in sorted(entry_points(group)):
        spec_class = loaded(group, name)
        if spec_class is None:
            continue
        if mistake := _mistake(spec_class, tag, found):
            _complain(group, name, mistake)
        else:
            found[_tag(spec_class, tag)] = spec_class
    return Annotated[Union[tuple(found.values())], field]  # noqa: UP007


def added_properties(taken: Collection[str]) -> dict[str, AddedProperty]:
    """The properties of plugins, ordered by name."""
    found: dict[str, AddedProperty] = {}
    for name in sorted(entry_points("properties")):
        added = loaded("properties", name)
        if isinstance(added, AddedProperty) and name not in taken:
            found[name] = added
        elif added is not None:
            _complain("properties", name, "is taken: choose another name" if name in taken else NO_PROPERTY)
    return found


@cache
def loaded(group: Group, name: str) -> Any:
    """What an entry point gives; None where importing it fails, which costs one line."""
    try:
        return entry_points(group)[name].load()
    except Exception as problem:
        _complain(group, name, f"importing it raised {type(problem).__name__}: {_first_line(problem)}")
        return None


def is_added(spec: Spec) -> bool:
    """Whether the class of a spec comes from a plugin."""
    return hasattr(type(spec), "builder")


def characters_of(task: Spec) -> str:
    """The characters that a plugin's task is written in."""
    return str(getattr(type(task), "characters", ""))


def built_by(spec: Spec) -> Callable[..., Any]:
    """The function that a plugin's spec names as its `builder`, `package.module:function`. Raises `PluginError`."""
    function: Callable[..., Any] = named(str(getattr(type(spec), "builder", "")))
    return function


def named(path: str) -> Any:
    """What `package.module:name` is. Raises `PluginError` where it cannot be had."""
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except Exception as problem:
        raise PluginError(f"plugin {path}: raised {type(problem).__name__}: {_first_line(problem)}") from problem


class PluginError(UserError):
    """A part of a plugin that cannot be imported when it is needed."""


def _mistake(spec_class: Any, tag: str, taken: Collection[str]) -> str:
    if not isinstance(spec_class, type) or not issubclass(spec_class, Spec):
        return f"must be a subclass of cortexzoo.specs.Spec, got {type(spec_class).__name__}"
    if not _tag(spec_class, tag):
        return f"needs a field `{tag}: Literal[...]` with one word"
    if _tag(spec_class, tag) in taken:
        return f"{tag} {_tag(spec_class, tag)} is taken: choose another word"
    if ":" not in str(getattr(spec_class, "builder", "")):
        return 'needs `builder: ClassVar[str] = "package.module:function"`'
    return ""


def _tag(spec_class: type[Spec], tag: str) -> str:
    field = spec_class.model_fields.get(tag)
    if field is None or get_origin(field.annotation) is not Literal:
        return ""
    return str(get_args(field.annotation)[0])


def _complain(group: Group, name: str, words: str) -> None:
    where = entry_points(group)[name]
    package = where.dist.name if where.dist else where.value
    print(f"plugin {package}: {PREFIX}{group} {name} ({where.value}) is left out: {words}", file=sys.stderr)


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [""])[0]
