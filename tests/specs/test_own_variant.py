"""Specs of modules and of architectures of transformers: what they take, and one message for each mistake."""

import hashlib
from pathlib import Path

import pytest

from cortexzoo.specs import SpecError, dump_yaml, load
from cortexzoo.specs.own_variant import HuggingFaceSpec, ModuleSpec

MODULE = "kind: variant\nfamily: module\nname: mine\nsource: mine.py:make\n"
LLAMA = "kind: variant\nfamily: huggingface\nname: mine\nmodel_type: llama\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text("raise RuntimeError('never run while a spec is read')\n")
    return tmp_path


def written(folder: Path, text: str) -> str:
    (folder / "mine.yaml").write_text(text)
    return str(folder / "mine.yaml")


def test_the_sum_of_the_file_is_part_of_the_spec(folder: Path) -> None:
    spec = load(written(folder, MODULE), "variant", ["arguments.width=48"])
    assert isinstance(spec, ModuleSpec)
    assert spec.sha256 == hashlib.sha256((folder / "mine.py").read_bytes()).hexdigest()
    assert (spec.file, spec.factory, spec.arguments) == (str(folder / "mine.py"), "make", {"width": 48})
    (folder / "mine.py").write_text("pass\n")
    again = load(written(folder, dump_yaml(spec)), "variant")
    assert again == spec, "a sum that is written stays"
    assert load(written(folder, MODULE), "variant", ["arguments.width=48"]).hash() != spec.hash()


def test_a_configuration_may_contain_lists_and_mappings(folder: Path) -> None:
    config = (
        "config: {hidden_size: 16, layer_types: [a, b], rope_parameters: {rope_type: default}, rope_scaling: null}\n"
    )
    spec = load(written(folder, LLAMA + config), "variant")
    assert isinstance(spec, HuggingFaceSpec)
    assert spec.config == {
        "hidden_size": 16, "layer_types": ["a", "b"], "rope_parameters": {"rope_type": "default"}, "rope_scaling": None,
    }  # fmt: skip
    assert load(written(folder, dump_yaml(spec)), "variant") == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODULE + "arguments: {width: [1]}", "5:20: arguments.width: must be a number, a word, or true or false"),
        (MODULE + "arguments: [1]", "5:12: arguments must be a mapping, got a list"),
        (MODULE + "max_length: 0", "5:13: max_length must be > 0, got 0"),
        (MODULE.replace("mine.py:", "other.py:"), "other.py cannot be read: No such file or directory"),
        (
            MODULE.replace("mine.py:make", "mine.py"),
            "4:9: source must be FILE.py:FACTORY, as in my_model.py:make_model",
        ),
        (LLAMA + "config: 3", "5:9: config must be a mapping, got 3"),
        (LLAMA.replace("model_type: llama\n", ""), "model_type is missing"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, message: str, folder: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(written(folder, text), "variant")
    (line,) = caught.value.lines
    assert message in line
