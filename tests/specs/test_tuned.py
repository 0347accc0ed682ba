"""Specs of bases that are trained themselves, and what they are refused with."""

import pytest

from cortexzoo.specs import SpecError, load, load_experiment
from cortexzoo.specs.tuned import AllWeights, LowRankAdapters, TunedSpec
from cortexzoo.specs.variant import backbone_of
from tests.specs.conftest import Mistakes, Write

SPEC = "kind: variant\nfamily: tuned\nname: mine\n"
HALF = "backbone: {kind: folder, path: base, dtype: float16, architecture: {layout: gpt2}}\n"


def test_the_method_is_a_part(write: Write) -> None:
    lora = load(write("mine.yaml", SPEC), "variant")
    full = load(write("mine.yaml", SPEC), "variant", ["method={kind: full}"])
    assert isinstance(lora, TunedSpec) and isinstance(full, TunedSpec)
    assert lora.method == LowRankAdapters() and full.method == AllWeights()
    assert backbone_of(lora) == backbone_of(load("cortex-v2-hybrid", "variant")), "the same base, trained once"
    assert lora.hash() != full.hash()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SPEC + "method: {kind: lora, rank: 0}", "4:28: method.rank must be > 0, got 0"),
        (SPEC + "method: {kind: lorra}", "method.kind must be lora or full, got 'lorra'"),
        (SPEC + "chunk_size: 4096", "chunk_size must be at most backbone.architecture.max_positions = 1024"),
        (
            SPEC + HALF + "method: {kind: full}",
            "backbone.dtype must be float32 or bfloat16 with `method: {kind: full}`",
        ),
        (SPEC + "backbone: {kind: scratch}", "backbone.kind must be trained, hub, folder, gguf or package"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, message: str, write: Write, mistakes: Mistakes) -> None:
    (line,) = mistakes(write("mine.yaml", text), "variant")
    assert message in line


def test_a_base_that_changes_is_none_to_stay_near(write: Write) -> None:
    variant = write("mine.yaml", SPEC)
    with pytest.raises(SpecError, match=r"in_chunk.kind must be none or samples, got kl: mine has no frozen base"):
        load_experiment("cortex-v2-hybrid", [f"variant={variant}"])
    load_experiment("cortex-v2-hybrid", [f"variant={variant}", "recipe.objective.in_chunk={kind: none}"])
