"""The study of two texts in turn: cells that differ in replay alone, and a table of what the summaries have."""

from dataclasses import dataclass

import pytest

from cortexzoo.harness.studies import continual
from cortexzoo.harness.studies.cells import Result, StudyCell
from cortexzoo.specs.data import PythonLibrary, TextSpec
from cortexzoo.specs.objective import Continual, NoReplay, ReservoirReplay


@dataclass
class FakeRun:
    """A run of which only the summary is known."""

    summary: dict[str, float]


def result(label: str, before: float, after: float, later: float, speed: float) -> Result:
    summary = {
        "earlier_loss_before": before, "earlier_loss": after, "later_loss": later, "tokens_per_second": speed,
    }  # fmt: skip
    return Result(StudyCell(label, continual.STABLE), [FakeRun(summary), FakeRun(summary)])  # type: ignore[list-item]


def test_cells_differ_in_their_replay() -> None:
    experiments = {cell.label: cell.with_seed(2) for cell in continual.cells()}
    replays = {}
    for label, experiment in experiments.items():
        objective, data = experiment.recipe.objective, experiment.data
        assert isinstance(objective, Continual) and isinstance(data, TextSpec)
        assert data.source == PythonLibrary(first="a", last="m")
        replays[label] = objective.replay
    assert replays == {
        continual.NOTHING: NoReplay(),
        continual.REPLAYED: ReservoirReplay(kl_weight=0.0),
        continual.KEPT: ReservoirReplay(),
    }


def test_the_table_has_what_was_forgotten_and_what_it_cost() -> None:
    results = {
        continual.NOTHING: result("", 1.5, 1.75, 1.0, 1000),
        continual.REPLAYED: result("", 1.5, 1.6, 1.01, 1000),
        continual.KEPT: result("", 1.5, 1.5, 1.02, 800),
    }
    _, nothing, _, kept = continual.table(results)
    assert nothing[3:] == ("0.250 ± 0.000", "1.000 ± 0.000", "1.00")
    assert kept[3:] == ("0.000 ± 0.000", "1.020 ± 0.000", "1.25")
    first, *_, last = continual.findings(results)
    assert first.endswith("0.250 ± 0.000 nats a byte of the earlier text forgotten.")
    assert last.endswith("the later text +2.0%.")
    assert len(continual.findings(results)) == 3


def test_the_speed_is_that_of_training() -> None:
    assert continual._seconds(result("", 1.0, 1.0, 1.0, 500)) == pytest.approx([0.002, 0.002])
