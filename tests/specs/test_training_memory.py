"""The memory of training: exact where it is counted, and near where it is estimated."""

import pytest
import torch
from torch import Tensor

from cortexzoo.specs import RecipeSpec
from cortexzoo.specs.state_sizes import FLOAT
from cortexzoo.specs.training_memory import activations, training_memory
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.training.optimizer import build_optimizer
from tests.specs.costed import COSTED, built, some_tokens

ESTIMATE = 0.2
"""The estimate counts what is large; small tensors and masks are left out."""
UNLIKE = {"learns not from retrieval", "stores its output"}
"""Here torch saves tensors that nothing will be computed from, and drops them before the backward pass."""


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


@pytest.mark.parametrize("name", sorted(set(COSTED) - UNLIKE))
def test_activations_are_estimated_within_a_fifth(name: str) -> None:
    variant = COSTED[name]
    model, state = built(variant, rows=4)
    kept = kept_bytes(model, state, some_tokens(4, 128))
    assert FLOAT * activations(variant, 4, 128) == pytest.approx(kept, rel=ESTIMATE)


@pytest.mark.parametrize("name", ["stable", "transformer", "hybrid on qwen3"])
def test_everything_else_is_exact(name: str) -> None:
    variant, recipe = COSTED[name], RecipeSpec(name="r", batch_size=2, sequence_length=30)
    model, state = built(variant, rows=2)
    optimizer = build_optimizer(model, recipe.optimizer)
    output = model(some_tokens(2, 30), state)
    output.logits.sum().backward()
    optimizer.step()
    predicted = training_memory(variant, recipe)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert predicted.weights == predicted.gradients == sum(p.nbytes for p in trained)
    moments = [each[key] for each in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq") if key in each]
    # A parameter that got no gradient yet has no moments yet.
    missing = sum(p.nbytes for p in trained if p not in optimizer.state)
    assert predicted.moments == sum(moment.nbytes for moment in moments) + 2 * missing
    frozen = model.base.network.parameters() if isinstance(model, Hybrid) else ()
    assert predicted.frozen_weights == sum(parameter.nbytes for parameter in frozen)
    assert predicted.memories == sum(tensor.nbytes for tensor in output.state.tensors().values())
    parts = (predicted.weights, predicted.frozen_weights, predicted.gradients, predicted.moments, predicted.memories)
    assert predicted.total == sum(parts) + predicted.activations
