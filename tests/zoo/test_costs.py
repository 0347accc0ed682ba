"""What is counted on the meta device is what a real model has, keeps, saves and computes."""

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cortexzoo.specs import load
from cortexzoo.specs.variant import TransformerSpec
from cortexzoo.zoo import costs
from cortexzoo.zoo.costs import LATER, BatchCosts, batch_costs, parameter_count
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from tests.quick import every
from tests.zoo.costed import COSTED, built, some_tokens

ROWS, LENGTH = 3, 70


class Counted(dict[str, BatchCosts]):
    """Of each variant once it is asked for."""

    def __missing__(self, name: str) -> BatchCosts:
        self[name] = batch_costs(COSTED[name], ROWS, LENGTH)
        return self[name]


@pytest.fixture(scope="module")
def counted() -> dict[str, BatchCosts]:
    return Counted()


def search(name: str) -> int:
    """Operations of an exact search for every token: FAISS does it, where torch cannot count.

    What a search in lists costs depends on the text, and is left out.
    """
    memory = getattr(COSTED[name], "memory", None)
    if memory is not None and memory.long_term.kind == "contexts":
        return 0
    if memory is None or not (capacity := getattr(memory.long_term, "capacity", None)):
        return 0
    return int(2 * ROWS * LENGTH * memory.long_term.code_size * capacity)


def frozen_weights(model: MemoryLanguageModel) -> list[Tensor]:
    base = model.base.network.parameters() if isinstance(model, Hybrid) else ()
    return [each for each in base if not each.requires_grad]


@pytest.mark.parametrize("name", every(2, [*COSTED]))
def test_parameters_are_those_of_the_real_model(name: str, counted: dict[str, BatchCosts]) -> None:
    model, _ = built(COSTED[name], ROWS)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert counted[name].trained_parameters == sum(each.numel() for each in trained) == parameter_count(COSTED[name])
    assert counted[name].frozen_parameters == sum(each.numel() for each in frozen_weights(model))
    assert counted[name].frozen_bytes == sum(each.nbytes for each in frozen_weights(model))


def test_parts_of_a_transformer_are_those_of_the_textbook(counted: dict[str, BatchCosts]) -> None:
    spec = COSTED["transformer"]
    assert isinstance(spec, TransformerSpec)
    d, m, layers = spec.hidden_size, spec.intermediate_size, spec.num_layers
    assert counted["transformer"].parameters == {
        "embedding": 256 * d,
        "layers.attention_norm": layers * 2 * d,
        "layers.query_key_value": layers * 3 * d * d,
        "layers.attention_output": layers * d * d,
        "layers.feed_forward_norm": layers * 2 * d,
        "layers.feed_forward": layers * (2 * d * m + d + m),
        "final_norm": 2 * d,
        "vocabulary": 256 * d,
    }


@pytest.mark.parametrize("name", every(2, [*COSTED]))
def test_memories_have_the_bytes_of_real_ones(name: str, counted: dict[str, BatchCosts]) -> None:
    model, state = built(COSTED[name], ROWS)
    tokens = some_tokens(ROWS, LATER * LENGTH)
    with torch.no_grad():
        first = model(tokens[:, :LENGTH], state).state
        later = model(tokens, state).state
    assert sum(counted[name].states.values()) == bytes_of(first)
    assert sum(counted[name].states_later.values()) == bytes_of(later)


def test_only_a_cache_grows_with_the_text(counted: dict[str, BatchCosts]) -> None:
    cache, ring = counted["transformer"], counted["stable"]
    assert cache.states_later == {name: LATER * size for name, size in cache.states.items()}
    assert ring.states_later == ring.states
    assert ring.states["short_term.keys"] == ROWS * 40 * 32 * 4


@pytest.mark.parametrize("name", every(2, [*COSTED]))
def test_operations_are_those_that_torch_counts_in_a_real_model(name: str, counted: dict[str, BatchCosts]) -> None:
    model, state = built(COSTED[name], ROWS)
    tokens = some_tokens(ROWS, LENGTH)
    # The counter sees through attention only where it is made of plain products.
    with sdpa_kernel(SDPBackend.MATH):
        with counter() as forward, torch.no_grad():
            model(tokens, state)
        with counter() as training:
            logits = model(tokens, state).logits
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
    assert sum(counted[name].forward_flops.values()) == forward.get_total_flops() + search(name)
    assert counted[name].training_flops == training.get_total_flops() + search(name)


def test_operations_are_counted_where_they_happen(counted: dict[str, BatchCosts]) -> None:
    stable, hybrid = counted["stable"].forward_flops, counted["hybrid on qwen2"].forward_flops
    assert stable["vocabulary"] == 2 * ROWS * LENGTH * 32 * 256
    assert set(stable) == {"memory", "columns", "vocabulary"}
    assert set(hybrid) == {"sidecars", "base"}
    assert set(counted["hybrid from scratch"].forward_flops) == {"sidecars", "base"}


@pytest.mark.parametrize("name", every(2, [*COSTED]))
def test_activations_are_what_autograd_saves_in_a_real_model(name: str, counted: dict[str, BatchCosts]) -> None:
    model, state = built(COSTED[name], ROWS)
    with sdpa_kernel(SDPBackend.MATH):
        kept = kept_bytes(model, state, some_tokens(ROWS, LENGTH))
    assert counted[name].activation_bytes == pytest.approx(kept, rel=0.02)


def test_counting_leaves_the_generator_alone() -> None:
    before = torch.get_rng_state()
    batch_costs(COSTED["stable"], 1, 8)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_store_beside_the_weights_is_a_memory() -> None:
    variant = load("cortex-v2-hybrid", "variant", ["slow_store={kind: products, features: 1024}"])
    curvature, others, usual, pairs = 1024 * 1024, 1024 * (2 * 64 + 64), 4, 8
    assert batch_costs(variant, 1, 8).states["sidecars.slow_store"] == 4 * (curvature + others) + usual + pairs


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("transformer", ["num_layers=6"]),
        ("cortex-v2-hybrid-qwen", ["backbone.architecture.num_layers=6"]),
        ("cortex-v2-hybrid-scratch", ["backbone.architecture.num_layers=5", "slow_store={kind: products}"]),
        ("cortex-v2-hybrid-scratch", ["backbone.architecture.num_layers=3", "layers=[1]"]),
        ("cortex-v2-hybrid-qwen", ["backbone.architecture.num_layers=7", "layers=[2, 4, 5]"]),
    ],
)
def test_layers_that_are_alike_are_counted_once(name: str, changes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    variant = load(name, "variant", changes)
    found = batch_costs(variant, 2, 40)
    monkeypatch.setattr(costs, "_stacks", lambda whole: (whole,))
    assert batch_costs(variant, 2, 40) == found


def test_a_frozen_base_has_the_bytes_of_its_dtype() -> None:
    variant = load("cortex-v2-hybrid-smollm2", "variant", ["backbone.dtype=bfloat16"])
    found = batch_costs(variant, 1, 8)
    assert (found.frozen_parameters, found.frozen_bytes) == (134_515_008, 2 * 134_515_008)


def bytes_of(state: MemoryState) -> int:
    return sum(tensor.nbytes for tensor in state.tensors().values())


def kept_bytes(model: MemoryLanguageModel, state: MemoryState, tokens: Tensor) -> int:
    """Bytes that the graph of a loss keeps, apart from weights and state."""
    frozen = list(model.base.network.parameters()) if isinstance(model, Hybrid) else []
    known = [*model.parameters(), *frozen, *state.tensors().values()]
    own = {tensor.untyped_storage().data_ptr() for tensor in known}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        torch.nn.functional.cross_entropy(model(tokens, state).logits.flatten(0, 1), tokens.flatten())
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


def counter() -> FlopCounterMode:
    def in_place(_into: object, a: list[int], b: list[int], *_: object, **__: object) -> int:
        return 2 * a[0] * a[1] * a[2] * b[2]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: in_place})


def test_a_diary_may_be_the_only_memory() -> None:
    alone = load(
        "cortexgpt-stable",
        "variant",
        [
            "hidden_size=32",
            "columns.num_columns=3",
            "memory={short_term: {kind: none}, long_term: {kind: contexts, capacity: 48, lists: 1}}",
        ],
    )
    assert sum(batch_costs(alone, ROWS, LENGTH).states.values()) > 0
