"""Specs of mixtures: paths of their parts, and what they are refused with."""

from pathlib import Path

import pytest

from cortexzoo.specs import SpecError, load, load_experiment
from cortexzoo.specs.data import MixtureSpec, PreparedPart, TextFiles, TextPart
from tests.specs.conftest import Mistakes, Write

SPEC = """\
kind: data
family: mixture
name: two
parts:
  - {kind: text, weight: 3, source: {kind: files, paths: [a.txt]}}
  - {kind: prepared, weight: 1, path: ships}
"""


def test_paths_are_relative_to_the_file(write: Write, tmp_path: Path) -> None:
    spec = load(write("two.yaml", SPEC), "data")
    assert isinstance(spec, MixtureSpec)
    first, second = spec.parts
    assert isinstance(first, TextPart) and isinstance(first.source, TextFiles) and isinstance(second, PreparedPart)
    assert first.source.paths == (str(tmp_path / "a.txt"),) and second.path == str(tmp_path / "ships")
    assert spec.hash() != load(write("two.yaml", SPEC.replace("weight: 3", "weight: 2")), "data").hash()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SPEC.replace("weight: 3", "weight: 0"), "5:26: parts.0.weight must be > 0, got 0"),
        (SPEC.replace("weight: 3, ", ""), "parts.0.weight is missing"),
        (SPEC.rsplit("  - ", 1)[0], "parts must have at least 2"),
        (SPEC + "validation_fraction: 0.5\ntest_fraction: 0.5\n", "test_fraction must be below"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, message: str, write: Write, mistakes: Mistakes) -> None:
    (line,) = mistakes(write("two.yaml", text), "data")
    assert message in line


def test_tokens_must_suit_the_base(write: Write, tmp_path: Path) -> None:
    data = write("two.yaml", SPEC + "vocabulary: {kind: bpe, size: 300}\n")
    with pytest.raises(SpecError, match=r"data.vocabulary.kind must be bytes, got bpe: the base of"):
        load_experiment("cortex-v2-hybrid", [f"data={data}", "recipe=robust"])
