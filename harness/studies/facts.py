"""What of a day's facts is left once the memory is wiped: after every kind of sleep, and after many sleeps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from cortexzoo.harness.checking.fact_days import (
    Key,
    Session,
    bound_anew,
    memory_after,
    near_keys,
    novelty_in,
    novelty_of,
    recall,
    sessions_of,
)
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, Run
from cortexzoo.harness.studies.sleep import Setting, sleeper
from cortexzoo.specs.filler import NoiseFiller
from cortexzoo.specs.sleep import DREAMS, ConsolidateSleep, NoSleep
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.build import build_trainer, load_data
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.task import Split, Task
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.weights import with_slow_store
from cortexzoo.zoo.training.evaluation import measure
from cortexzoo.zoo.training.objectives.drift import windows
from cortexzoo.zoo.training.policies.base import find_policy
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.reservoir import Example, Reservoir
from cortexzoo.zoo.training.sleep.score import Score
from cortexzoo.zoo.training.sleep.transfer import consolidate

SPLIT: Split = "test"
"""The facts of all figures; thresholds are chosen on validation documents."""
SKILL = 16
"""Sessions of facts that are never consolidated, in which skill is measured."""
TEXTS, LENGTH = 32, 128
"""Windows of held-out plain text, and their tokens."""
SLEEPS = 4
"""Sleeps of each kind that trains on dreams: with the default 8 updates, 32 in all."""
ALWAYS = 1e9
"""No novelty is as large: nothing is unknown."""
NOVELTIES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class Plan:
    """The numbers of facts taught and questions."""

    facts: int = 96
    """Of one day."""
    sleeps: int = 10
    facts_a_sleep: int = 32
    features: tuple[int, ...] = (1024, 2048, 4096)
    """Of the stores whose capacity is measured."""
    counts: tuple[int, ...] = (96, 192, 320, 480, 640)
    """Facts that each of these takes in one sleep."""


@dataclass(frozen=True)
class State:
    """How a model stands."""

    facts: float
    """Share of the taught facts that are answered with an empty memory."""
    skill: float
    """Share of facts answered that were read right before and never consolidated."""
    loss: float
    """Of held-out plain text, in nats a token."""
    seconds: float = 0.0
    """Of the sleeps, scoring left out."""


@dataclass
class Subject:
    """A trained hybrid, its task, and what it is measured on."""

    run: Run
    checkpoint: str
    model: Hybrid
    task: Task
    text: torch.Tensor
    fresh: Sequence[Session] = field(default_factory=list)
    taken: set[Key] = field(default_factory=set)

    @classmethod
    def of(cls, run: Run, checkpoint: str = "best") -> "Subject":
        """Raises `DataError` for a run that is no hybrid on a task of pairs with a text, `CheckpointError`."""
        data = load_data(run.spec)
        trainer = build_trainer(run.spec)
        if not isinstance(trainer.model, Hybrid) or not isinstance(data, TaskData) or data.text is None:
            raise DataError(f"{run.path}: facts need a hybrid that was trained on a task, beside plain text")
        trainer.load(run.path / CHECKPOINTS / checkpoint, changed=True)
        task = _asking_all(data.task)
        subject = cls(run, checkpoint, trainer.model, task, windows(data.held_out_tokens(), TEXTS, LENGTH))
        subject.fresh = sessions_of(task, SPLIT, SKILL, subject.taken, first=10**5)
        return subject

    def afresh(self) -> "Subject":
        """The same model, before any fact but the fresh ones was taught."""
        taken = {key for session in self.fresh for key in session.keys}
        return Subject(self.run, self.checkpoint, self.model, self.task, self.text, self.fresh, taken)

    def day(self, facts: int) -> list[Session]:
        """Sessions that teach so many facts, none of which was taught before."""
        pairs = len(self.fresh[0].keys)
        first = len(self.taken)
        sessions = sessions_of(self.task, SPLIT, facts // pairs, self.taken, first)
        if rest := facts % pairs:
            sessions += sessions_of(_asking_all(self.task, rest), SPLIT, 1, self.taken, 10**6 + first)
        return sessions

    def with_store(self, store: ProductStore) -> Hybrid:
        """Its model with an empty slow store."""
        return with_slow_store(self.model, store)

    def state(self, model: Hybrid, taught: Sequence[Session], seconds: float = 0.0) -> State:
        """How a model stands."""
        skill = recall(model, self.fresh, memory_after(model, self.fresh))
        return State(recall(model, taught), skill, measure(model, [self.text]).loss, seconds)


def kinds(subject: Subject, facts: int, store: ProductStore, spec: ConsolidateSleep) -> dict[str, State]:
    """One day, then each kind of sleep, from the same trained model each time."""
    day = subject.day(facts)
    awake = memory_after(subject.model, day)
    found = {"awake, memory kept": State(recall(subject.model, day, awake), np.nan, np.nan)}
    found["wiped, no sleep"] = subject.state(subject.model, day)
    found["wiped, trained on without sleep"] = subject.state(*_trained_on(subject), day)
    for kind in DREAMS:
        model, seconds = _dreamt(subject, kind, day)
        found[kind] = subject.state(model, day, seconds)
    model = subject.with_store(store)
    seconds = _sleep(model, day, spec)
    found["consolidate"] = subject.state(model, day, seconds)
    return found


def sleeps(subject: Subject, plan: Plan, store: ProductStore, spec: ConsolidateSleep) -> dict[str, Any]:
    """Share of all facts so far after each sleep, how the model stands at the end, the longest sleep in seconds."""
    model = subject.with_store(store)
    taught: list[Session] = []
    shares, longest = [], 0.0
    for _ in range(plan.sleeps):
        day = subject.day(plan.facts_a_sleep)
        taught += day
        longest = max(longest, _sleep(model, day, spec))
        shares.append(recall(model, taught))
    return {"recall": shares, "longest": longest, **asdict(subject.state(model, taught))}


def rebound(subject: Subject, facts: int, store: ProductStore, spec: ConsolidateSleep) -> dict[str, float]:
    """Half of a day's keys are bound anew on the next: shares answered with the new, the old value; of the others.

    And before that sleep: what is answered from the day's memory, in which the store still expects the old value.
    """
    model, day = subject.with_store(store), subject.day(facts)
    _sleep(model, day, spec)
    changed, others = day[: len(day) // 2], day[len(day) // 2 :]
    anew = bound_anew(subject.task, changed, SPLIT)
    by_day = recall(model, anew, memory_after(model, anew))
    _sleep(model, anew, spec)
    return {
        "new, by day": by_day,
        "new": recall(model, anew),
        "old": recall(model, changed),
        "others": recall(model, others),
    }


def unknown(subject: Subject, facts: int, store: ProductStore, spec: ConsolidateSleep) -> list[dict[str, float]]:
    """For each threshold: recall, and the shares answered of near keys, of other keys, and of places in plain text."""
    model, day = subject.with_store(store), subject.day(facts)
    _sleep(model, day, spec)
    random = np.random.default_rng([subject.run.spec.seed, facts])
    never = {"near keys": near_keys(day, subject.taken, random), "other keys": subject.day(facts)}
    heard = {name: novelty_of(model, sessions) for name, sessions in never.items() if sessions}
    heard["plain text"] = novelty_in(model, subject.text)
    rows = []
    slow = model.slow_store
    assert slow is not None
    for threshold in NOVELTIES:
        slow.spec = store.model_copy(update={"unknown_from": threshold})
        shares = {name: float((novelty < slow.threshold.cpu()).float().mean()) for name, novelty in heard.items()}
        rows.append({"unknown from": threshold, "recall": recall(model, day), **shares})
    return rows


def capacity(subject: Subject, plan: Plan, store: ProductStore, spec: ConsolidateSleep) -> dict[int, dict[int, float]]:
    """Features → facts consolidated in one sleep → share answered."""
    days = {count: subject.day(count) for count in plan.counts}
    found: dict[int, dict[int, float]] = {}
    for size in plan.features:
        found[size] = {}
        for count, day in days.items():
            model = subject.with_store(store.model_copy(update={"features": size}))
            _sleep(model, day, spec)
            found[size][count] = recall(model, day)
    return found


def everything(
    run: Run,
    checkpoint: str,
    store: ProductStore,
    spec: ConsolidateSleep,
    plan: Plan,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """All measurements of one run, as JSON values. Raises `DataError`, `CheckpointError`."""
    subject = Subject.of(run, checkpoint)
    frozen = {name: parameter.clone() for name, parameter in subject.model.named_parameters()}
    found: dict[str, Any] = {"run": run.path.name, "seed": run.spec.seed}
    report("kinds of sleep")
    found["kinds"] = {kind: asdict(state) for kind, state in kinds(subject, plan.facts, store, spec).items()}
    report("many sleeps")
    found["sleeps"] = sleeps(subject.afresh(), plan, store, spec)
    report("many sleeps without the kept curvature")
    always, alone = store.model_copy(update={"unknown_from": ALWAYS}), spec.model_copy(update={"keep_curvature": False})
    found["sleeps without curvature"] = sleeps(subject.afresh(), plan, always, alone)
    report("keys bound anew")
    found["rebound"] = rebound(subject.afresh(), plan.facts, store, spec)
    report("keys never taught")
    found["unknown"] = {n: unknown(subject.afresh(), n, store, spec) for n in (plan.facts, plan.counts[-1] // 2)}
    report("capacity")
    found["capacity"] = capacity(subject.afresh(), plan, store, spec)
    now = dict(subject.model.named_parameters())
    found["weights changed"] = sum(not torch.equal(now[name], tensor) for name, tensor in frozen.items())
    return found


def _sleep(model: Hybrid, day: Sequence[Session], spec: ConsolidateSleep) -> float:
    began = time.perf_counter()
    consolidate(model, [torch.stack([session.facts for session in day])], spec)
    return time.perf_counter() - began


def _dreamt(subject: Subject, kind: str, day: Sequence[Session]) -> tuple[Hybrid, float]:
    """The model after some sleeps of a kind on dreams, a replay of the day's facts among them; none is taken back."""
    trainer = sleeper(subject.run, kind, False, Setting(sequences=4, gaps=(1,), checkpoint=subject.checkpoint))
    sleep = find_policy(trainer.policies, Sleep)
    assert sleep is not None and isinstance(trainer.model, Hybrid)
    examples = tuple(Example(s.facts, torch.ones(len(s.facts) - 1, dtype=torch.bool)) for s in day)
    sleep.reservoir = Reservoir(len(examples), examples, len(examples))
    sleep.score = lambda _: Score(1.0)
    began = time.perf_counter()
    for _ in range(SLEEPS):
        sleep.sleep(trainer)
    return trainer.model, time.perf_counter() - began


def _trained_on(subject: Subject) -> tuple[Hybrid]:
    """The model after as many updates of training as the sleeps make, without any sleep."""
    spec = subject.run.spec
    updates = SLEEPS * next(iter(DREAMS.values()))().steps
    position = _position(subject)
    recipe = spec.recipe.model_copy(update={"sleep": NoSleep(), "steps": position + updates})
    data = spec.data.model_copy(update={"gaps": (1,), "evaluation_documents": 1})
    trainer = build_trainer(spec.model_copy(update={"recipe": recipe, "data": data}))
    trainer.load(subject.run.path / CHECKPOINTS / subject.checkpoint, changed=True)
    trainer.run()
    assert isinstance(trainer.model, Hybrid)
    return (trainer.model,)


def _position(subject: Subject) -> int:
    trainer = build_trainer(subject.run.spec)
    trainer.load(subject.run.path / CHECKPOINTS / subject.checkpoint, changed=True)
    position: int = trainer.position
    return position


def _asking_all(task: Task, pairs: int | None = None) -> Task:
    """The task with so many pairs, a question for each, and noise around them. Raises `DataError` without pairs."""
    kind = task.spec.task
    if not hasattr(kind, "num_pairs") or not hasattr(kind, "num_queries"):
        raise DataError(f"task {task.name}: facts need pairs and a question for each, as kv and kv_tokens have")
    count = pairs or kind.num_pairs
    spec = task.spec.model_copy(
        update={
            "task": kind.model_copy(update={"num_pairs": count, "num_queries": count}),
            "filler": NoiseFiller(),
            "document_chunks": None,
        }
    )
    return build_task(spec, task.seed)
