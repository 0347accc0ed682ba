"""What a training reports of itself: swings, the best validation, and what counting reaches, worked out again."""

import math
import random
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from unittest.mock import patch

import numpy as np

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number, text
from cortexzoo.harness.checking.properties.training import rises
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.reference_counting import losses_of_counting
from cortexzoo.harness.checking.training.reference_loop import steps_of_warmup
from cortexzoo.harness.checking.training.roles import LENGTH
from cortexzoo.harness.checking.training.witness import (
    Fate,
    Record,
    Witness,
    brief,
    data_of,
    measured,
    on_a_tiny_model,
)
from cortexzoo.specs import ExperimentSpec, recipe
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.evaluation import HeldOut
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step
from cortexzoo.zoo.training.policies.measuring import probe as probing
from cortexzoo.zoo.training.policies.measuring.swing import raw_loss_ratio, upward_loss_ratio

STEPS, WINDOW, SOME = 16, 5, 3
WILD = recipe.AdamWSpec(learning_rate=0.5)
"""So that losses swing."""
SCRIPT: Mapping[int, Fate] = {7: "refuse"}
SCHEDULES: Mapping[str, recipe.ScheduleSpec] = {
    "warmup": recipe.Cosine(warmup_ratio=0.2),
    "restarts": recipe.CosineRestarts(period=5),
}
TOLD, TOLD_WARMUP = 60, 6
"""Losses that the probe is told, and steps of warmup before them."""
LEAST = 1e-9
TRAINING = 220
"""Tokens that train; the rest of that text is held out."""


def result_cases(_: Subject) -> Iterable[Case]:
    """With warmup and all held-out windows, without it and some."""
    yield {"schedule": "warmup", "sequences": "all"}
    yield {"schedule": "restarts", "sequences": "some"}
    for every in (1, 2, 3):
        yield {"told": every}
    yield {"told": 0}


def results_are_of_the_record(subject: Subject, case: Case) -> Finding:
    """The result of a short training whose loss swings, against its own record and text."""
    if "told" in case:
        return _told(subject, every, case) if (every := number(case, "told")) else _of_odd_losses(case)
    some = SOME if text(case, "sequences") == "some" else None
    experiment = measured(
        brief(on_a_tiny_model(subject.experiment), STEPS, batch_size=3, optimizer=WILD,
              schedule=SCHEDULES[text(case, "schedule")]),
        probe_every=2, validate_every=5, validation_sequences=some, swing_window=WINDOW,
    )  # fmt: skip
    record = Record()
    data = _of_one_vocabulary(experiment)
    model = build_model(experiment.variant, experiment.seed)
    result = TrainingLoop(model, experiment, data, recorder=record, policies=[Witness(SCRIPT)]).run()
    wanted = _swings(record, steps_of_warmup(experiment.recipe.schedule, STEPS), WINDOW, SCRIPT) | _validated(record)
    wanted |= {"steps_taken": STEPS - len(SCRIPT), "steps_refused": len(SCRIPT), "steps_undone": 0}
    held_out = data.validation[:].tobytes()
    count = (len(held_out) - 1) // LENGTH
    windows = range(count) if some is None else [int((i + 0.5) * count / some) for i in range(some)]
    places = [window * LENGTH + 1 + at for window in windows for at in range(LENGTH)]
    wanted |= losses_of_counting(data.train[:].tobytes(), held_out, places)
    found = {name: getattr(result, name) for name in wanted}
    for name in ("loss_ratio", "raw_loss_ratio"):
        found[f"stability/{name}"] = record.steps[STEPS].get(f"stability/{name}")
        wanted[f"stability/{name}"] = wanted[name]
    apart = {name: _apart(found[name], value) for name, value in wanted.items()}
    worst = max(apart, key=lambda name: apart[name])
    reason = f"{worst} is {found[worst]}, worked out again {wanted[worst]:.6g}"
    return Finding(apart[worst], reason, {**case, "first": worst})


def _told(subject: Subject, every: int, case: Case) -> Finding:
    """Swings of losses that the probe is told, some of whose lowest values lie just within a window, or just not."""
    drawn, record = random.Random(every), Record()
    warmup = recipe.Cosine(warmup_ratio=TOLD_WARMUP / TOLD)
    experiment = measured(
        brief(on_a_tiny_model(subject.experiment), TOLD, schedule=warmup), probe_every=every, swing_window=2 * every
    )
    trainer = TrainingLoop(build_model(experiment.variant, 0), experiment, _of_one_vocabulary(experiment))
    probe = next(policy for policy in trainer.policies if policy.name == "probe")
    # It falls most of the time, and rises in one step or in three: so a longer or shorter window tells.
    losses = {step: 9 - 0.01 * step + drawn.choice((0, 0, 0, 0.1, 0.3)) for step in range(1, TOLD + 1)}
    for step in range(TOLD_WARMUP + 2 * every, TOLD, 7 * every):
        losses |= {step - step % every + at * every: 5 + at + 0.1 * drawn.random() - 0.001 * step for at in range(4)}
    wrong = []
    for step, loss in losses.items():
        with patch.object(probing, "measure", lambda *_, loss=loss, **__: HeldOut(loss, 1, {}, 1.0)):
            refused = step % 11 == 0
            told = Step(step, loss=loss)
            (probe.step_refused if refused else probe.step_taken)(trainer, told)
        record.steps[step] = {"train/loss": loss} | ({"probe/loss": loss} if step % every == 0 else {})
        if refused:
            del record.steps[step]["train/loss"]
        for name, wanted in _swings(record, TOLD_WARMUP, 2 * every, set()).items():
            if _apart(found := told.metrics[f"stability/{name}"], wanted) > LEAST:
                wrong.append(f"{name} after {step} losses that it is told is {found:.6g}, should be {wanted:.6g}")
    return Finding(math.inf, wrong[0], case) if wrong else Finding(0, f"swings of {TOLD} losses as told", case)


def _of_odd_losses(case: Case) -> Finding:
    """Swings of losses some of which are zero or not finite, before a start and behind it."""
    odd = (math.inf, -math.inf, math.nan, 0.0)
    rows = [[2.0, 3.0, 1.0, 4.0, 1.5], [0.0, 0.0, 0.0, 0.0, 0.0], [3.0, 2.0, 1.0, 0.0, 0.0]]
    rows += [[*rows[0][:at], one, *rows[0][at + 1 :]] for at in range(5) for one in odd]
    for row in rows:
        for start, window in ((0, 1), (0, 2), (1, 2), (3, 4), (5, 2)):
            counted = row[start:]
            pairs = [(one, other) for at, one in enumerate(counted) for other in counted[at : at + window + 1]]
            rises = [_share(later, earlier) for earlier, later in pairs]
            near = [(a, b) for at, a in enumerate(counted) for b in counted[max(0, at + 1 - window) : at + window]]
            swings = [_share(max(pair), min(pair)) for pair in near]
            finite = all(map(math.isfinite, counted))
            for name, found, wanted in (
                ("upwards", upward_loss_ratio(range(1, 6), row, window, start), max([1.0, *rises])),
                ("of all", raw_loss_ratio(row, window, start), max([1.0, *swings])),
            ):
                due = wanted if finite else math.inf
                if not (found == due or math.isclose(found, due, rel_tol=1e-12)):
                    reason = f"the swing {name} of {row} after {start} within {window} is {found}, should be {due}"
                    return Finding(math.inf, reason, case)
    return Finding(0, "swings of losses that are zero or not finite", case)


def _share(high: float, low: float) -> float:
    return high / low if low else 1.0 if high == 0 else math.inf


def _of_one_vocabulary(experiment: ExperimentSpec) -> TextData:
    """Unlike the text of roles, where counting the training part says nothing of the others."""
    roles = data_of(experiment)
    assert isinstance(roles, TextData)
    train, held_out = np.split(roles.train[:], [TRAINING])
    return TextData(train, held_out, roles.test, "a text of the harness")


def _apart(found: Any, wanted: float) -> float:
    if not isinstance(found, int | float) or not math.isfinite(found):
        return math.inf
    return abs(found - wanted) / max(abs(wanted), LEAST)


def _swings(record: Record, warmup: int, window: int, refused: Collection[int]) -> dict[str, float]:
    """The largest upward swing of the probe's loss, and max over min of the training loss, after warmup."""
    probed = [(step, loss) for step, loss in record.with_metric("probe/loss").items() if step > warmup]
    taken = [loss for step, loss in record.with_metric("train/loss").items() if step > warmup and step not in refused]
    windows = [taken[max(0, end - window) : end] for end in range(1, len(taken) + 1)]
    return {
        "loss_ratio": max((ratio for ratio, _ in rises(probed, window)), default=1.0),
        "raw_loss_ratio": max((max(some) / min(some) for some in windows), default=1.0),
    }


def _validated(record: Record) -> dict[str, float]:
    losses = record.with_metric("validation/loss")
    best = min(losses, key=lambda step: (losses[step], step))
    return {"validation_loss": losses[max(losses)], "best_validation_loss": losses[best], "best_step": best}


RESULTS = (Property("results_are_of_the_record", results_are_of_the_record, result_cases),)
