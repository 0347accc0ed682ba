"""A sleep follows its specification: an independent loop on the same dreams, and scripted scores for acceptance."""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, text
from cortexzoo.harness.checking.properties.kept_examples import not_a_sample, wrong_examples
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.threads import one_thread
from cortexzoo.harness.checking.training.difference import relative
from cortexzoo.harness.checking.training.reference_sleep import Dreams, slept_again
from cortexzoo.harness.checking.training.witness import (
    Look,
    Record,
    Witness,
    brief,
    data_of,
    in_float32,
    on_a_tiny_model,
    trainer_of,
    trains_in_half,
)
from cortexzoo.specs import sleep as kinds
from cortexzoo.specs.recipe import EveryInterval
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import HeldOutScore, Step, Trainer, find_policy
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.reservoir import Example

COMMON: dict[str, Any] = {
    "every": 2, "steps": 3, "batch_size": 2, "learning_rate": 3e-3, "clip": 0.05, "acceptance": kinds.AcceptAlways(),
}  # fmt: skip
DREAMS: dict[str, Dreams] = {
    "noise": kinds.NoiseSleep(length=6, **COMMON),
    "noise near itself": kinds.NoiseSleep(length=5, kl_weight=5.0, **COMMON),
    "noise near its weights": kinds.NoiseSleep(length=6, ewc_weight=1e5, reservoir=3, **COMMON),
    "replay": kinds.ReplaySleep(reservoir=32, **{**COMMON, "clip": 100.0}),
    "replay near itself": kinds.ReplaySleep(reservoir=32, kl_weight=5.0, **{**COMMON, "batch_size": 4}),
    "generated": kinds.GeneratedSleep(length=6, prompt_length=3, temperature=0.8, **COMMON),
}
PARTS = 2
"""Of a step: examples are kept of all of them."""
ROUNDING = 1e-3
"""Of a loss that is told."""
BOUNDS = kinds.AcceptHeldOut(max_loss_ratio=1.1, max_recall_drop=0.1)
SCORES = (
    (2.0, 0.8, 2.15, 0.75), (2.1, 0.8, 2.25, 0.8), (1.5, 0.8, 1.7, 0.8), (1.5, 0.8, 1.6, 0.69), (1.5, 0.95, 1.5, 0.8),
    (1.5, 0.8, math.nan, 0.8), (1.5, 0.8, math.inf, 0.8), (1.5, 0.8, 1.4, 0.9),
)  # fmt: skip
"""Held-out loss and recall before and after each sleep: kept; worse than before the first, than before this one; recall
fallen from the first, and from before this one; not finite; kept."""


def dream_cases(_: Subject) -> Iterable[Case]:
    """Kinds of dreams and anchors, then what becomes of sleeps with given scores."""
    for dreams in DREAMS:
        yield {"dreams": dreams}
    for acceptance in ("held_out", "always"):
        yield {"acceptance": acceptance}
    for dreams in DREAMS:
        yield {"half": dreams}


@one_thread()
def sleep_matches_a_reference(subject: Subject, case: Case) -> Finding:
    """The updates of one sleep against an independent loop, or the fates of sleeps whose scores are scripted.

    On one thread, where both add up in one order: AdamW makes much of the rounding of a gradient near zero. What was
    read is in long-term memory by then, so that an example could find itself.
    """
    if "acceptance" in case:
        return _fates(subject, case)
    if "half" in case:
        return _in_half(subject, case)
    spec = DREAMS[text(case, "dreams")]
    witness = Witness()
    # What pulls a model back to itself is the difference of almost equal numbers, of which bfloat16 leaves rounding.
    pulled = spec.kl_weight or spec.ewc_weight or trains_in_half(subject.experiment)
    exact = in_float32(subject.experiment) if pulled else subject.experiment
    experiment = brief(exact, 2, sleep=spec, consolidation=EveryInterval(every=1), accumulation=PARTS)
    record = Record()
    trainer = trainer_of(experiment, record, witness)
    sleep = _sleep_of(trainer)
    before: list[tuple[Any, Any]] = []
    after: list[dict[str, Tensor]] = []
    examples: list[Example] = []

    def look_before(_: Trainer, step: Step) -> None:
        if step.number == 2:
            before.append((copy.deepcopy(trainer.model), trainer.memory))

    def look_after(_: Trainer, step: Step) -> None:
        if step.number == 2:
            after.append({n: t.detach().clone() for n, t in trainer.model.state_dict().items()})
            examples.extend(sleep.reservoir.examples)

    _around(trainer, sleep, look_before, look_after)
    try:
        trainer.run()
    except Exception as problem:
        return Finding(math.inf, f"training gave up ({problem})", case)
    data = data_of(experiment)
    read = data if isinstance(data, TextData) else None
    if wrong := wrong_examples(spec, examples, witness.served, read) + (not_a_sample() if spec.keeps_examples else []):
        return Finding(math.inf, "; ".join(wrong), {**case, "first": wrong[0]})
    model, memory = before[0]
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    slept, noisy, losses = slept_again(model, memory, spec, examples, experiment, read)
    told = record.steps[2].get("sleep/loss", math.nan)
    if not math.isclose(told, math.fsum(losses) / len(losses), rel_tol=ROUNDING):
        reason = f"the mean loss of the updates is told as {told:.6g}, it is {math.fsum(losses) / len(losses):.6g}"
        return Finding(math.inf, reason, {**case, "first": "sleep/loss"})
    for name, noise in noisy.items():
        if name in after[0]:
            slept[name] = torch.where(noise, after[0][name], slept[name])
    apart = relative("weight", {n: (after[0].get(n), t, start[n]) for n, t in slept.items()})
    worst = max(apart, key=lambda what: apart[what])
    if not apart[worst]:
        return Finding(0, f"{spec.steps} updates reach the bits of an independent loop", case)
    reason = f"after a sleep {worst} is {apart[worst]:.3g} from what an independent loop reaches"
    return Finding(apart[worst], reason, {**case, "first": worst})


def _fates(subject: Subject, case: Case) -> Finding:
    acceptance = BOUNDS if text(case, "acceptance") == "held_out" else kinds.AcceptAlways()
    spec = kinds.NoiseSleep(length=4, **{**COMMON, "every": 1, "acceptance": acceptance})
    record, weights = Record(), {"before": [], "after": []}  # type: ignore[var-annotated]
    trainer = trainer_of(brief(on_a_tiny_model(subject.experiment), len(SCORES), sleep=spec), record)
    scores = iter([HeldOutScore(*pair) for b, rb, a, ra in SCORES for pair in ((b, rb), (a, ra))])
    trainer.objective.held_out = lambda _: next(scores, HeldOutScore(1.0, 0.5))  # type: ignore[method-assign, assignment]
    seen = torch.zeros((), device=trainer.device)
    trainer.model.register_buffer("harness_calls", seen)
    dreams: list[list[Any]] = []
    held_out: list[HeldOutScore | None] = []

    def count(_: Any, given: tuple[Tensor, ...]) -> None:
        """A buffer that every dream changes."""
        if trainer.model.training:
            seen.add_(1)
            if len(weights["before"]) > len(weights["after"]):
                dreams[-1].append(given[0].tolist())

    def look(when: str) -> Any:
        def note(_: Trainer, step: Step) -> None:
            weights[when].append([p.detach().clone() for p in (*trainer.trainable, seen)])
            if when == "before":
                dreams.append([])
            else:
                held_out.append(step.held_out)

        return note

    trainer.model.register_forward_pre_hook(count)
    _around(trainer, _sleep_of(trainer), look("before"), look("after"))
    trainer.run()
    due = [0, 7] if acceptance is BOUNDS else [0, 1, 2, 3, 4, 7]
    slept = [detail for _, kind, detail in record.events if kind == "sleep"]
    stayed = [number for number, detail in enumerate(slept) if detail["accepted"]]
    moved = [
        number
        for number, (one, other) in enumerate(zip(weights["before"], weights["after"], strict=True))
        if any(not torch.equal(a, b) for a, b in zip(one, other, strict=True))
    ]
    wrong = [f"sleeps {s} are accepted, {due} should be" for s in (stayed,) if s != due]
    wrong += [f"sleeps {m} moved weights or buffers, {due} should" for m in (moved,) if m != due]
    measured = [a if number in due else b for number, (b, _, a, _) in enumerate(SCORES)]
    for number, (score, loss) in enumerate(zip(held_out, measured, strict=True)):
        if score is None or score.loss != loss:
            wrong.append(f"after sleep {number} the held-out loss is {score and score.loss}, {loss} should be")
    wrong += _told(record, slept, due) + _without_dreams(subject)
    wrong += [f"sleep {n} dreams what sleep {dreams.index(d)} did" for n, d in enumerate(dreams) if d in dreams[:n]]
    if not wrong:
        return Finding(0, f"of {len(SCORES)} sleeps with scripted scores {len(due)} stayed", case)
    return Finding(math.inf, "; ".join(wrong), {**case, "first": wrong[0]})


def _in_half(subject: Subject, case: Case) -> Finding:
    """A sleep in bfloat16: every call of the model is under autocast, as those of training are.

    Its updates are not compared: AdamW makes much of rounding, of which bfloat16 has more.
    """
    changes = {"precision": "bf16", "sleep": DREAMS[text(case, "half")]}
    trainer, asleep = trainer_of(brief(in_float32(subject.experiment), 2, **changes), Record()), [False]
    calls: list[bool] = []

    def look(_: Trainer, step: Step) -> None:
        asleep[0] = step.number == COMMON["every"] and not asleep[0]

    def note(*_: object) -> None:
        if asleep[0]:
            calls.append(torch.is_autocast_enabled(trainer.device.type))

    trainer.model.register_forward_pre_hook(note)
    _around(trainer, _sleep_of(trainer), look, look)
    try:
        trainer.run()
    except Exception as problem:
        return Finding(math.inf, f"training gave up ({problem})", case)
    if calls and all(calls):
        return Finding(0, f"all {len(calls)} calls of a sleep in bfloat16 are under autocast", case)
    return Finding(math.inf, f"{len(calls) - sum(calls)} of {len(calls)} calls of a sleep are not in bfloat16", case)


def _without_dreams(subject: Subject) -> list[str]:
    """A sleep of a model that has no logits to dream by: every update is refused, and no weight moves."""
    spec = kinds.GeneratedSleep(length=6, prompt_length=3, temperature=0.8, **COMMON)
    record, weights = Record(), list[list[Tensor]]()
    trainer = trainer_of(brief(on_a_tiny_model(subject.experiment), COMMON["every"], sleep=spec), record)
    read = trainer.model.read

    def without(*given: Any) -> Any:
        output = read(*given)
        return replace(output, logits=torch.full_like(output.logits, math.nan))

    def look(_: Trainer, step: Step) -> None:
        if step.number == COMMON["every"]:
            weights.append([parameter.detach().clone() for parameter in trainer.trainable])

    trainer.model.read = without  # type: ignore[method-assign, assignment]
    _around(trainer, _sleep_of(trainer), look, look)
    try:
        trainer.run()
    except Exception as problem:
        return [f"without a dream training gave up ({problem})"]
    told = record.steps[COMMON["every"]]
    counts = [told.get(f"sleep/updates_{which}") for which in ("taken", "refused")]
    wrong = [] if counts == [0, COMMON["steps"]] else [f"without a dream updates taken and refused are {counts}"]
    moved = any(not torch.equal(one, other) for one, other in zip(*weights, strict=True))
    return [*wrong, "a sleep without dreams moved weights"] if moved else wrong


def _told(record: Record, slept: Sequence[Mapping[str, Any]], due: Sequence[int]) -> list[str]:
    """What is told of the sleeps with scripted scores that did not happen, the first of each kind."""
    wrong: dict[str, str] = {}
    for number, (detail, scores) in enumerate(zip(slept, SCORES, strict=True)):
        values = record.steps[number + 1]
        found = {**detail, **{name: value for name, value in values.items() if name.startswith("sleep/")}}
        names = ("loss_before", "recall_before", "loss_after", "recall_after")
        wanted = {**dict(zip(names, scores, strict=True)), "number": number + 1, "accepted": number in due}
        wanted |= {"updates_taken": COMMON["steps"], "updates_refused": 0, "sleep/post_loss": scores[2]}
        wanted |= {"sleep/updates_taken": COMMON["steps"], "sleep/updates_refused": 0, "sleep/accepted": number in due}
        for name, value in wanted.items():
            if found.get(name) != value and not (value != value and found.get(name) != found.get(name)):
                wrong.setdefault(name, f"of sleep {number} {name} is told as {found.get(name)}, it is {value}")
        if (detail["reason"] is None) != (number in due):
            wrong.setdefault("reason", f"of sleep {number} the reason is {detail['reason']}")
    return list(wrong.values())


def _around(trainer: TrainingLoop, sleep: Sleep, before: Any, after: Any) -> None:
    """Let two functions look at a step right before and right after the sleep that follows it."""
    looks = [Look(before), Look(after)]
    looks[0].name = "harness_look_before"
    place = trainer.policies.index(sleep)
    trainer.policies[place : place + 1] = [looks[0], sleep, looks[1]]


def _sleep_of(trainer: TrainingLoop) -> Sleep:
    sleep = find_policy(trainer.policies, Sleep)
    assert sleep is not None
    return sleep


DREAMING = (Property("sleep_matches_a_reference", sleep_matches_a_reference, dream_cases),)
