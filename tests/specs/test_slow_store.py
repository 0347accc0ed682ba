"""A slow store that cannot be: one line, before anything is built."""

import pytest

from cortexzoo.specs import SpecError, load_experiment
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.slow_store import ProductStore

HYBRID = "cortex-v2-hybrid"
STORE = "variant.slow_store={kind: products, features: 1024}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ["variant.mixer.key_products=0", "variant.slow_store={kind: products, features: 3000}"],
            "slow_store.features must be at most 2080",
        ),
        (["variant.slow_store={kind: products, features: 20000}"], "variant.slow_store.features"),
        (["variant.slow_store={kind: products, features: 64, layer: 7}"], "slow_store.layer must be one of"),
        (["variant.slow_store={kind: products, order: 1}"], "variant.slow_store.order"),
        (["variant.slow_store={kind: products, gain: 0.0}"], "variant.slow_store.gain"),
        (["recipe.sleep={kind: consolidate}"], "without a slow store, and cortex-v2-hybrid has none"),
        ([STORE, "recipe.sleep={kind: consolidate, ridge: 0.0}"], "recipe.sleep.ridge"),
        ([STORE, "recipe.sleep={kind: consolidate, steps: 8}"], "recipe.sleep.steps"),
    ],
)
def test_a_mistake_is_one_line(changes: list[str], said: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_experiment(HYBRID, changes)
    (line,) = raised.value.lines
    assert said in line


def test_only_a_hybrid_can_consolidate_in_sleep() -> None:
    with pytest.raises(SpecError, match="without a slow store, and cortexgpt-stable has none"):
        load_experiment("cortexgpt-stable", ["recipe.sleep={kind: consolidate}"])


def test_a_store_is_off_unless_asked_for() -> None:
    plain, grown = (load_experiment(HYBRID, changes).variant for changes in ([], [STORE]))
    assert isinstance(plain, HybridSpec) and isinstance(grown, HybridSpec)
    assert plain.slow_store.kind == "none" and plain.slow_store_of(0) is None
    assert grown.slow_store_of(0) == ProductStore(features=1024) and grown.slow_store_of(1) is None
