"""The reference pages that follow from the code: every value of a spec with the source of its default, every command.

The documentation's build generates them, so they are never out of date: `nox -s docs`.
"""

import inspect
import json
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from cortexzoo.specs.base import NamedSpec, Spec
from cortexzoo.specs.kinds import KINDS, Kind, spec_type
from cortexzoo.specs.loading.slots import Slot, field_slots, scalar_types

DOCUMENTED_ONCE = frozenset({"name", "description", "provenance"})
INTRODUCTION = (
    "Made from the specs themselves when these pages are built. *Comes from* is the source of the default: a document",
    "of the user, a paper, the public prototype's code (`reference-code`), a measurement made here, or our own choice.",
    "A shipped file can set another value, and states under `provenance` where that comes from; `cortexzoo show NAME`",
    "prints both.",
    "",
    "Every file also takes `name`, `description`, `extends` (another spec of its kind, whose values it takes over) and",
    "`provenance` (dotted path of a value → `kind` and `where` of its source).",
)
WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
BOUNDS = {"exclusiveMinimum": "> {}", "minimum": "≥ {}", "exclusiveMaximum": "< {}", "maximum": "≤ {}"}


def spec_reference() -> str:
    """A section a kind of spec, a table a class: each value, what it takes, its default, and where that comes from."""
    lines = ["# Spec reference", "", *INTRODUCTION]
    seen: set[type[Spec]] = set()
    for kind in KINDS:
        lines += ["", f"## {kind}", ""]
        for spec_class in _classes(Slot.of_type(spec_type(kind)), seen):
            lines += _section(spec_class, kind)
    return "\n".join(lines) + "\n"


def command_reference() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    import typer.cli
    from typer.core import TyperGroup

    from cortexzoo.harness.cli.commands import COMMANDS, loaded

    group = TyperGroup(name="cortexzoo", commands={name: loaded(name) for name in COMMANDS})
    context = typer.Context(group, info_name="cortexzoo")
    text = typer.cli.get_docs_for_click(obj=group, ctx=context, name="cortexzoo", title="Commands")
    return text.strip() + "\n"


def _classes(slot: Slot, seen: set[type[Spec]]) -> Iterator[type[Spec]]:
    """The spec classes at and below a slot, each once, an outer one before its parts."""
    found = [each for each in slot.classes().values() if each not in seen]
    for spec_class in found:
        seen.add(spec_class)
        yield spec_class
        for name, inner in field_slots(spec_class).items():
            # The parts of an experiment are kinds of their own.
            if name not in DOCUMENTED_ONCE and not (spec_class is spec_type("experiment") and name in KINDS):
                yield from _classes(_innermost(inner), seen)


def _innermost(slot: Slot) -> Slot:
    """The slot of the entries of a list or a mapping, or the slot itself."""
    origin = get_origin(slot.annotation)
    if origin is dict:
        return _innermost(Slot.of_type(get_args(slot.annotation)[1]))
    return _innermost(item) if (item := slot.item()) is not None else slot


def _section(spec_class: type[Spec], kind: Kind) -> list[str]:
    named = issubclass(spec_class, NamedSpec)
    tags = [f"`{name}: {slot.choices()[0]}`" for name, slot in field_slots(spec_class).items() if _is_tag(slot)]
    lines = [f"### {spec_class.__name__}", ""]
    if tags:
        lines += [" · ".join(tags), ""]
    lines += [inspect.cleandoc(spec_class.__doc__ or ""), ""]
    properties = spec_class.model_json_schema()["properties"]
    rows = [
        (f"`{name}`", _takes(slot, schema), _default(slot), _source(slot), schema.get("description", ""))
        for name, slot in field_slots(spec_class).items()
        for schema in [properties[name]]
        if not _is_tag(slot) and not (named and name in DOCUMENTED_ONCE)
    ]
    if rows:
        lines += ["| value | takes | default | comes from | |", "|---|---|---|---|---|"]
        lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows] + [""]
    return lines


def _is_tag(slot: Slot) -> bool:
    """Whether it can have one value only."""
    return len(slot.choices()) == 1 and len(list(scalar_types(slot.annotation))) == 1


def _takes(slot: Slot, schema: dict[str, Any]) -> str:
    classes = slot.classes()
    if slot.tag_key is not None:
        links = (f"[`{tag}`](#{each.__name__.lower()})" for tag, each in classes.items())
        return f"`{slot.tag_key}`: " + ", ".join(links)
    if classes:
        (only,) = classes.values()
        return f"[{only.__name__}](#{only.__name__.lower()})"
    if (item := slot.item()) is not None:
        return f"list of {_takes(item, schema.get('items', {}))}"
    if get_origin(slot.annotation) is dict:
        inner = Slot.of_type(get_args(slot.annotation)[1])
        return f"mapping to {_takes(inner, schema.get('additionalProperties', {}))}"
    words = [f"`{choice}`" for choice in slot.choices()]
    words += [WORDS[each] for each in scalar_types(slot.annotation) if each in WORDS]
    bounds = [text.format(_number(value)) for text, value in _bounds(schema)]
    return " or ".join(words or ["any value"]) + (f", {' and '.join(bounds)}" if bounds else "")


def _bounds(schema: dict[str, Any]) -> list[tuple[str, float]]:
    found = [(text, schema[key]) for key, text in BOUNDS.items() if key in schema]
    return found + [bound for inner in schema.get("anyOf", ()) for bound in _bounds(inner)]


def _default(slot: Slot) -> str:
    if slot.is_required():
        return "required"
    default = slot.default_factory() if slot.default_factory is not None else slot.default
    if isinstance(default, Spec):
        tag = slot.default_tag()
        return "as there" if tag is None else f"`{tag}`"
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _source(slot: Slot) -> str:
    return "" if slot.source is None else str(slot.source)


def _number(value: float) -> str:
    return f"{value:g}" if value < 1e6 else f"{value:,.0f}"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
