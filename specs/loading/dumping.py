"""A resolved spec as YAML that loads back to an equal spec."""

import io
from typing import Any

from pydantic.fields import FieldInfo
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.representer import RoundTripRepresenter

from cortexzoo.specs.base import NamedSpec, Spec
from cortexzoo.specs.loading.slots import Slot

_FIRST = ("kind", "family", "name", "description")
_LEFT_OUT_IF_EMPTY = ("description", "provenance", "reason")


def dump_yaml(spec: NamedSpec) -> str:
    """The text of a spec file with every value, defaults included.

    `specs.load` of it gives an equal spec, provided that its data paths are absolute, as those of a loaded spec are.
    """
    return mapping_text(spec_mapping(spec))


def spec_mapping(spec: Spec, with_comments: bool = False) -> CommentedMap:
    """The values of a spec: tags and name first, provenance last, each field's description as a comment if wanted."""
    mapping = CommentedMap()
    fields = type(spec).model_fields
    order = [*(name for name in _FIRST if name in fields), *(name for name in fields if name not in _FIRST)]
    for name in sorted(order, key=lambda name: name == "provenance"):
        value = getattr(spec, name)
        if name in _LEFT_OUT_IF_EMPTY and not value:
            continue
        mapping[name] = _plain(value, with_comments)
        if with_comments:
            _comment(mapping, name, fields[name])
    return mapping


def _comment(mapping: CommentedMap, name: str, field: FieldInfo) -> None:
    """The field's description, and what else could stand there: other kinds at the tag, other words at a word."""
    slot = Slot.of_field(field)
    tagged = slot if slot.tag_key is not None else slot.item()
    if tagged is not None and tagged.tag_key is not None and len(tagged.classes()) > 1:
        values = mapping[name] if isinstance(mapping[name], list) else [mapping[name]]
        for value in values:
            value.yaml_add_eol_comment(f"one of: {', '.join(tagged.classes())}", tagged.tag_key, column=0)
    choices = slot.choices()
    others = f"one of: {', '.join(choices)}" if len(choices) > 1 else ""
    if comment := "; ".join(filter(None, ((field.description or "").rstrip("."), others))):
        mapping.yaml_add_eol_comment(comment, name, column=0)


def _plain(value: Any, with_comments: bool) -> Any:
    if isinstance(value, Spec):
        return spec_mapping(value, with_comments)
    if isinstance(value, dict):
        return CommentedMap((key, _plain(entry, with_comments)) for key, entry in value.items())
    if isinstance(value, tuple):
        return [_plain(entry, with_comments) for entry in value]
    return value


class _Representer(RoundTripRepresenter):
    """Writes null as `null`, and text with characters that YAML would fold or drop with escapes in double quotes."""

    def represent_null(self, _: None) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:null", "null")

    def represent_text(self, text: str) -> Any:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Representer.add_representer(type(None), _Representer.represent_null)
_Representer.add_representer(str, _Representer.represent_text)


def mapping_text(mapping: CommentedMap) -> str:
    """The YAML text of a mapping, one value a line."""
    yaml = YAML(typ="rt")
    yaml.Representer = _Representer
    # ruamel breaks long texts in double quotes at places where reading them back gives another text.
    yaml.width = 1 << 20
    stream = io.StringIO()
    yaml.dump(mapping, stream)
    return stream.getvalue()
