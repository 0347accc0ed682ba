"""The declared type of each place in a spec, followed by path through models, tagged unions, tables and lists."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cortexzoo.specs.base import Spec
from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.provenance import Source


@dataclass(frozen=True, slots=True)
class Slot:
    """What a spec declares about one of its values."""

    annotation: Any
    metadata: tuple[Any, ...] = ()
    tag_key: str | None = None
    """For a tagged union: the key of the tag."""
    default: Any = PydanticUndefined
    default_factory: Any = None

    @classmethod
    def of_type(cls, annotation: Any) -> "Slot":
        return cls.of_field(FieldInfo.from_annotation(annotation))

    @classmethod
    def of_field(cls, field: FieldInfo) -> "Slot":
        tag_key = field.discriminator if isinstance(field.discriminator, str) else None
        return cls(field.annotation, tuple(field.metadata), tag_key, field.default, field.default_factory)

    @property
    def source(self) -> Source | None:
        """Where the default comes from."""
        return next((item for item in self.metadata if isinstance(item, Source)), None)

    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is PydanticUndefined and self.default_factory is None

    def classes(self) -> dict[str, type[Spec]]:
        """The spec classes that fit here, by tag; without a tagged union at most one, by the empty tag."""
        if self.tag_key is None:
            return {"": self.annotation} if _is_spec_class(self.annotation) else {}
        return {
            str(get_args(member.model_fields[self.tag_key].annotation)[0]): member
            for member in get_args(self.annotation)
        }

    def default_tag(self) -> str | None:
        """The tag that a mapping without one gets: that of the field's default."""
        if self.tag_key is None or not isinstance(self.default, Spec):
            return None
        return str(getattr(self.default, self.tag_key))

    def chosen_class(self, node: Node | None) -> type[Spec] | None:
        """The spec class of what stands here, judged by its tag or, where that is missing, by the default."""
        classes = self.classes()
        if self.tag_key is None:
            return classes.get("")
        tag = node.entries().get(self.tag_key) if node else None
        return classes.get(str(tag.content) if tag else self.default_tag() or "")

    def enter(self, key: str, node: Node | None) -> "Slot | None":
        """The slot of one entry of what stands here. None: no such entry is declared."""
        if spec_class := self.chosen_class(node):
            return field_slots(spec_class).get(key)
        if get_origin(self.annotation) is dict:
            return Slot.of_type(get_args(self.annotation)[1])
        return None

    def item(self) -> "Slot | None":
        """The slot of each item of a list. None: this is no list."""
        return Slot.of_type(get_args(self.annotation)[0]) if get_origin(self.annotation) is tuple else None

    def keys(self, node: Node | None) -> list[str]:
        """The keys that may stand here."""
        if spec_class := self.chosen_class(node):
            return list(spec_class.model_fields)
        if get_origin(self.annotation) is dict:
            return Slot.of_type(get_args(self.annotation)[0]).choices()
        return []

    def choices(self) -> list[str]:
        """The values of a `Literal`."""
        return [str(value) for kind in scalar_types(self.annotation) if get_origin(kind) is Literal
                for value in get_args(kind)]  # fmt: skip

    def takes_only_text(self) -> bool:
        """Whether every scalar that fits here is text, so that `5` means the text "5"."""
        kinds = list(scalar_types(self.annotation))
        return bool(kinds) and all(
            kind is str or (get_origin(kind) is Literal and all(isinstance(value, str) for value in get_args(kind)))
            for kind in kinds
        )

    def takes_null(self) -> bool:
        return NoneType in scalar_types(self.annotation)


def field_slots(spec_class: type[Spec]) -> dict[str, Slot]:
    """The slots of a spec's fields, by name."""
    return {name: Slot.of_field(field) for name, field in spec_class.model_fields.items()}


def scalar_types(annotation: Any) -> Iterator[Any]:
    """The members of a union of scalars, `Annotated` taken off."""
    if get_origin(annotation) is Annotated:
        yield from scalar_types(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from scalar_types(member)
    else:
        yield annotation


def _is_spec_class(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Spec)
