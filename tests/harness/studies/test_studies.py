"""The studies: every cell is a valid experiment, and tables and findings say what the runs' summaries say."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from cortexzoo.harness.cli.study_programs import _write_section
from cortexzoo.harness.studies import learning, swings
from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_spread


@dataclass
class FakeRun:
    """A run of which only the summary is known."""

    summary: dict[str, Any]
    lines: list[dict[str, Any]] = field(default_factory=list)

    def metrics(self) -> list[dict[str, Any]]:
        return self.lines


def result(label: str, losses: list[float], ratio: float = 1.0, share: float = 0.1) -> Result:
    runs = [
        FakeRun(
            {
                "best_validation_loss": loss,
                "bigram_loss": 2.3,
                "loss_ratio": ratio,
                "raw_loss_ratio": 2.0,
                "gate_shares": {"current": 1 - share, "short_term": share},
            },
            [{"step": 1, "train/loss": 5.5}, {"step": 2, "train/loss": loss}],
        )
        for loss in losses
    ]
    return Result(StudyCell(label, "cortexgpt-stable"), runs)  # type: ignore[arg-type]


@pytest.mark.parametrize("study", [learning, swings])
def test_every_cell_is_a_valid_experiment_of_its_own(study: Any) -> None:
    cells = study.cells()
    assert len({cell.label for cell in cells}) == len(cells)
    assert len({cell.with_seed(3).hash() for cell in cells}) == len(cells)
    assert all(cell.with_seed(3).seed == 3 for cell in cells)


def test_the_best_rate_of_each_rival_is_the_one_compared_with() -> None:
    results = {cell.label: result(cell.label, [3.0, 3.0]) for cell in learning.cells()}
    results["cortexgpt-stable, robust"] = result("cortexgpt-stable, robust", [1.4, 1.6], share=0.07)
    results["transformer, robust, rate 0.003"] = result("transformer, robust, rate 0.003", [1.7, 1.9])
    results["cortexgpt-original, original, rate 0.001"] = result("cortexgpt-original, original, rate 0.001", [2.8, 2.6])
    first, memoryless, floor = learning.findings(results)
    assert "0.300 ± 0.000 nats a byte below the transformer" in first
    assert "transformer, robust, rate 0.003" in first
    assert "1.200 ± 0.283 below the original" in first
    assert "1.500 ± 0.141 higher" in memoryless
    assert memoryless.endswith("what long-term memory is worth on top of short-term memory is 1.500 ± 0.141.")
    assert "smallest share is 0.100 with it and 0.070 without" in floor


def test_swings_are_counted_by_the_worst_seed() -> None:
    results = {cell.label: result(cell.label, [2.0, 2.1]) for cell in swings.cells()}
    label = "cortexgpt-original, B 4, T 32, no warmup, rate 0.01"
    results[label] = result(label, [3.0], ratio=1.7)
    lines = swings.findings(results)
    assert "cortexgpt-original over all settings and seeds is 1.70" in lines[0]
    assert "in 1 of 12 settings: B 4, T 32, no warmup, rate 0.01." in lines[2]
    row = next(row for row in swings.table(results) if row[0] == label)
    assert row[1:] == ("1.70", "2.00", "5.5", "3.00")


def test_a_section_is_replaced_between_its_marks_only(tmp_path: Any) -> None:
    page = tmp_path / "results.md"
    page.write_text("before\n<!-- begin learning -->\nold\n<!-- end learning -->\nafter\n")
    _write_section(page, "learning", 2, [("run", "loss"), ("a", "1.0")], ["a finding"])
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| a | 1.0 |" in text
    assert "cortexzoo study learning --seeds 2" in text


def test_a_single_value_has_no_spread() -> None:
    assert mean_and_spread([1.25]) == "1.250"
    assert mean_and_spread([1.0, 2.0], digits=1) == "1.5 ± 0.7"
