"""A dumped spec loads back to an equal spec."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cortexzoo.specs import dump_yaml, load, shipped_names
from cortexzoo.specs.base import NamedSpec
from cortexzoo.specs.data import TextFiles, TextSpec
from cortexzoo.specs.kinds import KINDS, Kind
from tests.property.strategies import specs_of


def loaded_back(spec: NamedSpec) -> NamedSpec:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "spec.yaml")
        file.write_text(dump_yaml(spec), encoding="utf-8", newline="")
        return load(file)


@pytest.mark.parametrize("kind", KINDS)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_loading_what_was_dumped_is_the_identity(kind: Kind, data: st.DataObject) -> None:
    spec = data.draw(specs_of(kind))
    assert loaded_back(spec) == spec


@pytest.mark.parametrize("kind", KINDS)
def test_shipped_specs_come_back(kind: Kind) -> None:
    for name in shipped_names(kind):
        assert loaded_back(load(name, kind)) == load(name, kind)


@pytest.mark.parametrize(
    "text", ["yes", "1e-4", "0o7", "null", "~", " a  b ", "a\nb\n", "^\x85³", "\x00\t", "#", "<<", "🜚"]
)
def test_text_stays_text(text: str) -> None:
    spec = TextSpec(name="n", description=text, source=TextFiles(paths=("/" + text.replace("\0", ""),)))
    assert loaded_back(spec) == spec


def test_long_text_comes_back() -> None:
    spec = TextSpec(name="n", description=': :: :::::::\n\n ::::::::::\u2028 :::::::::""\n \x85: :' * 9)
    assert loaded_back(spec) == spec


def test_null_is_written_out() -> None:
    assert "validation_sequences: null\n" in dump_yaml(load("robust", "recipe"))
