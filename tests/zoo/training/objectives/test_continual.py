"""One text after another: which rows are replayed, what they are kept near, what is measured, and exact resumption."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cortexzoo.specs import SpecError, load_experiment
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.objective import Continual, NoReplay, ReservoirReplay
from cortexzoo.zoo.data.order import cut_windows
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives import build, continual
from cortexzoo.zoo.training.objectives.continual import DIVERGENCE, ContinualObjective
from tests.zoo.training.tiny import At, Notebook, same_tensors, tiny_model, tiny_spec, weights


def walk(length: int) -> bytes:
    """Bytes from 100 on, each with two that may follow."""
    places, noise = [0], np.random.default_rng(0).integers(2, size=length)
    for step in noise:
        places.append(int(3 * places[-1] + step) % 50)
    return bytes(100 + place for place in places)


EARLIER = TextData.from_bytes(walk(1500), 0.1, 0.1)
LATER = TextData.from_bytes(bytes((i * i + 3 * (i % 7)) % 61 for i in range(2000)), 0.1, 0.1)
REPLAY = ReservoirReplay(rows=1, windows=5, kl_weight=1.0)


@pytest.fixture(autouse=True)
def _two_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "earlier_text", lambda *_: EARLIER)


def spec(replay: Any = REPLAY, **recipe: Any) -> ExperimentSpec:
    return tiny_spec(objective=Continual(earlier_steps=6, replay=replay), **recipe)


def trainer_of(experiment: ExperimentSpec, **kwargs: Any) -> TrainingLoop:
    return TrainingLoop(tiny_model(dropout=0.0), experiment, LATER, **kwargs)


def objective_of(trainer: TrainingLoop) -> ContinualObjective:
    assert isinstance(trainer.objective, ContinualObjective)
    return trainer.objective


def texts_of(tokens: torch.Tensor) -> list[str]:
    """The two have no byte in common."""
    return ["earlier" if row.min() >= 100 else "later" for row in tokens]


def test_first_the_earlier_text_then_the_later_one_with_a_replayed_row() -> None:
    objective = objective_of(trainer_of(spec()))
    for number in range(1, 7):
        assert texts_of(objective.examples(number).tokens[0]) == ["earlier"] * 4
    kept = {
        bytes(cut_windows(EARLIER.train, objective.earlier_order.starts(int(n), 1), 8)[0].tolist())
        for n in objective.replay.kept
    }
    again = set()
    for number in range(7, 40):
        tokens = objective.examples(number).tokens[0]
        assert texts_of(tokens) == ["later", "later", "later", "earlier"]
        again.add(bytes(tokens[-1].tolist()))
    assert again == kept and len(kept) == 5
    assert max(objective.replay.kept) < 6 * 4, "only what was trained on is kept"


def test_without_replay_the_later_text_has_every_row_of_its_order() -> None:
    objective = objective_of(trainer_of(spec(NoReplay())))
    tokens = objective.examples(7).tokens[0]
    assert torch.equal(tokens, cut_windows(LATER.train, LATER.training_order(8, 0).starts(0, 4), 8))


def test_places_of_the_two_texts_never_coincide(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []
    model = tiny_model()
    monkeypatch.setattr(type(model), "placed", lambda _self, state, places: seen.append(places.numpy()) or state)
    objective = objective_of(trainer_of(spec()))
    for number in (1, 7):
        tokens = objective.examples(number).tokens[0]
        objective.loss(model, tokens, None, model.initial_state(4), number - 1)
    assert (seen[0] < len(EARLIER.train)).all()
    assert (seen[1][:3] >= len(EARLIER.train)).all() and seen[1][3] < len(EARLIER.train)


def test_the_replayed_rows_are_kept_near_the_earlier_self() -> None:
    trainer = trainer_of(spec())
    objective = objective_of(trainer)
    before = objective.before.model = tiny_model(seed=1, dropout=0.0)
    tokens = objective.examples(7).tokens[0]
    model = trainer.model
    loss, output = objective.loss(model, tokens, None, model.initial_state(4), 6)
    plain, _ = objective.loss_at(model, tokens, None, model.initial_state(4))
    now = model(tokens[-1:, :-1], model.initial_state(1)).logits.log_softmax(-1)
    then = before(tokens[-1:, :-1], before.initial_state(1)).logits.log_softmax(-1)
    apart = (then.exp() * (then - now)).sum(-1).mean()
    assert torch.allclose(output.readings[DIVERGENCE], apart, atol=1e-6)
    assert torch.allclose(loss, plain + apart, atol=1e-6)
    torch.autograd.backward(loss)
    assert all(parameter.grad is None for parameter in before.parameters())


def test_the_earlier_self_is_the_model_at_the_change_and_stays_as_it_was() -> None:
    notebook = Notebook()
    trainer = trainer_of(spec(), recorder=notebook)
    objective = objective_of(trainer)
    kept: list[dict[str, torch.Tensor]] = []
    original = continual._frozen

    def frozen(model: MemoryLanguageModel[Any]) -> MemoryLanguageModel[Any]:
        kept.append(weights(model))
        return original(model)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(continual, "_frozen", frozen)
        result = trainer.run()
    assert notebook.count("text_changed") == [6]
    before = objective.before.model
    assert before is not None and len(kept) == 1 and same_tensors(weights(before), kept[0])
    assert not same_tensors(weights(trainer.model), kept[0])
    assert result.earlier_loss_before == objective.before.loss
    assert None not in (result.earlier_loss, result.later_loss)
    assert result.replayed_windows == 5
    assert trainer_of(spec(NoReplay())).run().replayed_windows == 0


def test_replay_keeps_what_was_learned() -> None:
    long = {"steps": 80}

    def forgotten(replay: Any) -> float:
        objective = Continual(earlier_steps=40, replay=replay)
        result = trainer_of(tiny_spec(objective=objective, **long)).run()
        assert result.earlier_loss is not None and result.earlier_loss_before is not None
        return result.earlier_loss - result.earlier_loss_before

    assert forgotten(ReservoirReplay(rows=1, windows=64)) < forgotten(NoReplay()) - 0.05


@pytest.mark.parametrize("stop", [4, 6, 9])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, stop: int) -> None:
    whole = trainer_of(spec())
    result = whole.run()
    first = trainer_of(spec(), policies=[At("step_taken", {stop}, lambda trainer, _: trainer.stop("interrupted"))])
    assert first.run().stopped == "interrupted"
    first.save(tmp_path / "kept")
    second = trainer_of(spec(), policies=[At("step_taken", set(), lambda *_: None)])
    second.load(tmp_path / "kept")
    again = second.run()
    assert same_tensors(weights(second.model), weights(whole.model))
    assert (again.earlier_loss_before, again.earlier_loss) == (result.earlier_loss_before, result.earlier_loss)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("recipe.objective.earlier_steps=600", "objective.earlier_steps must be below steps = 600, got 600"),
        ("recipe.objective.replay.rows=8", "objective.replay.rows must be below batch_size = 8, got 8"),
        ("recipe.objective.replay.windows=2401", "objective.replay.windows must be at most 2400"),
        ("recipe.objective.replay={kind: reservoir, windows: 0}", "recipe.objective.replay.windows must be > 0, got 0"),
        ("data=kv-tokens", "recipe.objective.kind must be recall with data of the family task, got continual"),
    ],
)
def test_a_mistake_is_one_line(change: str, line: str) -> None:
    with pytest.raises(SpecError) as raised:
        load_experiment("cortexgpt-stable", ["recipe=continual", change])
    (told,) = raised.value.lines
    assert line in told
