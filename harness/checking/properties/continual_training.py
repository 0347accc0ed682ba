"""One text after another: what is read again, what keeps the model near its earlier self, and what is reported."""

import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, largest_difference, text
from cortexzoo.harness.checking.properties.steps import UNUSUAL, compared
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.threads import one_thread
from cortexzoo.harness.checking.training.kept_windows import unevenly_kept
from cortexzoo.harness.checking.training.reference_continual import ContinualReference, loss_of_a_part
from cortexzoo.harness.checking.training.roles import LENGTH, WINDOWS, training_starts
from cortexzoo.harness.checking.training.witness import (
    Fate,
    Look,
    Record,
    Served,
    Witness,
    append,
    brief,
    data_of,
    measured,
    trainer_of,
)
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.data import TextFiles
from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.objective import Continual, GeneratedReplay, NoReplay, ReplaySpec, ReservoirReplay
from cortexzoo.specs.plasticity import Metaplasticity, NoProtection, ProtectionSpec, SlowFollower
from cortexzoo.specs.recipe import EveryInterval
from cortexzoo.specs.sleep import AcceptAlways, NoiseSleep
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step, Trainer

EARLIER_STEPS, STEPS, ROWS = 3, 8, 4
ROUNDED = 1e-6
"""Of a divergence in nats: the sum over tokens that float32 gives of equal distributions may lie so far below zero."""
LETTERS = b"abcdefghijklmnopqrstuvwxyz"
EARLIER_BYTES, EARLIER_TRAINING = 700, 560
"""Of the earlier text, eight tenths of which train: 34 windows."""


NOT_PROTECTED = NoProtection()
RECOVERY = RecoveryCheckpoints(every=2, storm_limit=9)
BACK: Mapping[int, Fate] = {2: "roll_back", 6: "roll_back", 8: "roll_back"}
"""Once on the earlier text, and after the last step, too."""
ASLEEP_AT_LAST = NoiseSleep(every=STEPS, steps=2, batch_size=2, length=6, acceptance=AcceptAlways())
"""After the last step, before the slow learner takes its place."""


@dataclass(frozen=True)
class _Way:
    replay: ReplaySpec
    protection: ProtectionSpec = NOT_PROTECTED
    changes: Mapping[str, Any] | None = None
    script: Mapping[int, Fate] | None = None


WAYS: Mapping[str, _Way] = {
    "reservoir": _Way(ReservoirReplay(rows=2, windows=5, kl_weight=0.7), changes={"optimizer": UNUSUAL}),
    "near the earlier self": _Way(
        ReservoirReplay(rows=1, windows=12, kl_weight=2.0),
        changes={"optimizer": UNUSUAL, "consolidation": EveryInterval(every=2)}, script={3: "refuse", 5: "refuse"},
    ),
    "replay alone": _Way(
        ReservoirReplay(rows=1, windows=18, kl_weight=0.0), changes={"batch_size": 3, "accumulation": 2},
    ),
    "nothing again": _Way(NoReplay(), changes={"precision": "bf16"}),
    "metaplasticity": _Way(
        NoReplay(), Metaplasticity(strength=4.0, memory=0.6), {"optimizer": UNUSUAL}, script={6: "refuse"}
    ),
    "slow follower": _Way(NoReplay(), SlowFollower(rate=0.3, every=2), {"optimizer": UNUSUAL}, script={5: "refuse"}),
    "metaplasticity, taken back": _Way(
        NoReplay(), Metaplasticity(strength=4.0, memory=0.6), {"optimizer": UNUSUAL, "recovery": RECOVERY}, script=BACK
    ),
    "slow follower, taken back": _Way(
        NoReplay(), SlowFollower(rate=0.3, every=1), {"optimizer": UNUSUAL, "recovery": RECOVERY}, script=BACK
    ),
    "generated": _Way(
        GeneratedReplay(rows=1, windows=3, discarded=2, kl_weight=0.5),
        changes={"consolidation": EveryInterval(every=2)},
    ),
}  # fmt: skip


def continual_cases(_: Subject) -> Iterable[Case]:
    """Each way to learn one text after another."""
    for name in WAYS:
        yield {"way": name}


@one_thread()
def continual_training_follows_its_rules(subject: Subject, case: Case) -> Finding:
    """A short training on two texts against an independent loop; its rows, and its reported losses.

    Of generated windows what is drawn again is checked, and not the loop: where they stand in the memory's text is the
    trainer's own choice, as long as none stands in another or beside it, nor in a text.
    """
    if not isinstance(subject.experiment.recipe.objective, Continual):
        raise DoesNotApply("the recipe trains on one text")
    if subject.model.vocab_size < max(LETTERS):
        raise DoesNotApply(f"the earlier text needs {max(LETTERS) + 1} tokens")
    way = WAYS[text(case, "way")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "earlier.txt"
        file.write_bytes(np.random.default_rng(1).choice(list(LETTERS), EARLIER_BYTES).astype(np.uint8).tobytes())
        experiment = _experiment(subject.experiment, way, file)
        earlier = file.read_bytes()
        wrong = _rows(experiment, earlier) + _reported(experiment, earlier)
        if wrong:
            return Finding(math.inf, "; ".join(wrong[:3]), {**case, "first": wrong[0]})
        if isinstance(way.replay, GeneratedReplay):
            return Finding(0, "rows and reported losses are as the objective says", case)
        return compared(experiment, way.script or {}, case, ContinualReference, partial(_places, earlier))


def _experiment(experiment: ExperimentSpec, way: _Way, file: Path) -> ExperimentSpec:
    small = brief(experiment, STEPS, **{"batch_size": ROWS, **(way.changes or {})})
    objective = Continual(
        earlier=TextFiles(paths=(str(file),)), earlier_steps=EARLIER_STEPS, replay=way.replay, protection=way.protection
    )
    data = small.data.model_copy(update={"validation_fraction": 0.1, "test_fraction": 0.1})
    return _with(small.model_copy(update={"data": data}), objective=objective)


def _with(experiment: ExperimentSpec, **changes: Any) -> ExperimentSpec:
    return experiment.model_copy(update={"recipe": experiment.recipe.model_copy(update=changes)})


def _rows(experiment: ExperimentSpec, earlier: bytes) -> list[str]:
    """What is wrong with the rows of each step."""
    recipe, data = experiment.recipe, data_of(experiment)
    assert isinstance(data, TextData) and isinstance(recipe.objective, Continual)
    replay, wrong = recipe.objective.replay, []
    count = 0 if isinstance(replay, NoReplay) else replay.rows
    first: list[bytes] = []
    later: list[int | None] = []
    begun: list[int | None] = []
    again: list[bytes] = []
    placed: dict[bytes, set[int]] = {}
    every, sampling = _served(experiment)
    for served in every:
        assert served.places is not None
        for tokens, places in zip(served.tokens.cpu(), served.places, strict=True):
            rows = [row.numpy().astype(np.uint8).tobytes() for row in tokens]
            for row, known, place in zip(rows, _places(earlier, data, tokens), places.tolist(), strict=True):
                if known is None:
                    placed.setdefault(row, set()).add(place)
                elif place != known:
                    wrong.append(f"a window of place {known} is said to stand at {place}")
            if served.number <= EARLIER_STEPS:
                first += rows
                continue
            own = len(rows) - count
            starts = training_starts(data, tokens[:own])
            begun += starts if len(later) // own * len(rows) + own <= WINDOWS else []
            later += starts
            again += rows[own:]
    free = [
        EARLIER_TRAINING + len(data.train) - LENGTH - 1,
        *sorted(place for some in placed.values() for place in some),
    ]
    if any(place - before <= LENGTH for before, place in pairwise(free)):
        wrong.append(f"sampled windows of {LENGTH} tokens stand in a text, or beside each other, at {free[1:]}")
    training = earlier[:EARLIER_TRAINING]
    if any(row not in training for row in first):
        wrong.append(f"the first {EARLIER_STEPS} steps train on what is no window of the earlier training part")
    if None in later:
        wrong.append("later steps train on what is no window of the later training part")
    elif not _is_one_epoch(begun):
        wrong.append("the later text does not begin with an epoch of its own")
    for name, found in (("earlier", first), ("later", later)):
        if len(set(found)) < len(found):
            wrong.append(f"the {name} text: of {len(found)} windows {len(set(found))} differ")
    if isinstance(replay, NoReplay):
        return wrong
    if isinstance(replay, ReservoirReplay):
        wrong += unevenly_kept(replay, recipe.batch_size * recipe.accumulation * EARLIER_STEPS)
    if isinstance(replay, ReservoirReplay) and not set(again) <= set(first):
        wrong.append("a replayed window was not trained on")
    if isinstance(replay, GeneratedReplay):
        wrong += sampling.mistakes(replay, again)
        if any(row in training for row in again):
            wrong.append("a sampled window is one of the earlier text")
    if not count < len(set(again)) <= replay.windows:
        wrong.append(f"{len(set(again))} windows are replayed, out of {replay.windows} that are kept")
    return wrong


def _is_one_epoch(starts: Iterable[int | None]) -> bool:
    """Those of another stand elsewhere on the text."""
    return len({start % LENGTH for start in starts if start is not None}) == 1


def _served(experiment: ExperimentSpec) -> tuple[list[Served], "_Sampling"]:
    """What each step was given, and what the model read while it sampled."""
    witness = Witness()
    trainer = trainer_of(experiment, Record(), witness)
    sampling = _Sampling(trainer)
    trainer.run()
    return witness.served, sampling


class _Sampling:
    """The tokens that a model reads one by one, as they come: of texts that it makes, all but the last."""

    def __init__(self, trainer: TrainingLoop) -> None:
        self.trainer, self.read = trainer, trainer.model.read
        self.tokens: list[Tensor] = []
        self.begins_elsewhere = False
        trainer.model.read = self._listen  # type: ignore[method-assign]

    def _listen(self, tokens: Tensor, state: Any = None) -> Any:
        output = self.read(tokens, state)
        if not self.tokens:
            between = self.trainer.model.between_batches(self.trainer.memory, len(tokens))
            self.begins_elsewhere = largest_difference(self.read(tokens, between).logits, output.logits) > 0
        self.tokens.append(tokens.cpu())
        return output

    def mistakes(self, replay: GeneratedReplay, again: list[bytes]) -> list[str]:
        """Texts are made after one random token, from the memory between batches; replayed are their last tokens."""
        texts, wanted = torch.cat(self.tokens, dim=1), (replay.windows, replay.discarded + LENGTH)
        if tuple(texts.shape) != wanted:
            return [f"windows are sampled by reading {tuple(texts.shape)} tokens, should be {wanted}"]
        ends = {row.numpy().astype(np.uint8).tobytes() for row in texts[:, -LENGTH:]}
        wrong = ["windows are sampled from another memory"] if self.begins_elsewhere else []
        if len(set(texts[:, 0].tolist())) < 2:
            wrong.append("all windows are sampled after the same token")
        if any(row[:LENGTH] not in ends for row in again):
            wrong.append("a replayed window is not the end of a text that was sampled")
        return wrong


def _places(earlier: bytes, data: TextData, tokens: Tensor) -> list[int | None]:
    """Through both texts, the earlier one first."""
    behind: list[int | None] = []
    for row, start in zip(tokens, training_starts(data, tokens), strict=True):
        place = earlier[:EARLIER_TRAINING].find(row.numpy().astype(np.uint8).tobytes())
        behind.append(place if start is None and place >= 0 else None if start is None else start + EARLIER_TRAINING)
    return behind


def _reported(experiment: ExperimentSpec, earlier: bytes) -> list[str]:
    """Losses of the result that are not those of the weights of their moment on the test parts."""
    data = data_of(experiment)
    assert isinstance(data, TextData)
    held_out = np.frombuffer(earlier[EARLIER_TRAINING + EARLIER_BYTES // 10 :], np.uint8)
    wanted: dict[str, float] = {}

    def look(trainer: Trainer, step: Step) -> None:
        if step.number == EARLIER_STEPS:
            wanted["earlier_loss_before"] = loss_of_a_part(trainer, held_out, some)
        if step.number == STEPS:
            wanted.update(earlier_loss=loss_of_a_part(trainer, held_out, some))
            wanted["later_loss"] = loss_of_a_part(trainer, data.test[:], some)
            wanted["validation_loss"] = loss_of_a_part(trainer, data.validation[:], some)

    objective, changes = experiment.recipe.objective, dict[str, Any]()
    assert isinstance(objective, Continual)
    if isinstance(objective.protection, SlowFollower):
        changes["sleep"] = ASLEEP_AT_LAST
    some = None if isinstance(objective.protection, SlowFollower) else 1
    record = Record()
    trainer = trainer_of(measured(_with(experiment, **changes), validation_sequences=some), record)
    append(trainer, [Look(look)])
    result = trainer.run()
    wrong = []
    if not isinstance(objective.replay, NoReplay) and objective.replay.kl_weight:
        recorded = record.with_metric("train/replay_divergence")
        if sorted(recorded) != list(range(EARLIER_STEPS + 1, STEPS + 1)) or not all(
            value > -ROUNDED for value in recorded.values()
        ):
            wrong.append(f"the divergence from the earlier self is recorded as {recorded}")
    kept = 0 if isinstance(objective.replay, NoReplay) else objective.replay.windows
    if result.replayed_windows != kept:
        wrong.append(f"{result.replayed_windows} windows are told to be kept for replay, {kept} are")
    for name, loss in wanted.items():
        reported = getattr(result, name)
        if reported is None or not math.isclose(reported, loss, rel_tol=1e-4):
            wrong.append(f"{name} is {reported}, measured again {loss:.5f}")
    return wrong


CONTINUAL = (
    Property("continual_training_follows_its_rules", continual_training_follows_its_rules, continual_cases, cost=2),
)
