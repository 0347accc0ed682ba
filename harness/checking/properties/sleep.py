"""What a sleep must not do: leave anything that is not finite, or lose what the model knew."""

import math
from collections.abc import Iterable
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import (
    Case,
    DoesNotApply,
    Finding,
    Property,
    largest_difference,
    number,
    text,
)
from cortexzoo.harness.checking.properties.trainer import Log, everything, of_short_gaps
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.poisoned import PoisonedDream, cannot_sample
from cortexzoo.harness.checking.training.witness import of_one_text
from cortexzoo.specs.guards import NoRecovery, NoSpikeDetection
from cortexzoo.specs.sleep import (
    DREAMS,
    AcceptAlways,
    AcceptanceSpec,
    AcceptHeldOut,
    ConsolidateSleep,
    Dreaming,
)
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import HeldOutScore, Policy, Step, Trainer, find_policy
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.state.recovery_point import first_non_finite

STEPS_AFTER = 31
"""Training steps after the sleep; the user's run requires 30 and more."""
LONGEST = 64
ROWS = 2
HELD_OUT = 16
"""Held-out sequences that a sleep is judged on."""
RECALL_DROP = 0.02
"""By so much of all answers a sleep may lower recall."""
IMPOSSIBLE = AcceptHeldOut(max_loss_ratio=1e-6)
"""No sleep is accepted: what is left must be what was there before."""
KINDS: dict[str, Dreaming] = {kind: dreaming() for kind, dreaming in DREAMS.items()}


class AroundSleep(Policy):
    """Two looks at the trainer, before and after its sleep, and how often the weights moved in between."""

    name = "harness_after_sleep"

    def __init__(self, trainer: TrainingLoop, sleep: Sleep) -> None:
        self.sleep = sleep
        self.before: dict[str, Tensor] = {}
        self.after: dict[str, Tensor] = {}
        self.scores: list[HeldOutScore] = []
        """Held out, before and after, measured by the harness and not by the sleep."""
        self.moved = 0
        """Updates after which the weights were others than before."""
        self.invalid: list[str] = []
        """What was wrong with the training steps that followed."""
        first = Policy()
        first.name = "harness_before_sleep"
        first.step_taken = self._before_sleep  # type: ignore[method-assign]
        place = trainer.policies.index(sleep)
        trainer.policies[place : place + 1] = [first, sleep, self]
        self._trainer = trainer
        self._last: list[Tensor] = []
        sleep.progress = self._between_updates

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number == 1:
            self._between_updates(1, 1)
            self.after = _look(trainer)
            self.scores.append(trainer.objective.held_out(trainer))
        elif not (math.isfinite(step.loss) and math.isfinite(step.gradient_norm)):
            self.invalid.append(f"step {step.number} after it has loss {step.loss}")

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.invalid.append(f"step {step.number} after it was refused ({step.refused})")

    def changed(self) -> list[str]:
        """Names of all that is not what it was before the sleep."""
        names = [*self.before, *(name for name in self.after if name not in self.before)]
        return [n for n in names if n not in self.before or n not in self.after or self._differ(n)]

    def _differ(self, name: str) -> bool:
        return largest_difference(self.before[name], self.after[name]) > 0

    def _before_sleep(self, trainer: Trainer, step: Step) -> None:
        if step.number == 1:
            self.scores.append(trainer.objective.held_out(trainer))
            self.before = _look(trainer)

    def _between_updates(self, done: int, total: int) -> None:
        now = [parameter.detach().clone() for parameter in self._trainer.trainable]
        if done and self._last:
            self.moved += any(largest_difference(one, other) > 0 for one, other in zip(now, self._last, strict=True))
        self._last = now


def nan_cases(_: Subject) -> Iterable[Case]:
    """A sleep as it is, and one with a dream whose loss is NaN."""
    yield {"poisoned": 0, "steps_after": STEPS_AFTER}
    yield {"poisoned": 3, "steps_after": STEPS_AFTER}
    yield {"poisoned": 2, "steps_after": ROWS, "dreams": "generated"}


def no_nan_after_sleep(subject: Subject, case: Case) -> Finding:
    """The user's noise sleep on the trained model, then training: all finite, and every update one that was made.

    Of generated dreams one cannot be sampled, since its logits are NaN.
    """
    spec = KINDS[str(case.get("dreams", "noise"))]
    trainer = sleeper(subject, spec, AcceptAlways(), steps=1 + number(case, "steps_after"))
    sleep, poisoned = sleep_of(trainer), number(case, "poisoned")
    around = AroundSleep(trainer, sleep)
    if poisoned and "dreams" in case:
        cannot_sample(trainer, sleep, poisoned)
    elif poisoned:
        # The first training pass is that of the one step before the sleep.
        trainer.model.register_forward_hook(PoisonedDream(1 + poisoned))
    wrong: list[str] = []
    try:
        trainer.run()
    except Exception as problem:
        wrong.append(f"training gave up ({problem})")
    steps = spec.steps
    due = steps - bool(poisoned)
    if around.moved != due:
        wrong.append(f"{around.moved} updates moved the weights, {due} should have")
    if (sleep.updates_taken, sleep.updates_refused) != (due, steps - due):
        wrong.append(f"{sleep.updates_taken} updates are counted as taken and {sleep.updates_refused} as refused")
    if due and not math.isfinite(told := _log_of(trainer).steps.get(1, {}).get("sleep/loss", math.nan)):
        wrong.append(f"the mean loss of the updates that were taken is told as {told}")
    bad = [name for name, tensor in around.after.items() if not bool(tensor.isfinite().all())]
    wrong += [f"{name} is not finite" for name in bad[:1]]
    if (found := first_non_finite(trainer)) is not None:
        wrong.append(f"{found} is not finite at the end")
    wrong += around.invalid
    if not wrong:
        reason = f"{due} updates taken, {steps - due} refused, {number(case, 'steps_after')} steps after"
        return Finding(0, reason, case)
    return Finding(len(wrong), ", ".join(wrong[:3]), case)


def harm_cases(subject: Subject) -> Iterable[Case]:
    """One that is stopped, one that is refused whatever it did, then every kind: as the recipe has it or by default."""
    yield {"dreams": "noise", "acceptance": "none, it is stopped"}
    yield {"dreams": "noise", "acceptance": "impossible"}
    for kind in KINDS:
        yield {"dreams": kind, "acceptance": "own"}


def sleep_harms_nothing(subject: Subject, case: Case) -> Finding:
    """Held-out loss after the sleep over that before; infinite where recall fell, or what must not change did."""
    spec = _own_or_usual(subject, text(case, "dreams"))
    if text(case, "acceptance") == "none, it is stopped":
        traces = _stopped(subject, spec)
        reason = f"a sleep that was stopped changed {', '.join(traces[:3])}" if traces else "a stop leaves no trace"
        return Finding(math.inf if traces else 0, reason, case)
    acceptance = IMPOSSIBLE if text(case, "acceptance") == "impossible" else spec.acceptance
    trainer = sleeper(subject, spec, acceptance, steps=1)
    sleep = sleep_of(trainer)
    around = AroundSleep(trainer, sleep)
    trainer.run()
    may_change = _trainable(trainer) if sleep.accepted else set()
    traces = [name for name in around.changed() if name not in may_change]
    if sleep.sleeps != 1:
        return Finding(math.inf, f"it slept {sleep.sleeps} times, not once", case)
    if sleep.accepted and acceptance is IMPOSSIBLE:
        return Finding(math.inf, "it was accepted although no sleep can meet the bound", case)
    if traces:
        fate, more = "accepted" if sleep.accepted else "refused", f", {len(traces)} in all" * (len(traces) > 3)
        reason = f"a sleep that was {fate} changed {', '.join(traces[:3])}{more}"
        return Finding(math.inf, reason, {**case, "first": traces[0]})
    before, after = around.scores
    fate = "accepted" if sleep.accepted else "refused, every bit as before"
    if before.recall is not None and after.recall is not None and after.recall < before.recall - RECALL_DROP:
        reason = f"recall {before.recall:.3f}, then {after.recall:.3f} ({fate})"
        return Finding(math.inf, reason, case)
    ratio = after.loss / before.loss if math.isfinite(after.loss) else math.inf
    return Finding(ratio, f"held-out loss {before.loss:.4f}, then {after.loss:.4f} ({fate})", case)


def _stopped(subject: Subject, spec: Dreaming) -> list[str]:
    """What is not as it was after a sleep that is stopped, or interrupted, before the second of its updates."""
    found = []
    for cut_short in (False, True):
        trainer = sleeper(subject, spec.model_copy(update={"steps": 2}), spec.acceptance, steps=1)
        sleep, slept = sleep_of(trainer), None

        def progress(done: int, _: int, trainer: TrainingLoop = trainer, cut_short: bool = cut_short) -> None:
            if done == 1 and cut_short:
                raise KeyboardInterrupt
            if done == 1:
                trainer.stop("interrupted")

        sleep.progress = progress
        before = _look(trainer)
        with suppress(KeyboardInterrupt):
            slept = sleep.sleep(trainer)
        after = _look(trainer)
        found += [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
        found += ["the number of sleeps"] * (slept is not None or sleep.sleeps > 0)
    return found


def sleeper(
    subject: Subject, spec: Dreaming | ConsolidateSleep, acceptance: AcceptanceSpec, steps: int
) -> TrainingLoop:
    """Training of a copy of the subject with its recipe, which sleeps after the first of `steps`, and then no more.

    Spikes are not looked for: fresh moments and another batch size would be some. Nothing is rolled back, so that
    nothing can be hidden.
    """
    recipe, longest = subject.experiment.recipe, LONGEST
    if subject.task is None and (longest := min(LONGEST, len(subject.text) // 2 - 1)) < 1:
        raise DoesNotApply(f"of {len(subject.text)} tokens that are held out no half could be trained on")
    small = {
        "steps": steps, "batch_size": ROWS, "sequence_length": min(longest, recipe.sequence_length), "accumulation": 1,
        "spikes": NoSpikeDetection(), "recovery": NoRecovery(),
        "sleep": spec.model_copy(update={"every": steps + 1, "acceptance": acceptance}),
        "monitor": recipe.monitor.model_copy(
            update={"probe_every": steps + 1, "validate_every": steps + 1, "validation_sequences": HELD_OUT}
        ),
    }  # fmt: skip
    experiment = subject.experiment.model_copy(update={"recipe": of_one_text(recipe).model_copy(update=small)})
    if subject.task is None:
        trainer = TrainingLoop(subject.copy(), experiment, _halves(subject), recorder=Log())
    else:
        asking = of_short_gaps(experiment, documents=HELD_OUT)
        trainer = TrainingLoop(subject.copy(), asking, load_data(asking), recorder=Log())
    start = subject.start(subject.model, ROWS)  # the trainer's model may be on another device
    trainer.memory = type(start).from_tensors({n: t.to(trainer.device) for n, t in start.tensors().items()})
    sleep_of(trainer).due = True
    return trainer


def _halves(subject: Subject) -> TextData:
    """Held-out text only: one half to train on, one to measure on."""
    return TextData.from_tokens(subject.text.numpy().astype(np.uint32), 0.5, subject.vocabulary)


def _own_or_usual(subject: Subject, kind: str) -> Dreaming:
    own = subject.experiment.recipe.sleep
    return own if isinstance(own, Dreaming) and own.kind == kind else KINDS[kind]


def sleep_of(trainer: TrainingLoop) -> Sleep:
    """The policy by which a trainer sleeps."""
    sleep = find_policy(trainer.policies, Sleep)
    assert sleep is not None
    return sleep


def _log_of(trainer: TrainingLoop) -> Log:
    recorder = trainer.recorder
    assert isinstance(recorder, Log)
    return recorder


def _look(trainer: Trainer) -> dict[str, Tensor]:
    named = everything(trainer)
    if (base := trainer.model.base_network) is not None:
        trained = {parameter.data_ptr() for parameter in trainer.model.parameters() if parameter.requires_grad}
        frozen = {name: tensor for name, tensor in base.state_dict().items() if tensor.data_ptr() not in trained}
        named |= {f"base {name}": tensor.clone() for name, tensor in frozen.items()}
    return named | {f"random state of {name}": state.clone() for name, state in trainer.random_state().items()}


def _trainable(trainer: TrainingLoop) -> set[str]:
    """Names of all weights that are not frozen, under every name that a tied one has."""
    frozen = {f"weight {name}" for name, parameter in trainer.model.named_parameters() if not parameter.requires_grad}
    return {f"weight {name}" for name in trainer.model.state_dict()} - frozen


SLEEP = (
    Property("no_nan_after_sleep", no_nan_after_sleep, nan_cases),
    Property("sleep_harms_nothing", sleep_harms_nothing, harm_cases),
)
