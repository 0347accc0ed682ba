"""What training must not go on with: batches that no model can take, and damage that no pass shows."""

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, Finding, number, text
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.reference_updates import LargeNumber, NotFinite
from cortexzoo.harness.checking.training.witness import Record, brief, on_a_tiny_model, trainer_of
from cortexzoo.specs import guards
from cortexzoo.zoo.training.objectives.base import Examples

STEPS = 28
PARTS = ("weight", "moment", "memory")
BEHIND, BELOW, EMPTY, LAST = 3, 7, 12, 15
"""Steps of which one token is behind the vocabulary, or below zero, or which have no tokens; and one with the last."""


def of_batches(subject: Subject, case: Case) -> Finding:
    """Batches that no model can take are refused before anything reads them, and told; the last token is none."""
    record = Record()
    changes = {"spikes": guards.NoSpikeDetection(), "recovery": guards.NoRecovery()}
    trainer = trainer_of(brief(on_a_tiny_model(subject.experiment), LAST + 2, **changes), record)
    objective, size = trainer.objective, trainer.model.vocab_size
    examples, read = objective.examples, list[int]()

    def changed(number: int) -> Examples:
        given = examples(number)
        tokens: Tensor = given.tokens.clone()
        if number == EMPTY:
            return replace(given, tokens=tokens[..., :0])
        if number in (BEHIND, BELOW, LAST):
            tokens[-1, -1, -2] = {BEHIND: size, BELOW: -1, LAST: size - 1}[number]
        return replace(given, tokens=tokens)

    objective.examples = changed  # type: ignore[method-assign]
    trainer.network.register_forward_pre_hook(lambda *_: read.append(trainer.position + 1))
    try:
        trainer.run()
    except Exception as problem:
        return Finding(math.inf, f"training gave up ({problem})", case)
    told: Mapping[int, Any] = {step: detail for step, kind, detail in record.events if kind == "step_refused"}
    wanted = [BEHIND, BELOW, EMPTY]
    wrong = [] if list(told) == wanted else [f"steps {list(told)} are refused, {wanted} should be"]
    for step, words in ((BEHIND, f"token {size} "), (BELOW, "token -1 "), (EMPTY, "empty")):
        if words not in str(told.get(step)):
            wrong.append(f"of step {step} this is told: {told.get(step)}")
    if odd := set(read) & set(wanted):
        wrong.append(f"the model reads the batch of step {min(odd)}, which it cannot take")
    if trainer.taken != LAST + 2 - len(wanted):
        wrong.append(f"{trainer.taken} steps are taken, not {LAST + 2 - len(wanted)}")
    return Finding(len(wrong), "; ".join(wrong[:3]) or "three batches are refused, and no other", case)


def of_outgrown(subject: Subject, case: Case) -> Finding:
    """One number of a weight becomes large, but finite: the step after which it is there is undone."""
    drawn, record = random.Random(f"outgrown {number(case, 'seed')}"), Record()
    every, at = drawn.randrange(3, 6), drawn.randrange(6, STEPS - 6)
    damage = LargeNumber(at, drawn.choice((2e3, 1e6)))
    recovery = guards.RecoveryCheckpoints(every=every)
    changes = {"spikes": guards.NoSpikeDetection(), "recovery": recovery}
    trainer = trainer_of(brief(on_a_tiny_model(subject.experiment), STEPS, **changes), record, damage)
    try:
        trainer.run()
    except Exception as problem:
        return Finding(math.inf, f"training gave up ({problem})", case)
    point = (at - 1) // every * every
    wanted = [(at, point, at - point)]
    found = [(step, d["to_step"], d["undone"]) for step, kind, d in record.events if kind == "rollback"]
    if found == wanted:
        return Finding(0, f"a number of {damage.number:g} was undone after the step that had it", case)
    return Finding(1, f"a number of {damage.number:g} at step {at}: rollbacks {found}, should be {wanted}", case)


def of_not_finite(subject: Subject, case: Case) -> Finding:
    """Something is NaN that no pass shows: undone before it is kept, after a refused step, or when the run ends."""
    drawn, record, when = random.Random(f"not finite {number(case, 'seed')}"), Record(), text(case, "script")
    part = "weight" if when == "between" else PARTS[number(case, "seed") % len(PARTS)]
    every = drawn.choice([one for one in range(3, 9) if STEPS % one])
    kept = drawn.randrange(1, STEPS // every) * every
    at = {"due": kept + every, "between": kept + 1, "refused": kept + drawn.randrange(1, every), "at the end": STEPS}[
        when
    ]
    back = at if when != "between" else kept + every
    point = (back - 1) // every * every
    undone = back - point - (when == "refused")
    damage = NotFinite(at, part, refuses=when == "refused")
    changes = {"spikes": guards.NoSpikeDetection(), "recovery": guards.RecoveryCheckpoints(every=every)}
    trainer = trainer_of(brief(on_a_tiny_model(subject.experiment), STEPS, **changes), record, damage)
    damage.attach(trainer)
    try:
        trainer.run()
    except Exception as problem:
        return Finding(math.inf, f"training gave up ({problem})", case)
    found = [(step, d["to_step"], d["undone"]) for step, kind, d in record.events if kind == "rollback"]
    wanted, taken = [(back, point, undone)], STEPS - undone - (when == "refused")
    if found == wanted and trainer.taken == taken:
        return Finding(0, f"a {part} that was not finite was undone at step {back}", case)
    reason = f"a {part} is not finite at step {at}: rollbacks {found}, should be {wanted}; {trainer.taken} steps taken"
    return Finding(1, reason, case)
