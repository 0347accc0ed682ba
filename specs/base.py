"""The base of every spec: frozen, closed, strict, with one canonical form and one hash."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from cortexzoo.specs.provenance import Source, SourceKind

HASH_LENGTH = 16

NAME_PATTERN = r"^[a-z0-9][a-z0-9.-]*$"

Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=80)]
PositiveInt = Annotated[int, Field(gt=0, le=10**12)]
"""A size or a count. The bound keeps costs, which are products of several, within the numbers of a machine."""
LayerCount = Annotated[int, Field(gt=0, le=1024)]
"""Layers of a stack: a thousand have been trained (Wang et al. 2022, arXiv:2203.00555), more are a slip."""
PositiveFloat = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def _without_nul(path: str) -> str:
    if "\0" in path:
        raise ValueError("contains a NUL character, which no path may contain")
    return path


PathText = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]


class FilePaths:
    """Marks a field with paths: relative ones are relative to the spec file in which they are written."""


class FilePath:
    """Marks a field with one path, not a pattern; relative as for `FilePaths`."""


class SpecReferences:
    """Marks a field that names specs: shipped names stay, paths are relative to the spec file in which they stand."""


@dataclass(frozen=True, slots=True)
class Neutral:
    """Marks a number with no effect at `value`, where that is not 0."""

    value: float


class Spec(BaseModel):
    """A frozen description. Unknown keys are refused, values never coerced; equal content, equal hash."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        validate_default=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        defer_build=True,
    )

    @classmethod
    def defaults(cls) -> Self:
        """All defaults, as the default of a field elsewhere: without the validator, whose building slows the start."""
        return super().model_construct()

    def canonical_json(self) -> str:
        """The one JSON text of this spec: sorted keys, no white space, every default written out."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)

    def hash(self) -> str:
        """Sixteen hex digits of the sha256 of what changes behaviour: not `alerts`, `trackers`, `parallel`, prose.

        A field that was added later counts as one that does not exist where it has the value that changes nothing.
        """
        content = without_documentation(self.model_dump(mode="json"))
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse what `canonical_json` wrote. Raises pydantic's `ValidationError` for anything else."""
        return cls.model_validate_json(text)


class Origin(Spec):
    """Where one value of a spec file comes from: the written form of `cortexzoo.specs.provenance.Source`."""

    kind: SourceKind
    where: str

    def as_source(self) -> Source:
        return Source(self.where, self.kind)


class NamedSpec(Spec):
    """A spec that can live in a file of its own and is found by its name."""

    name: Name
    description: str = ""
    provenance: dict[str, Origin] = Field(
        default_factory=dict, description="Dotted path of a value in this spec -> where the value comes from."
    )

    @model_validator(mode="after")
    def _provenance_names_fields(self) -> Self:
        for path in self.provenance:
            node: Any = self
            for part in path.split("."):
                if isinstance(node, Spec) and part in type(node).model_fields:
                    node = getattr(node, part)
                elif isinstance(node, dict) and part in node:
                    node = node[part]
                else:
                    raise ValueError(f"provenance.{path} is not a field of {type(self).__name__}")
        return self


_NO_BEHAVIOUR = frozenset({"description", "provenance", "trackers", "parallel", "alerts"})
_OFF = {"kind": "none"}
_LATER_FIELDS: Mapping[str, Any] = {"homeostasis": _OFF, "protection": _OFF, "update_factor": 10.0, "write_width": 0}
"""Fields that came when runs had hashes already, with the value at which a run has the hash from before they came."""


def without_documentation(node: Any) -> Any:
    """What `Spec.hash` is computed from: the values that change behaviour."""
    if isinstance(node, dict):
        counts = {k: value for k, value in node.items() if k not in _NO_BEHAVIOUR and not _is_as_before(k, value)}
        return {key: without_documentation(value) for key, value in counts.items()}
    if isinstance(node, list):
        return [without_documentation(value) for value in node]
    return node


def _is_as_before(key: str, value: Any) -> bool:
    return key in _LATER_FIELDS and value == _LATER_FIELDS[key]
