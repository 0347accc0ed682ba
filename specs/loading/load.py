"""Loading a spec: file or shipped name -> one frozen, validated spec, and where each of its values comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from cortexzoo.specs.base import NamedSpec
from cortexzoo.specs.kinds import Kind, spec_type
from cortexzoo.specs.loading.code_sums import with_code_sums
from cortexzoo.specs.loading.file_paths import with_absolute_paths
from cortexzoo.specs.loading.origins import ValueOrigin, origins
from cortexzoo.specs.loading.problems import Problems, Refused
from cortexzoo.specs.loading.resolving import Resolver
from cortexzoo.specs.loading.slots import Slot
from cortexzoo.specs.loading.validation import validate

if TYPE_CHECKING:
    from cortexzoo.specs.data import DataSpec
    from cortexzoo.specs.experiment import ExperimentSpec
    from cortexzoo.specs.fault import FaultsSpec
    from cortexzoo.specs.matrix import MatrixSpec
    from cortexzoo.specs.recipe import RecipeSpec
    from cortexzoo.specs.suite import SuiteSpec
    from cortexzoo.specs.variant import VariantSpec


@dataclass(frozen=True, slots=True)
class LoadedSpec:
    """A spec and the origin of each of its values, by dotted path."""

    kind: Kind
    spec: NamedSpec
    origins: dict[str, ValueOrigin]


def load_with_origins(path_or_name: str | Path, kind: Kind | None = None, overrides: Sequence[str] = ()) -> LoadedSpec:
    """As `load`, with the origin of every value."""
    problems = Problems()
    resolver = Resolver(problems)
    try:
        document = resolver.override(resolver.open(path_or_name, kind), overrides)
    except Refused as refused:
        problems.add_refusal(refused)
        raise problems.as_error() from refused
    slot = Slot.of_type(spec_type(document.kind))
    root = with_code_sums(with_absolute_paths(document.root, slot), document.kind, problems)
    spec = validate(root, document.kind, problems)
    if spec is None or problems:
        raise problems.as_error()
    return LoadedSpec(document.kind, spec, origins(spec, root, slot))


@overload
def load(path_or_name: str | Path, kind: Literal["variant"], overrides: Sequence[str] = ()) -> "VariantSpec": ...
@overload
def load(path_or_name: str | Path, kind: Literal["recipe"], overrides: Sequence[str] = ()) -> "RecipeSpec": ...
@overload
def load(path_or_name: str | Path, kind: Literal["data"], overrides: Sequence[str] = ()) -> "DataSpec": ...
@overload
def load(path_or_name: str | Path, kind: Literal["suite"], overrides: Sequence[str] = ()) -> "SuiteSpec": ...
@overload
def load(path_or_name: str | Path, kind: Literal["faults"], overrides: Sequence[str] = ()) -> "FaultsSpec": ...
@overload
def load(path_or_name: str | Path, kind: Literal["matrix"], overrides: Sequence[str] = ()) -> "MatrixSpec": ...
@overload
def load(path_or_name: str | Path, kind: Literal["experiment"], overrides: Sequence[str] = ()) -> "ExperimentSpec": ...
@overload
def load(path_or_name: str | Path, kind: Kind | None = None, overrides: Sequence[str] = ()) -> NamedSpec: ...
def load(path_or_name: str | Path, kind: Kind | None = None, overrides: Sequence[str] = ()) -> NamedSpec:
    """The spec of a file (a path with `/` or ending in .yaml) or of the shipped library (a name).

    `overrides` are `path=value` texts, typed by the field they are for: `["recipe.steps=100", "recipe=robust"]`.
    Without `kind` any kind is taken; of shipped specs that share a name, the experiment.
    Raises `SpecError` with one line for each mistake.
    """
    return load_with_origins(path_or_name, kind, overrides).spec


def load_experiment(path_or_name: str | Path, overrides: Sequence[str] = ()) -> "ExperimentSpec":
    """The experiment of a file or of the shipped library. Raises `SpecError` as `load` does."""
    return load(path_or_name, "experiment", overrides)


def identity(loaded: LoadedSpec) -> dict[str, str]:
    """Kind, name and hash."""
    return {"kind": loaded.kind, "name": loaded.spec.name, "hash": loaded.spec.hash()}
