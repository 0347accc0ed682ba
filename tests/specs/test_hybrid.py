"""Hybrid variants: what does not fit together is said in one line, and counts follow from the numbers."""

from pathlib import Path

import pytest

from cortexzoo.specs import load
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.mixer import DecaySpec
from tests.specs.conftest import Mistakes, Write


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("chunk_size=0", "chunk_size must be > 0, got 0"),
        ("chunk_size=5000", "chunk_size must be at most backbone.architecture.max_positions = 1024, got 5000"),
        ("layers=[2]", "layers must be below backbone.architecture.num_layers = 2, got 2"),
        ("layers=[]", "layers must name at least one layer, each once and in order, got []"),
        ("layers=[1, 0]", "layers must name at least one layer, each once and in order, got [1, 0]"),
        ("mixer.window_size=0", "mixer.window_size must be > 0, got 0"),
        ("mixer.key_products=17", "key_products must be at most head_dim / 2 = 16, got 17"),
        ("mixer.write_threshold=1", "mixer.write_threshold must be < 1, got 1"),
        ("mixer.write_width=-1", "mixer.write_width must be >= 0, got -1"),
        ("mixer.write_bias=50", "mixer.write_bias must be <= 20, got 50"),
        ("mixer.decay.slowest_bias=21", "mixer.decay.slowest_bias must be <= 20, got 21"),
        ("mixer.decay.slowest_bias=1", "fastest_bias must be at most slowest_bias = 1.0, got 12.0"),
        ("mixer.conv.key_lags=[4]", "key_lags must be below kernel_size = 4, got 4"),
        ("backbone.architecture.num_heads=5", "hidden_size must be a multiple of num_heads = 5"),
        ("backbone.architecture.num_kv_heads=3", "num_kv_heads must divide num_heads = 4, got 3"),
        ("backbone.architecture.vocab_size=99", "vocab_size must be at least 256"),
        ("backbone.training.sequence_length=2000", "training.sequence_length must be at most"),
        ("backbone.kind=cloud", "cloud"),
    ],
)
def test_what_does_not_fit_is_named(mistakes: Mistakes, override: str, told: str) -> None:
    lines = mistakes("cortex-v2-hybrid", "variant", [override])
    assert len(lines) == 1
    assert told in lines[0]


def test_a_base_of_ones_own_is_found_relative_to_the_file_that_names_it(write: Write, tmp_path: Path) -> None:
    write(
        "odd [1]/mine.yaml",
        "kind: variant\nname: mine\nextends: cortex-v2-hybrid\n"
        "backbone: {kind: folder, path: bases/mine, architecture: {layout: gpt2}}\n",
    )
    variant = load("odd [1]/mine.yaml", "variant")
    assert isinstance(variant, HybridSpec)
    assert variant.backbone.kind == "folder"
    assert variant.backbone.path == str(tmp_path / "odd [1]" / "bases/mine")


def test_one_head_is_the_slowest() -> None:
    assert DecaySpec(fastest_bias=6.0, slowest_bias=12.0).biases(1) == [12.0]
    assert DecaySpec(fastest_bias=6.0, slowest_bias=12.0).biases(4) == [12.0, 10.0, 8.0, 6.0]


def test_the_users_base_and_its_sidecars() -> None:
    variant = load("cortex-v2-hybrid-qwen", "variant")
    assert isinstance(variant, HybridSpec)
    assert (variant.mixer.window_size, variant.mixer.head_dim, variant.chunk_size) == (128, 64, 512)
