"""Every value of a spec, and another valid one for each."""

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from cortexzoo.specs import ExperimentSpec

DOCUMENTATION = {"name", "description", "provenance", "family", "extends"}


def paths(spec: BaseModel, prefix: str) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Every field below `prefix` that is no spec itself, with its value; `x.kind` also where `x` has several kinds."""
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if name in DOCUMENTATION:
            continue
        if isinstance(value, BaseModel):
            yield from paths(value, f"{prefix}.{name}")
            if len(_kinds(field)) > 1:
                yield f"{prefix}.{name}.kind", field, value
        elif name != "kind":
            yield f"{prefix}.{name}", field, value


def other_values(experiment: ExperimentSpec, path: str, field: FieldInfo, value: Any) -> Iterator[ExperimentSpec]:
    """The experiment with valid other values at `path`, the nearest first."""
    steps = path.split(".")
    content = experiment.model_dump()
    place = content
    for step in steps[:-1]:
        place = place[step]
    was = dict(place)
    if steps[-1] == "kind":
        wanted: list[Any] = [kind for kind in _kinds(field) if kind != was["kind"]]
    else:
        wanted = [candidate for candidate in _candidates(field, value) if candidate != value]
    for candidate in wanted:
        place.clear()
        place.update({"kind": candidate} if steps[-1] == "kind" else {**was, steps[-1]: candidate})
        try:
            yield ExperimentSpec.model_validate(content)
        except ValidationError:
            continue


def _kinds(field: FieldInfo) -> list[str]:
    """The kinds of a field that is one of several specs."""
    kinds = [member.model_fields["kind"].default for member in _members(field.annotation) if _is_kind(member)]
    return list(dict.fromkeys(kinds))


def _is_kind(member: Any) -> bool:
    return isinstance(member, type) and issubclass(member, BaseModel) and "kind" in member.model_fields


def _members(annotation: Any) -> list[Any]:
    found = [annotation]
    for argument in get_args(annotation):
        found += _members(argument)
    return found


def _candidates(field: FieldInfo, value: Any) -> list[Any]:
    literals = [w for member in _members(field.annotation) if get_origin(member) is Literal for w in get_args(member)]
    if literals:
        return [word for word in literals if word != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1, 2 * value, value // 2]
    if isinstance(value, float):
        return [value * 1.5 + 0.1, value * 0.5, value + 0.05, value * 2]
    return [1, 2, 4] if value is None else []
