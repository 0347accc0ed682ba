"""Recall among distractors: the same facts and questions with each filler that the task can have in the gap."""

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, text
from cortexzoo.harness.checking.properties.recall import answered, reached_gaps, task_of
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.filler import NearKeys, NoiseFiller, OneFiller, PairsFiller, TextFiller, UnseenNoise
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.data.tasks.build import build_task_in
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.errors import DataError

FILLERS: tuple[OneFiller, ...] = (NoiseFiller(), UnseenNoise(), TextFiller(), PairsFiller(), NearKeys())
DOCUMENTS = 16
LONGEST_CHUNKS = 64
"""Longer gaps that were trained on are not asked: further facts alone would fill the check's time."""


def filled(task: Task) -> Iterator[tuple[str, Task]]:
    """The task with each filler that it can have, by kind."""
    for filler in FILLERS:
        try:
            spec = TaskSpec.model_validate({**task.spec.model_dump(), "filler": filler.model_dump()})
            yield filler.kind, build_task_in(spec, task.vocabulary, task.seed)
        except (ValidationError, DataError):
            continue


def filler_cases(subject: Subject) -> Iterable[Case]:
    """One for each filler, noise first."""
    task = task_of(subject)
    kinds = [kind for kind, _ in filled(task)]
    if kinds == [NoiseFiller().kind]:
        raise DoesNotApply(f"the gap of task {task.name} can be filled with its noise alone")
    return [{"filler": kind} for kind in kinds]


def recall_survives_distractors(subject: Subject, case: Case) -> Finding:
    """Whole answers right among one filler, over the longest gap that training came to, 64 chunks at most."""
    tasks = dict(filled(task_of(subject)))
    kind = text(case, "filler")
    task = tasks[kind]
    reached = [gap for gap in reached_gaps(subject) if task.gap_tokens(gap) <= LONGEST_CHUNKS * task.chunk_size]
    gap = max(reached, default=0)
    if gap == 0:
        raise DoesNotApply("training came to no gap that anything could fill")
    recalled = answered(subject.copy(), task, gap, documents=DOCUMENTS)
    reason = f"{recalled:.1%} of the answers right over {task.gap_tokens(gap)} tokens of {kind.replace('_', ' ')}"
    return Finding(recalled, reason, {**case, "gap": gap})


DISTRACTORS = (Property("recall_survives_distractors", recall_survives_distractors, filler_cases),)
