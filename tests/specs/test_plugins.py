"""Kinds of other packages: what may be added to a tagged union, and what is left out with a line."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Literal, get_args

import pytest
from pydantic import Field, TypeAdapter

from cortexzoo.specs import entry_points, plugins
from cortexzoo.specs.base import Spec
from cortexzoo.specs.property_info import AddedProperty, PropertyInfo
from cortexzoo.specs.provenance import OURS


class Ours(Spec):
    kind: Literal["ours"] = "ours"


class AlsoOurs(Spec):
    kind: Literal["also"] = "also"


class Good(Spec):
    kind: Literal["good"] = "good"
    builder: ClassVar[str] = "os.path:join"


class Taken(Good):
    kind: Literal["ours"] = "ours"  # type: ignore[assignment]


class Untagged(Spec):
    builder: ClassVar[str] = "os.path:join"


class Unbuilt(Spec):
    kind: Literal["unbuilt"] = "unbuilt"


SHIPPED = Annotated[Ours | AlsoOurs, Field(discriminator="kind")]
PROPERTY = AddedProperty(PropertyInfo("a claim", 0.0, "at_most", "unit", OURS), "os.path:join")


def offered(monkeypatch: pytest.MonkeyPatch, group: str, **values: Any) -> None:
    """Entry points of one package that give these values, or raise them."""

    def entry(name: str, value: Any) -> Any:
        def load() -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        return SimpleNamespace(
            name=name,
            group=f"cortexzoo.{group}",
            value=f"theirs:{name}",
            load=load,
            dist=SimpleNamespace(name="theirs"),
        )

    entry_points.entry_points.cache_clear()
    plugins.loaded.cache_clear()
    monkeypatch.setattr(entry_points, "installed", lambda: tuple(entry(name, value) for name, value in values.items()))


@pytest.fixture(autouse=True)
def no_trace() -> Iterator[None]:
    yield
    entry_points.entry_points.cache_clear()
    plugins.loaded.cache_clear()


def test_without_plugins_a_union_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, "variants", good=Good)
    assert plugins.extended(SHIPPED, "clipping") is SHIPPED


def test_a_spec_of_a_plugin_is_read_and_built(monkeypatch: pytest.MonkeyPatch) -> None:
    offered(monkeypatch, "clipping", good=Good)
    union: Any = TypeAdapter(plugins.extended(SHIPPED, "clipping"))
    spec = union.validate_python({"kind": "good"})
    assert type(spec) is Good
    assert type(union.validate_python({"kind": "also"})) is AlsoOurs
    assert plugins.built_by(spec)("a", "b") == "a/b"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (ImportError("no module\nof this name"), "importing it raised ImportError: no module"),
        (Taken, "kind ours is taken: choose another word"),
        (Untagged, "needs a field `kind: Literal[...]` with one word"),
        (Unbuilt, 'needs `builder: ClassVar[str] = "package.module:function"`'),
        (3, "must be a subclass of cortexzoo.specs.Spec, got int"),
    ],
)
def test_what_cannot_be_added_costs_one_line_and_the_rest_works(
    value: Any, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offered(monkeypatch, "clipping", bad=value, good=Good)
    members, _ = get_args(plugins.extended(SHIPPED, "clipping"))
    assert get_args(members) == (Ours, AlsoOurs, Good)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"plugin theirs: cortexzoo.clipping bad (theirs:bad) is left out: {words}"


def test_properties_keep_their_names(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    offered(monkeypatch, "properties", mine=PROPERTY, causality=PROPERTY, number=3)
    assert plugins.added_properties(["causality"]) == {"mine": PROPERTY}
    taken, number = capsys.readouterr().err.splitlines()
    assert "causality (theirs:causality) is left out: is taken" in taken
    assert "must be a cortexzoo.specs.property_info.AddedProperty" in number


@pytest.mark.parametrize("path", ["nothing_of_this_name:build", "os.path:nothing", "os"])
def test_a_part_that_cannot_be_imported_is_one_line(path: str) -> None:
    with pytest.raises(plugins.PluginError, match=f"plugin {path}: raised"):
        plugins.named(path)
