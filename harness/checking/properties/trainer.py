"""What training itself must keep: exact resumption, refusals without a trace, the loss that it reports."""

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, largest_difference, number, text
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.restored import (
    RECOVERY,
    REPLAY,
    STATES,
    stops_in_sleep,
    unlike_policies,
    unlike_results,
    unread_values,
)
from cortexzoo.harness.checking.training.witness import StopAt, Witness, append
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.guards import NoSpikeDetection
from cortexzoo.specs.objective import Continual, NoReplay, ObjectiveSpec, Recall
from cortexzoo.specs.recipe import EveryInterval
from cortexzoo.specs.sleep import ConsolidateSleep, NoSleep
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.training.evaluation import lm_loss
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS
from cortexzoo.zoo.training.schedule import rate_factor
from cortexzoo.zoo.training.state.moments import optimizer_tensors
from cortexzoo.zoo.training.state.snapshot import load_memory

STEPS, LENGTH = 6, 16
NOT = 0
"""No step."""
UPHILL = -1.0
"""Gradients are multiplied by it from the second step on, so that validation gets worse."""
CLOCKED = {"telemetry"}
"""Policies whose state contains measured seconds."""


class Log:
    """A recorder that remembers the metrics of each step."""

    def __init__(self) -> None:
        self.steps: dict[int, dict[str, float]] = {}

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Keep what does not depend on the clock."""
        self.steps[step] = {name: float(v) for name, v in values.items() if name not in WALL_CLOCK_METRICS}

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        """Events are not compared."""


class BrokenGradient(Policy):
    """Makes one gradient element NaN at one step, and compares what the refusal leaves with what was there before."""

    name = "harness_broken_gradient"

    def __init__(self, at: int) -> None:
        self.at = at
        self.moved: list[str] = []
        self.rates: dict[int, float] = {}
        self._before: dict[str, Tensor] = {}

    def gradients_ready(self, trainer: Trainer, step: Step) -> None:
        self.rates[step.number] = step.learning_rate
        if step.number == self.at:
            self._before = everything(trainer)
            gradient = next(p.grad for p in trainer.trainable if p.grad is not None)
            gradient.view(-1)[0] = float("nan")

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if step.number == self.at:
            self.moved.append("the step was taken")

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        if step.number == self.at:
            after = everything(trainer)
            self.moved += [name for name, value in self._before.items() if largest_difference(value, after[name])]


def resume_cases(_: Subject) -> Iterable[Case]:
    """Stopped right after what comes at every second step, between two of them, and after a step was taken back.

    Also with a full reservoir and a validation that was better before; after a refused step; in a sleep; and twice.
    """
    plain = {"back": NOT, "refused": NOT, "harder": False, "steps": STEPS}
    yield from (plain | changes for changes in ({"stop": 2}, {"stop": 3, "harder": True}, {"stop": 5, "back": 4}))
    yield from (plain | {"stop": 4, "refused": at, "harder": True} for at in (NOT, 4))
    yield from (plain | changes for changes in ({"stop": 4, "asleep": True}, {"stop": 2, "again": 5}))
    yield from ({"states": rule} for rule in STATES)


def resume_strategy(_: Subject) -> st.SearchStrategy[Case]:
    """Stopped anywhere, whether or not a step is rolled back before or after it."""
    return st.fixed_dictionaries(
        {
            "stop": st.integers(1, STEPS - 1),
            "back": st.integers(NOT, STEPS - 1),
            "harder": st.booleans(),
            "refused": st.integers(NOT, STEPS - 1),
            "steps": st.just(STEPS),
        }
    )


def resume_is_exact(subject: Subject, case: Case) -> Finding:
    """Train on from a checkpoint: weights, moments, memory, metrics, result and each policy as if never stopped."""
    if "states" in case:
        unread = unread_values(short(subject.experiment), text(case, "states"))
        reason = f"{', '.join(unread[:3])} is not what was read" if unread else "every state is what was read"
        return Finding(len(unread), reason, {**case, "first": unread[0]} if unread else case)
    experiment, stop, back = short(subject.experiment), number(case, "stop"), number(case, "back")
    refused = number(case, "refused", NOT)
    asleep, again = case.get("asleep") is True, number(case, "again", NOT)
    changes: dict[str, Any] = ({"recovery": RECOVERY} if back else {}) | ({"sleep": REPLAY} if asleep else {})
    scales = [1.0]
    if case["harder"] is True:
        changes |= {"sleep": REPLAY, "spikes": NoSpikeDetection()}
        scales = [1.0, 1.0, *[UPHILL] * (STEPS - 1)]
    experiment = experiment.model_copy(update={"recipe": experiment.recipe.model_copy(update=changes)})

    def witness() -> Witness:
        return Witness({refused: "refuse", back: "roll_back"}, scales)

    whole_log, log = Log(), Log()
    whole = trainer_of(experiment, whole_log, witness())
    result = whole.run()
    begun = trainer_of(experiment, log, witness())
    if asleep:
        stops_in_sleep(begun, stop)
    else:
        append(begun, [StopAt(stop)])  # behind the sleep, which would be undone
    begun.run()
    with tempfile.TemporaryDirectory() as folder:
        begun.save(place := Path(folder) / "checkpoint")
        if again:
            begun = trainer_of(experiment, log, witness(), StopAt(again))
            begun.load(place)
            begun.run()
            begun.save(place)
        resumed = trainer_of(experiment, log, witness(), StopAt(0))
        resumed.load(place)
        kept = load_memory(resumed.model, place).tensors()
    unlike = [f"{name} as it is read" for name in unlike_policies(begun, resumed, CLOCKED)]
    unlike += [f"memory {n} alone" for n, one in begun.memory.tensors().items() if not torch.equal(one, kept[n])]
    unlike += [f"{name} of the result" for name in unlike_results(result, resumed.run())]
    one, other = everything(whole), everything(resumed)
    apart = unlike + [n for n in one if n not in other or largest_difference(one[n], other[n])]
    apart += [name for name in other if name not in one]
    for step, metrics in whole_log.steps.items():
        apart += [f"{n} of step {step}" for n, v in metrics.items() if not _equal(v, log.steps.get(step, {}).get(n))]
    apart += [f"{name} at the end" for name in unlike_policies(whole, resumed, CLOCKED)]
    if not apart:
        return Finding(0, f"{STEPS} steps with a stop equal {STEPS} steps without", case)
    undone = f", step {back} rolled back" if back else f", step {refused} refused" if refused else ""
    when, count = "in the sleep of" if asleep else "after", f", {len(apart)} in all" * (len(apart) > 3)
    reason = f"resumed {when} step {again or stop}{undone}: {', '.join(apart[:3])} differ{count}"
    return Finding(len(apart), reason, {**case, "first": apart[0]})


def refusal_strategy(_: Subject) -> st.SearchStrategy[Case]:
    """At any step but the last, after which nothing shows whether the schedule waits."""
    return st.fixed_dictionaries({"at": st.integers(1, STEPS - 1), "steps": st.just(STEPS)})


def refusals_leave_no_trace(subject: Subject, case: Case) -> Finding:
    """One NaN gradient: its step is refused, nothing moves, the schedule waits, the next step is taken."""
    experiment, at = short(subject.experiment), number(case, "at")
    broken = BrokenGradient(at)
    trainer = trainer_of(experiment, Log(), broken)
    wrong: list[str] = []
    try:
        trainer.run()
    except Exception as problem:
        wrong.append(f"training gave up ({problem})")
    wrong += broken.moved
    if trainer.taken != STEPS - 1:
        wrong.append(f"{trainer.taken} steps are counted as taken, not {STEPS - 1}")
    if trainer.refused != 1:
        wrong.append(f"{trainer.refused} steps are counted as refused, not 1")
    recipe = experiment.recipe
    due = recipe.optimizer.learning_rate * rate_factor(recipe.schedule, at - 1, recipe.steps)
    if broken.rates.get(at + 1) != due:
        wrong.append("the schedule advanced")
    if not all(bool(p.isfinite().all()) for p in trainer.trainable):
        wrong.append("weights are not finite")
    if not wrong:
        return Finding(0, "a step with a NaN gradient was refused and left nothing", case)
    return Finding(len(wrong), f"a NaN gradient at step {at}: {', '.join(wrong[:3])}", case)


def refusal_cases(_: Subject) -> Iterable[Case]:
    """Once in the middle."""
    yield {"at": 3, "steps": STEPS}


@torch.no_grad()
def loss_is_of_the_next_token(subject: Subject, case: Case) -> Finding:
    """The loss that training reports against −log p of each next token, computed one by one."""
    model = subject.copy()
    tokens = subject.sequences(number(case, "rows"), number(case, "length") + 1)
    start = subject.start(model, len(tokens))
    reported = float(lm_loss(model, tokens, start)[0])
    logits = model(tokens[:, :-1], start).logits.double()
    expected = [
        float(row[t].logsumexp(0) - row[t, given[t + 1]])
        for row, given in zip(logits, tokens.tolist(), strict=True)
        for t in range(row.shape[0])
    ]
    mean = sum(expected) / len(expected)
    reason = f"reported {reported:.5f}, −log p of the next tokens is {mean:.5f} on average"
    return Finding(abs(reported - mean), reason, case)


def loss_cases(_: Subject) -> Iterable[Case]:
    """One batch."""
    yield {"rows": 2, "length": 17}


def loss_strategy(_: Subject) -> st.SearchStrategy[Case]:
    """Any batch."""
    return st.fixed_dictionaries({"rows": st.integers(1, 5), "length": st.integers(1, 100)})


def short(experiment: ExperimentSpec) -> ExperimentSpec:
    """The experiment for a few small steps: same variant, guards, optimiser and kind of sleep."""
    recipe = experiment.recipe
    consolidation = recipe.consolidation
    if isinstance(consolidation, EveryInterval):
        consolidation = EveryInterval(every=2)
    sleep = recipe.sleep
    if not isinstance(sleep, NoSleep):
        few = {"every": 2}
        if not isinstance(sleep, ConsolidateSleep):
            few |= {"steps": min(sleep.steps, 2), "batch_size": min(sleep.batch_size, 2)}
        sleep = sleep.model_copy(update=few)
    monitor = recipe.monitor.model_copy(
        update={"probe_every": 2, "validate_every": 2, "validation_sequences": 2, "checkpoint_every": 100}
    )
    length = min(LENGTH, recipe.sequence_length)  # a text need not have longer windows than those of its recipe
    small = {"steps": STEPS, "batch_size": 2, "sequence_length": length, "accumulation": 1, "monitor": monitor}
    update = {**small, "consolidation": consolidation, "sleep": sleep, "objective": _of_few_steps(recipe.objective)}
    return of_short_gaps(experiment.model_copy(update={"recipe": recipe.model_copy(update=update)}), documents=2)


def _of_few_steps(objective: ObjectiveSpec) -> ObjectiveSpec:
    """One text after another: the later one from the third step on, and no more replayed than there is."""
    if not isinstance(objective, Continual):
        return objective
    replay = objective.replay
    if not isinstance(replay, NoReplay):
        replay = replay.model_copy(update={"rows": 1, "windows": min(replay.windows, 2)})
    return objective.model_copy(update={"earlier_steps": 2, "replay": replay})


def of_short_gaps(experiment: ExperimentSpec, documents: int) -> ExperimentSpec:
    """The experiment, and where it trains recall, over at most one chunk, with so many documents for every measure."""
    recipe, data = experiment.recipe, experiment.data
    if not (isinstance(recipe.objective, Recall) and isinstance(data, TaskSpec)):
        return experiment
    epoch = {"gaps": (0, 1), "tokens_per_step": 1, "samples_per_gap": 2}
    stage = recipe.objective.stages[0].model_copy(update=epoch)
    drift = recipe.objective.drift.model_copy(update={"sequences": 2})
    objective = recipe.objective.model_copy(update={"stages": (stage,), "drift": drift})
    asked = data.model_copy(update={"gaps": (1,), "evaluation_documents": documents})
    return experiment.model_copy(update={"recipe": recipe.model_copy(update={"objective": objective}), "data": asked})


def trainer_of(experiment: ExperimentSpec, log: Log, *policies: Policy) -> TrainingLoop:
    """A trainer that writes nothing to disk."""
    model = build_model(experiment.variant, experiment.seed)
    return TrainingLoop(model, experiment, load_data(experiment), recorder=log, policies=policies)


def everything(trainer: Trainer) -> dict[str, Tensor]:
    """Copies of weights, moments and memory by name."""
    named = {f"weight {n}": p for n, p in trainer.model.state_dict().items()}
    named |= {f"moment {n}": p for n, p in optimizer_tensors(trainer).items()}
    named |= {f"memory {n}": p for n, p in trainer.memory.tensors().items()}
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def _equal(one: float, other: float | None) -> bool:
    return other is not None and (one == other or (one != one and other != other))


TRAINER = (
    Property("resume_is_exact", resume_is_exact, resume_cases, resume_strategy, cost=5),
    Property("refusals_leave_no_trace", refusals_leave_no_trace, refusal_cases, refusal_strategy, cost=5),
    Property("loss_is_of_the_next_token", loss_is_of_the_next_token, loss_cases, loss_strategy),
)
