"""A sleep that consolidates: what the day wrote is in the slow store, and nothing else has changed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.sleep import AcceptAlways, AcceptHeldOut, ConsolidateSleep
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.weights import with_slow_store
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import find_policy
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.transfer import consolidate, read_again
from tests.zoo.models.hybrid.tiny import relative_error, some_tokens, tiny_hybrid
from tests.zoo.training.objectives.tiny import tiny_data, tiny_experiment
from tests.zoo.training.tiny import At, Notebook

STORE = ProductStore(features=30)
EAGER = {"least_write": 0.3, "every": 4, "reservoir": 3}


def tiny_grown() -> Hybrid:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return with_slow_store(tiny_hybrid(), STORE)


def trainer_of(spec: ConsolidateSleep, **recipe: Any) -> TrainingLoop:
    plain = tiny_experiment(**recipe)
    variant = HybridSpec.model_validate({**dict(plain.variant), "slow_store": STORE})
    asleep = plain.recipe.model_copy(update={"sleep": spec})
    experiment = ExperimentSpec.model_validate({**dict(plain), "variant": variant, "recipe": asleep})
    return TrainingLoop(tiny_grown(), experiment, tiny_data(), recorder=Notebook())


def sleep_of(trainer: TrainingLoop) -> Sleep:
    sleep = find_policy(trainer.policies, Sleep)
    assert sleep is not None
    return sleep


def store_of(model: object) -> dict[str, Tensor]:
    assert isinstance(model, Hybrid) and model.slow_store is not None
    return {name: tensor.clone() for name, tensor in model.slow_store.state_dict().items()}


def test_what_the_day_wrote_is_answered_and_no_weight_has_moved() -> None:
    model, text = tiny_grown(), some_tokens(1, 13)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    base = {name: tensor.clone() for name, tensor in model.base.network.state_dict().items()}
    written = read_again(model, text)
    chosen = written.strength[0, 1:] > 0.3
    assert chosen.any()
    new = consolidate(model, [text], ConsolidateSleep(least_write=0.3, same_key=1.0))
    assert new == int(chosen.sum()) and model.slow_store is not None
    answer, novelty = model.slow_store.answer(written.keys[0, 1:][chosen])
    assert relative_error(answer, written.values[0, 1:][chosen]) < 0.2
    assert novelty.max() < model.slow_store.threshold
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert all(torch.equal(tensor, base[name]) for name, tensor in model.base.network.state_dict().items())


@torch.no_grad()
def test_the_key_of_a_token_is_the_query_before_it_whatever_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    model, text = tiny_grown(), some_tokens(2, 29)
    whole = read_again(model, text)
    monkeypatch.setattr("cortexzoo.zoo.models.hybrid.model.TOKENS_AT_ONCE", 1)
    in_pieces = read_again(model, text)
    for name in ("keys", "values", "strength"):
        assert torch.allclose(getattr(whole, name), getattr(in_pieces, name), atol=1e-5), name
    assert not whole.keys[:, 0].any() and whole.keys.shape[:2] == whole.strength.shape == text.shape


def test_a_day_without_texts_and_a_model_without_a_store() -> None:
    model = tiny_grown()
    before = store_of(model)
    assert consolidate(model, [], ConsolidateSleep()) == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in store_of(model).items())
    with pytest.raises(ValueError, match="no slow store to consolidate into: give its variant a slow_store"):
        consolidate(tiny_hybrid(), [some_tokens(1, 8)], ConsolidateSleep())


def test_what_was_read_again_is_listened_to_no_longer() -> None:
    model = tiny_grown()
    read_again(model, some_tokens(2, 9))
    assert [name for name, module in model.named_modules() if module._forward_pre_hooks] == []


def test_a_sleep_in_training_fills_the_store_and_ends_the_day() -> None:
    trainer = trainer_of(ConsolidateSleep(**EAGER, acceptance=AcceptAlways()))
    trainer.run()
    sleep = sleep_of(trainer)
    assert (sleep.sleeps, sleep.accepted, sleep.updates_taken) == (2, 2, 2)
    assert int(store_of(trainer.model)["pairs"]) > 0
    assert sleep.reservoir.examples == ()


def test_a_sleep_that_may_not_stay_leaves_every_bit() -> None:
    refused = trainer_of(ConsolidateSleep(**EAGER, acceptance=AcceptHeldOut(max_loss_ratio=1e-6)))
    awake = trainer_of(ConsolidateSleep(**EAGER | {"every": 100}))
    refused.run(), awake.run()
    assert (sleep_of(refused).sleeps, sleep_of(refused).accepted) == (2, 0)
    assert len(sleep_of(refused).reservoir.examples) == 3, "what was not moved is read again in the next sleep"
    expected = awake.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in refused.model.state_dict().items())


def test_a_store_whose_solve_fails_is_a_refused_update(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> int:
        raise torch.linalg.LinAlgError("not positive-definite")

    monkeypatch.setattr("cortexzoo.zoo.training.sleep.consolidating.consolidate", fails)
    trainer = trainer_of(ConsolidateSleep(**EAGER))
    trainer.run()
    assert (sleep_of(trainer).updates_taken, sleep_of(trainer).updates_refused) == (0, 2)
    assert len(sleep_of(trainer).reservoir.examples) == 3, "what was not moved is read again in the next sleep"


def test_a_run_that_goes_on_ends_with_the_same_store(tmp_path: Any) -> None:
    spec = ConsolidateSleep(**EAGER, acceptance=AcceptAlways())
    whole = trainer_of(spec)
    whole.run()
    first = trainer_of(spec)
    first.policies.append(At("step_taken", {5}, lambda trainer, _: trainer.stop("interrupted")))
    first.run()
    assert first.position == 5
    first.save(tmp_path / "half")
    rest = trainer_of(spec)
    rest.load(tmp_path / "half")
    rest.run()
    expected = whole.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in rest.model.state_dict().items())
