"""What one small hybrid, trained from scratch with one recipe, learns of each task that is not plain pairs."""

from collections.abc import Mapping
from functools import cache
from statistics import fmean

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.answering import answered_by
from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_worst
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.data.tasks.accuracy import Accuracy
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.training.objectives.recall_objective import MEMORY

HYBRID = "cortex-v2-hybrid"
PAGE = "tasks.md"
ANSWERS = 300
"""Of each figure and seed, at least."""
LEARNED = 0.9
"""Share of whole answers, mean over the seeds, from which a task counts as learned."""

LETTERS = (
    "variant=cortex-v2-hybrid-tasks",
    "recipe=cortex-v2-tasks",
    "data.gaps=[1,4,16]",
    "data.evaluation_documents=16",
)
"""Trained over at most 4 chunks."""
SHORT = ("data.task.sequence_length=256", "data.task.num_copied=8")
"""Of 4096 blanks a step would have a single document."""
TASKS = {
    "passkey": (*LETTERS, "data=passkey", "recipe.steps=150"),
    "copy, 16 letters backwards": (*LETTERS, "data=copy"),
    "nback": (*LETTERS, "data=nback"),
    "add, 32 digits": (*LETTERS, "data=add"),
    "selective copy, 8 tokens in 256": (*LETTERS, "data=selective-copy", *SHORT),
    "MQAR, 64 pairs in 512 tokens": (
        "variant=cortex-v2-hybrid-scratch", "recipe=cortex-v2-mqar", "data=mqar-512-64", "data.evaluation_documents=16",
    ),
}  # fmt: skip


def cells() -> list[StudyCell]:
    """One experiment for each task."""
    return [StudyCell(name, HYBRID, overrides) for name, overrides in TASKS.items()]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: answers of test documents that are right, mean over seeds and the worst, and controls."""
    header = (
        "task",
        "seeds",
        "gap, chunks",
        "answers right",
        "memory off",
        "chance",
        "their tokens right",
        "chance, tokens",
    )
    return [header, *(row for label, result in results.items() for row in _rows(label, result))]


def findings(results: Mapping[str, Result]) -> list[str]:
    """Which tasks are learned."""
    learned = [label for label, result in results.items() if fmean(_shares(result, _longest(result))) >= LEARNED]
    others = [label for label in results if label not in learned]
    found = [f"Learned, with {LEARNED:.0%} of the answers or more at the longest gap: {', '.join(learned) or 'none'}."]
    return [*found, f"Not learned in as many steps: {', '.join(others)}."] if others else found


def _rows(label: str, result: Result) -> list[tuple[str, ...]]:
    task = build_task(_data(result.runs[0]), 0)
    chance = task.chance()
    return [
        (
            label, str(len(result.runs)), str(gap), mean_and_worst(_shares(result, gap)),
            f"{max(answered(run, gap, False).exact for run in result.runs):.3f}", f"{chance.exact:.2g}",
            mean_and_worst([answered(run, gap, True).token for run in result.runs]), f"{chance.token:.2g}",
        )
        for gap in task.spec.gaps
    ]  # fmt: skip


def _longest(result: Result) -> int:
    return max(_data(result.runs[0]).gaps)


def _shares(result: Result, gap: int) -> list[float]:
    return [answered(run, gap, True).exact for run in result.runs]


def _data(run: Run) -> TaskSpec:
    data = run.spec.data
    assert isinstance(data, TaskSpec)
    return data


@cache
def answered(run: Run, gap: int, memory: bool) -> Accuracy:
    """What a run's best model answers of test documents, with its fast weights on or off."""
    task, model = build_task(_data(run), run.spec.seed), run.load_model("best")[0]
    return answered_by(model, task, gap, ANSWERS, () if memory else {MEMORY})
