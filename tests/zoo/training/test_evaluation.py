"""The loss against a plain sum, and evaluation that leaves no trace."""

import pytest
import torch

from cortexzoo.zoo.data.order import cut_windows
from cortexzoo.zoo.training.evaluation import autocast, evaluate, lm_loss, undisturbed
from tests.zoo.training.tiny import HIDDEN, TinyState, same_tensors, tiny_data, tiny_model, weights

TOKENS = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])


def test_the_loss_is_the_mean_over_next_bytes_in_nats() -> None:
    model = tiny_model(dropout=0.0).double()
    loss, output = lm_loss(model, TOKENS)
    probability = output.logits.softmax(dim=-1)
    expected = [-probability[b, t, TOKENS[b, t + 1]].log() for b in range(2) for t in range(3)]
    assert output.logits.shape == (2, 3, 256)
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-12)


def test_the_loss_is_taken_in_fp32_under_bf16() -> None:
    model = tiny_model(dropout=0.0)
    with autocast(torch.device("cpu"), "bf16"):
        loss, output = lm_loss(model, TOKENS)
    assert output.logits.dtype == torch.bfloat16
    assert loss.dtype == torch.float32
    expected = torch.nn.functional.cross_entropy(output.logits.double().flatten(0, 1), TOKENS[:, 1:].flatten())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_loss_starts_from_the_given_memory() -> None:
    model = tiny_model(dropout=0.0)
    full = TinyState(torch.ones(2, HIDDEN), torch.ones(3, HIDDEN))
    assert lm_loss(model, TOKENS, full)[0] != lm_loss(model, TOKENS)[0]


def test_a_memory_can_be_switched_off() -> None:
    model, data = tiny_model(dropout=0.0), tiny_data()
    on, off = (
        evaluate(model, data, sequence_length=8, batch_size=4, disabled=disabled) for disabled in ((), {"short_term"})
    )
    with torch.no_grad():
        model.short.weight.zero_()
        model.short.bias.zero_()
    assert off != on
    assert off == evaluate(model, data, sequence_length=8, batch_size=4)


def test_evaluation_leaves_no_trace() -> None:
    model = tiny_model(dropout=0.5)
    model.long.eval()
    before, generator = weights(model), torch.get_rng_state()
    with undisturbed(model):
        assert not any(module.training for module in model.modules())
        assert not torch.is_grad_enabled()
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), generator)
    assert {name for name, module in model.named_modules() if not module.training} == {"long"}
    losses = {evaluate(model, tiny_data(), sequence_length=8, batch_size=4) for _ in range(3)}
    assert len(losses) == 1
    assert same_tensors(weights(model), before)


def test_modes_come_back_after_an_error() -> None:
    model = tiny_model()
    with pytest.raises(RuntimeError, match="inside"), undisturbed(model):
        raise RuntimeError("inside")
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("at_most", [None, 7])
def test_every_target_weighs_the_same_however_batches_are_cut(at_most: int | None) -> None:
    model, data = tiny_model(), tiny_data()
    starts = data.validation_starts(8, at_most)
    model.eval()
    expected = lm_loss(model, cut_windows(data.validation, starts, 8))[0].item()
    for batch_size in (1, 3, 64):
        measured = evaluate(model, data, sequence_length=8, batch_size=batch_size, at_most=at_most)
        assert measured == pytest.approx(expected, rel=1e-6)


def test_a_state_is_handed_through_between_batches() -> None:
    data, store = tiny_data(), torch.ones(3, HIDDEN)
    state = TinyState(torch.ones(4, HIDDEN), store)

    def held_out(carry_over: bool, state: TinyState | None) -> float:
        return evaluate(tiny_model(carry_over=carry_over), data, sequence_length=8, batch_size=4, state=state)

    empty, long_term, both = held_out(False, None), held_out(False, state), held_out(True, state)
    assert len({empty, long_term, both}) == 3
    assert held_out(True, TinyState(torch.zeros(4, HIDDEN), store)) == pytest.approx(long_term)
