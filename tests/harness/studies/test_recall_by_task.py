"""The study of recall: cells that are valid experiments, a table and findings that say what the summaries say."""

from dataclasses import dataclass
from typing import Any

from cortexzoo.harness.studies import recall_by_task
from cortexzoo.harness.studies.cells import Result, StudyCell
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.specs.objective import Recall


@dataclass
class FakeRun:
    """A run of which only spec and summary are known."""

    spec: ExperimentSpec
    summary: dict[str, Any]


def result(label: str, shares: list[dict[str, float]], perplexity: float | None = 5.0) -> Result:
    spec = load_experiment("cortex-v2-hybrid")
    runs = []
    for by_gap in shares:
        summary = {
            "recall": {"pairs": by_gap},
            "recall_memory_off": {"pairs": {"1": 0.02, "550": 0.01}},
            "recall_base": None if perplexity is None else {"pairs": {"1": 0.03}},
            "chance": {"pairs": 1 / 64},
            "perplexity": perplexity,
            "base_perplexity": None if perplexity is None else 4.0,
        }
        runs.append(FakeRun(spec, summary))
    return Result(StudyCell(label, "cortex-v2-hybrid"), runs)  # type: ignore[arg-type]


def results() -> dict[str, Result]:
    return {
        recall_by_task.FAR: result(recall_by_task.FAR, [{"1": 1.0, "550": 0.98}, {"1": 1.0, "550": 1.0}]),
        "from scratch": result("from scratch", [{"0": 0.995}], perplexity=None),
        f"{recall_by_task.FAR}, plain text unguarded": result("u", [{"1": 1.0}], perplexity=9.0),
        f"{recall_by_task.FAR}, state detached at every chunk": result("d", [{"1": 0.125, "550": 0.02}]),
    }


def test_every_cell_trains_recall_and_says_what_it_leaves_out() -> None:
    cells = recall_by_task.cells()
    experiments = {cell.label: cell.with_seed(1) for cell in cells}
    assert len({experiment.hash() for experiment in experiments.values()}) == len(cells)
    assert all(isinstance(experiment.recipe.objective, Recall) for experiment in experiments.values())
    detached = experiments[f"{recall_by_task.FAR}, state detached at every chunk"].recipe.objective
    unguarded = experiments[f"{recall_by_task.FAR}, plain text unguarded"].recipe.objective
    assert isinstance(detached, Recall) and isinstance(unguarded, Recall)
    assert detached.bptt_chunks == 1
    assert unguarded.in_chunk.kind == "none"


def test_the_table_holds_means_worst_seeds_and_the_best_of_each_control() -> None:
    header, far, scratch, *_ = recall_by_task.table(results())
    assert header == (
        "run", "seeds", "gap 0", "gap 1", "gap 550", "memory off", "base alone", "chance", "perplexity",
    )  # fmt: skip
    assert far == (
        recall_by_task.FAR, "2", "", "1.000 (1.000)", "0.990 (0.980)", "0.020", "0.030", "0.016", "5.00 ± 0.00",
    )  # fmt: skip
    assert scratch == ("from scratch", "1", "0.995 (0.995)", "", "", "0.020", "–", "0.016", "–")


def test_the_findings_are_those_of_the_longest_gap_and_the_worst_seed() -> None:
    far, text, detached = recall_by_task.findings(results())
    assert far == (
        "Over 550 chunks of 64 tokens, 35,200 in all, 99.0% of the answers are right, 98.0% with the worst seed."
    )
    assert "perplexity of 5.00 ± 0.00 where the base alone has 4.00 ± 0.00" in text
    assert text.endswith("without the penalty on divergence it is 9.00.")
    assert detached.endswith("12.5% of the answers are right at best.")
