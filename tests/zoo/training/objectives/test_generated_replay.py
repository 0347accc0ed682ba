"""Replay without stored text: the model samples windows when it goes over, and reads these again."""

from pathlib import Path

import pytest
import torch

from cortexzoo.specs.objective import Continual, GeneratedReplay
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives import build
from cortexzoo.zoo.training.objectives.continual import ContinualObjective
from cortexzoo.zoo.training.objectives.replay import SampledWindows
from cortexzoo.zoo.training.policies.base import Policy
from tests.zoo.training.tiny import At, same_tensors, tiny_model, tiny_spec, weights

EARLIER = TextData.from_bytes(bytes(100 + (3 * i + i * i % 5) % 50 for i in range(1500)), 0.1, 0.1)
LATER = TextData.from_bytes(bytes((i * i + 3 * (i % 7)) % 61 for i in range(2000)), 0.1, 0.1)
REPLAY = GeneratedReplay(rows=1, windows=5, discarded=3)


@pytest.fixture(autouse=True)
def _two_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "earlier_text", lambda *_: EARLIER)


def trainer_of(*policies: Policy) -> TrainingLoop:
    experiment = tiny_spec(objective=Continual(earlier_steps=6, replay=REPLAY))
    return TrainingLoop(tiny_model(dropout=0.0), experiment, LATER, policies=policies)


def replay_of(trainer: TrainingLoop) -> SampledWindows:
    assert isinstance(trainer.objective, ContinualObjective)
    assert isinstance(trainer.objective.replay, SampledWindows)
    return trainer.objective.replay


def test_the_replayed_row_is_one_of_the_samples() -> None:
    rows: list[torch.Tensor] = []
    trainer = trainer_of(At("batch_ready", set(range(7, 13)), lambda _, step: rows.append(step.tokens[0].clone())))
    result = trainer.run()
    samples = replay_of(trainer).samples
    assert samples is not None and samples.shape == (5, 9)
    kept = {bytes(row.tolist()) for row in samples}
    for tokens in rows:
        assert (tokens[:3] < 61).all(), "the later text"
        assert bytes(tokens[3].tolist()) in kept
    assert result.replayed_windows == 5


def test_samples_are_of_the_model_at_the_change() -> None:
    """Whoever goes over with other weights samples another text."""
    first, again = trainer_of(), trainer_of()
    other = trainer_of(At("step_taken", {6}, lambda trainer, _: trainer.model.embedding.weight.data.mul_(3)))
    for trainer in (first, again, other):
        trainer.run()
    one, same, different = (replay_of(trainer).samples for trainer in (first, again, other))
    assert one is not None and same is not None and different is not None
    assert torch.equal(one, same) and not torch.equal(one, different)


def test_samples_stand_behind_both_texts_and_apart_from_each_other() -> None:
    trainer = trainer_of()
    replay = replay_of(trainer)
    places = replay.places(replay.kept)
    assert places[0] >= len(EARLIER.train) + len(LATER.train)
    assert (places[1:] - places[:-1]).min() > 2 * 8


@pytest.mark.parametrize("stop", [4, 9])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, stop: int) -> None:
    whole = trainer_of()
    whole.run()
    first = trainer_of(At("step_taken", {stop}, lambda trainer, _: trainer.stop("interrupted")))
    assert first.run().stopped == "interrupted"
    first.save(tmp_path / "kept")
    second = trainer_of(At("step_taken", set(), lambda *_: None))
    second.load(tmp_path / "kept")
    second.run()
    assert same_tensors(weights(second.model), weights(whole.model))


def test_temperature_and_discarded_tokens_are_those_of_the_spec() -> None:
    model = tiny_model(dropout=0.0).eval()

    def sampled(**values: float) -> torch.Tensor:
        replay = SampledWindows(REPLAY.model_copy(update=values), 8, 0)
        replay.sample(model, model.initial_state(1), seed=0)
        assert replay.samples is not None
        return replay.samples

    usual = sampled()
    assert torch.equal(sampled(discarded=5)[:, :-2], usual[:, 2:]), "two more tokens are dropped"
    assert not torch.equal(sampled(temperature=0.01), usual)
    assert torch.equal(sampled(temperature=0.01), sampled(temperature=0.001)), "the most likely token each time"
