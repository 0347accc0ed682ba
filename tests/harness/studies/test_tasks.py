"""The study of tasks: a valid experiment for each, and a table of what its model answers, beside both controls."""

from dataclasses import dataclass, field

import pytest

from cortexzoo.harness.studies import tasks
from cortexzoo.harness.studies.cells import Result, StudyCell
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.objective import Recall
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.data.tasks.accuracy import Accuracy
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState


@dataclass(eq=False)
class FakeRun:
    """A run whose model was never trained."""

    spec: ExperimentSpec = field(default_factory=lambda: tasks.cells()[0].with_seed(0))

    def load_model(self, _checkpoint: str) -> tuple[MemoryLanguageModel[MemoryState], None]:
        return build_model(self.spec.variant, self.spec.seed), None


def result(label: str, runs: int = 2) -> Result:
    return Result(StudyCell(label, tasks.HYBRID), [FakeRun() for _ in range(runs)])  # type: ignore[misc]


def test_every_task_has_an_experiment_that_its_model_can_run() -> None:
    found = set()
    for cell in tasks.cells():
        experiment = cell.with_seed(1)
        data = experiment.data
        assert isinstance(experiment.recipe.objective, Recall) and isinstance(data, TaskSpec)
        assert build_task(data, 1).vocabulary.size <= experiment.variant.vocab_size
        found.add(data.task.kind)
    assert found == {"copy", "nback", "add", "passkey", "selective_copy", "mqar"}


def test_a_row_has_each_gap_the_worst_seed_and_both_controls(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (FakeRun(), FakeRun())
    shares = {(one, True): 1.0, (two, True): 0.9, (one, False): 0.0, (two, False): 0.01}

    def answered(run: FakeRun, gap: int, memory: bool) -> Accuracy:
        share = shares[run, memory] - gap / 1000
        return Accuracy(share, share / 2, 300)

    monkeypatch.setattr(tasks, "answered", answered)
    found = {"copy": Result(StudyCell("copy", tasks.HYBRID), [one, two])}  # type: ignore[list-item]
    header, *rows = tasks.table(found)
    gaps = [str(gap) for gap in one.spec.data.gaps]  # type: ignore[union-attr]
    assert header[:3] == ("task", "seeds", "gap, chunks") and [row[2] for row in rows] == gaps
    assert rows[0][3:5] == ("0.949 (0.899)", "0.009")
    assert tasks.findings(found) == [
        "Learned, with 90% of the answers or more at the longest gap: copy.",
    ]
    shares[one, True] = 0.5
    assert tasks.findings(found)[1] == "Not learned in as many steps: copy."


def test_answers_are_those_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "ANSWERS", 2)
    for memory in (True, False):
        found = tasks.answered(FakeRun(), 1, memory)  # type: ignore[arg-type]
        assert found.answers >= 2 and found.exact < 0.5, "nothing was trained"
