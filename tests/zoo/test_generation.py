"""Generation carries memory: it equals re-reading everything, for any batch."""

from typing import Any

import pytest
import torch

from cortexzoo.specs.variant import CortexGPTSpec, TransformerSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.errors import NonFiniteLogits
from cortexzoo.zoo.generation import generate, read_all_but_the_last
from cortexzoo.zoo.models.interface import MemoryLanguageModel, ModelOutput
from tests.tolerances import SIDECAR_SPLIT
from tests.zoo.models.hybrid.tiny import CHUNK, relative_error, some_tokens, tiny_hybrid

SPECS = {
    "cortexgpt": CortexGPTSpec(name="small", vocab_size=11, hidden_size=16),
    "transformer": TransformerSpec(name="small", vocab_size=11, hidden_size=16, num_heads=2, num_layers=2),
}


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("family", SPECS)
def test_greedy_generation_equals_reading_everything_again(family: str, batch: int) -> None:
    torch.manual_seed(0)
    model = build_model(SPECS[family])
    prompt = torch.randint(11, (batch, 5), generator=torch.Generator().manual_seed(1))
    generated = generate(model, prompt, 8, temperature=0)
    assert model.training
    text = prompt
    with torch.no_grad():
        for _ in range(8):
            text = torch.cat([text, model.eval()(text).logits[:, -1:].argmax(dim=-1)], dim=1)
    assert torch.equal(generated, text[:, 5:])


def test_each_module_keeps_its_own_mode() -> None:
    model = build_model(SPECS["transformer"])
    apart = next(module for module in model.modules() if not list(module.children())).eval()
    before = [module.training for module in model.modules()]
    generate(model, torch.tensor([[1, 2]]), 2)
    assert [module.training for module in model.modules()] == before
    assert model.training and not apart.training


def test_weights_that_are_fixed_are_folded_once_and_give_the_same_bits() -> None:
    torch.manual_seed(0)
    model = build_model(SPECS["cortexgpt"])
    tokens = torch.randint(11, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model.eval()(tokens).logits
        with model.fixed_weights():
            for _ in range(2):
                assert torch.equal(model(tokens).logits, expected)
        for parameter in model.columns.parameters():
            parameter.mul_(1.5)
        after = model(tokens).logits
    assert not torch.equal(after, expected), "outside, weights count as they are"
    assert torch.equal(after, build_like(model)(tokens).logits)


def build_like(model: MemoryLanguageModel[Any]) -> MemoryLanguageModel[Any]:
    """A fresh model with the same weights."""
    fresh = build_model(SPECS["cortexgpt"]).eval()
    fresh.load_state_dict(model.state_dict())
    return fresh


def test_sampling_follows_its_seed_and_top_k() -> None:
    torch.manual_seed(0)
    model = build_model(SPECS["cortexgpt"])
    prompt = torch.tensor([[1, 2, 3]])
    first = generate(model, prompt, 40, temperature=2.0, seed=1)
    assert torch.equal(first, generate(model, prompt, 40, temperature=2.0, seed=1))
    assert not torch.equal(first, generate(model, prompt, 40, temperature=2.0, seed=2))
    assert torch.equal(generate(model, prompt, 9, top_k=1), generate(model, prompt, 9, temperature=0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"temperature": -1.0}, "temperature must be >= 0, got -1.0"),
        ({"top_k": 0}, "top_k must be >= 1, got 0"),
    ],
)
def test_bad_sampling_arguments_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(build_model(SPECS["cortexgpt"]), torch.tensor([[1]]), 1, **arguments)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_a_model_that_is_not_finite_says_nothing(bad: float, temperature: float) -> None:
    model = build_model(SPECS["transformer"])

    def spoil(_model: object, _arguments: object, output: ModelOutput[None]) -> None:
        output.logits[-1, -1, 3] = bad

    model.register_forward_hook(spoil)
    with pytest.raises(NonFiniteLogits, match="logits are not finite"):
        generate(model, torch.tensor([[1], [2]]), 1, temperature=temperature, top_k=2)
    assert model.training


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one token"):
        generate(build_model(SPECS["cortexgpt"]), torch.zeros(1, 0, dtype=torch.long), 1)


def test_a_text_in_pieces_is_read_as_one_and_a_hybrid_scores_its_end_alone() -> None:
    model = tiny_hybrid().eval()
    tokens = some_tokens(1, 6 * CHUNK + 3)
    last, state = read_all_but_the_last(model, tokens.split(2 * CHUNK - 1, dim=1))
    assert torch.equal(last, tokens[:, 3 * (2 * CHUNK - 1) :])
    assert relative_error(model.read(last, state).logits, model(tokens).logits[:, -1:]) <= SIDECAR_SPLIT
    assert torch.equal(generate(model, last, 9, top_k=1, state=state), generate(model, tokens, 9, top_k=1))
    with pytest.raises(ValueError, match="at least one piece"):
        read_all_but_the_last(model, [])


def test_only_tokens_that_stand_for_something_are_chosen() -> None:
    model = tiny_hybrid()
    chosen = generate(model, some_tokens(4, 3), 50, temperature=5.0, vocab_size=7)
    assert set(chosen.flatten().tolist()) == set(range(7))


def test_what_was_generated_can_be_trained_on_and_the_memory_that_it_began_with() -> None:
    model = tiny_hybrid()
    state = model.read(some_tokens(1, CHUNK + 3)).state  # in the middle of a chunk, with a cache of the base
    generated = generate(model, some_tokens(1, 4), 2 * CHUNK, state=state)
    assert not generated.is_inference()
    logits = model.train()(generated, state).logits
    torch.nn.functional.cross_entropy(logits[0, :-1], generated[0, 1:]).backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_after_a_text_was_generated_a_fresh_hybrid_learns() -> None:
    model = tiny_hybrid()
    generated = generate(model, some_tokens(1, 4), CHUNK)
    model.train()(generated).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_what_a_hook_keeps_while_a_text_is_generated_can_be_trained_on() -> None:
    model, kept = tiny_hybrid(), []
    model.base.norms[0].register_forward_hook(lambda _module, _given, output: kept.append(output))  # type: ignore[union-attr]
    generate(model, some_tokens(1, 4), 3)
    probe = torch.nn.Linear(kept[0].shape[-1], 1)
    probe(torch.cat(kept, dim=1)).sum().backward()
    assert probe.weight.grad is not None and not kept[0].is_inference()
