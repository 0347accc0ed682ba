"""Sleep that consolidates: a day's facts outlive their memory, and an earlier day's outlive the next sleep.

A subject without a slow store gets one, whose threshold of novelty is chosen on the validation part: how far the query
of a key moves with what stands before it differs from model to model.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cortexzoo.harness.checking.fact_days import Session, known_keys, memory_after, novelty_of, recall, sessions_of
from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, once
from cortexzoo.harness.checking.properties.hybrid import hybrid_of
from cortexzoo.harness.checking.properties.recall import task_of
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.filler import NoiseFiller
from cortexzoo.specs.sleep import ConsolidateSleep
from cortexzoo.specs.slow_store import ProductStore
from cortexzoo.zoo.data.tasks.build import build_task_in
from cortexzoo.zoo.data.tasks.task import Split, Task
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.weights import with_slow_store
from cortexzoo.zoo.training.sleep.transfer import consolidate

SESSIONS = 8
"""Of a day, at most."""
FIRST_OF_SECOND_DAY = 10_000
FEWEST_FEATURES, FEATURES_A_FACT = 2048, 160
"""Of a store that is made for the check; with 4,096 a solve takes seconds."""
WITHOUT = 0.5
"""So many of the answers may be right with an empty memory before any sleep."""


@dataclass
class Days:
    """A copy of the subject with an empty slow store, and two days of facts that share no key."""

    model: Hybrid
    first: Sequence[Session]
    second: Sequence[Session]

    @classmethod
    def of(cls, subject: Subject) -> "Days":
        """Raises `DoesNotApply` for what is no hybrid that was trained on pairs, and for too few keys."""
        task = task_of(subject)
        hybrid_of(subject)
        kind = task.spec.task
        if not hasattr(kind, "num_pairs") or not hasattr(kind, "num_queries"):
            raise DoesNotApply(f"the task {task.name} has no pairs that could be asked for one by one")
        asking = kind.model_copy(update={"num_queries": kind.num_pairs})
        spec = task.spec.model_copy(update={"task": asking, "filler": NoiseFiller(), "document_chunks": None})
        plain = build_task_in(spec, task.vocabulary, task.seed)
        first, second = _two_days(plain, "test")
        return cls(_with_store(subject, plain, sum(len(session.keys) for session in (*first, *second))), first, second)

    def sleep(self, day: Sequence[Session]) -> None:
        """Consolidate a day."""
        _sleep(self.model, day)


def sleep_consolidates(subject: Subject, case: Case) -> Finding:
    """Facts of a day answered from an empty memory after the sleep, or keys that it never held left unanswered.

    Whichever is less; 0 where a weight of the sidecars moved.
    """
    days = Days.of(subject)
    frozen = {name: parameter.clone() for name, parameter in days.model.named_parameters()}
    known = recall(days.model, days.first)
    if known > WITHOUT:
        raise DoesNotApply(f"{known:.1%} of the answers are right before the facts were read")
    kept = recall(days.model, days.first, memory_after(days.model, days.first))
    days.sleep(days.first)
    after = recall(days.model, days.first)
    moved = [name for name, now in days.model.named_parameters() if not torch.equal(now, frozen[name])]
    if moved:
        return Finding(0.0, f"the sleep changed {moved[0]}", case)
    count = sum(len(session.keys) for session in days.first)
    silent = 1 - float(known_keys(days.model, days.second).double().mean())
    reason = (
        f"of {count} facts, memory wiped: {known:.1%} before the sleep, {after:.1%} after it; kept: {kept:.1%}; "
        f"of as many keys that were never taught {silent:.1%} are unknown"
    )
    return Finding(min(after, silent), reason, {**case, "facts": count})


def old_facts_are_kept(subject: Subject, case: Case) -> Finding:
    """Facts of the first day answered from an empty memory after the second sleep."""
    days = Days.of(subject)
    days.sleep(days.first)
    before = recall(days.model, days.first)
    days.sleep(days.second)
    after, new = recall(days.model, days.first), recall(days.model, days.second)
    reason = f"the first day's facts: {before:.1%}, after the second sleep {after:.1%}; the second day's {new:.1%}"
    return Finding(after, reason, case)


def _sleep(model: Hybrid, day: Sequence[Session]) -> None:
    consolidate(model, [torch.stack([session.facts for session in day])], ConsolidateSleep())


def _two_days(task: Task, split: Split) -> tuple[Sequence[Session], Sequence[Session]]:
    """As many sessions a day as there are keys for. Raises `DoesNotApply`."""
    for count in range(SESSIONS, 0, -1):
        taken: set[tuple[int, ...]] = set()
        with suppress(DataError):
            first = sessions_of(task, split, count, taken)
            return first, sessions_of(task, split, count, taken, first=FIRST_OF_SECOND_DAY)
    raise DoesNotApply(f"the task {task.name} has too few keys for two days of facts")


def _with_store(subject: Subject, task: Task, facts: int) -> Hybrid:
    """The subject's own store, emptied; or one with the defaults, and no more features than so many facts need.

    The threshold of the latter separates facts of the validation part that are taught from others.
    """
    model = subject.copy()
    assert isinstance(model, Hybrid)
    own = model.spec.slow_store
    store = own if isinstance(own, ProductStore) else ProductStore()
    if store is not own:
        most = store.distinct_products(model.spec.mixer.num_heads * model.spec.mixer.memory_key_dim)
        enough = max(FEWEST_FEATURES, FEATURES_A_FACT * facts)
        store = store.model_copy(update={"features": min(store.features, most, enough)})
        threshold = _threshold(with_slow_store(model, store).eval(), *_two_days(task, "validation"))
        store = store.model_copy(update={"unknown_from": threshold})
    return with_slow_store(model, store).eval()


def _threshold(model: Hybrid, taught: Sequence[Session], others: Sequence[Session]) -> float:
    """Of novelty, relative to the usual one: keys that were taught lie below it, others above."""
    store = model.slow_store
    assert store is not None
    _sleep(model, taught)
    if not store.pairs:
        return store.spec.unknown_from  # nothing was written that could be known
    below, above = (novelty_of(model, day) / store.usual.cpu() for day in (taught, others))
    return least_mistaken(below, above)


def least_mistaken(below: Float[Tensor, " below"], above: Float[Tensor, " above"]) -> float:
    """The border of two groups with the smallest shares on its wrong side, in the widest gap of equally good ones."""
    ends = torch.cat([below, above]).sort().values
    borders, gaps = (ends[1:] + ends[:-1]) / 2, ends[1:] - ends[:-1]
    wrong = (below >= borders[:, None]).double().mean(1) + (above < borders[:, None]).double().mean(1)
    return float(borders[gaps.where(wrong == wrong.min(), -1.0).argmax()])


CONSOLIDATION = (
    Property("sleep_consolidates", sleep_consolidates, once),
    Property("old_facts_are_kept", old_facts_are_kept, once),
)
