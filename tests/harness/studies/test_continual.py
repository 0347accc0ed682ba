"""The study of two texts in turn: cells that differ in replay alone, and a table of what the summaries have."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import torch

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies import continual
from cortexzoo.harness.studies.cells import Result, StudyCell
from cortexzoo.specs import load_experiment
from cortexzoo.specs.data import PythonLibrary, TextSpec
from cortexzoo.specs.objective import Continual, GeneratedReplay, NoReplay, ReservoirReplay
from cortexzoo.specs.plasticity import Metaplasticity, NoProtection, SlowFollower
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.training.recorder import TOKENS_PER_SECOND


@dataclass
class FakeRun:
    """A run of which summary, objective and speed are known."""

    summary: dict[str, float]
    speed: tuple[float, float]

    @property
    def spec(self) -> Any:
        return continual.cells()[0].with_seed(0)

    def metrics(self) -> list[dict[str, Any]]:
        first, then = self.speed
        rates = [first / 9, *[first] * 299, then * 5, *[then] * 299]
        rows = [{"step": step + 1, TOKENS_PER_SECOND: rate} for step, rate in enumerate(rates)]
        return [*rows, {"step": 600, "validation/loss": 1.0}]


def result(label: str, before: float, after: float, later: float, *speed: float) -> Result:
    summary = {"earlier_loss_before": before, "earlier_loss": after, "later_loss": later}
    runs = [FakeRun(summary, (speed[0], speed[1])) for _ in range(2)]
    return Result(StudyCell(label, continual.STABLE), runs)  # type: ignore[arg-type]


def test_cells_differ_in_one_thing() -> None:
    experiments = {cell.label: cell.with_seed(2) for cell in continual.cells()}
    parts = {}
    for label, experiment in experiments.items():
        objective, data, recipe = experiment.recipe.objective, experiment.data, experiment.recipe
        assert isinstance(objective, Continual) and isinstance(data, TextSpec)
        assert data.source == PythonLibrary(first="a", last="m")
        parts[label] = (objective.replay, objective.protection, recipe.sleep.kind, recipe.homeostasis.kind)
    off = (NoProtection(), "never", "none")
    assert parts == {
        continual.NOTHING: (NoReplay(), *off),
        continual.REPLAYED: (ReservoirReplay(rows=1, kl_weight=0.0), *off),
        continual.KEPT: (ReservoirReplay(rows=1, kl_weight=0.25), *off),
        continual.SAMPLED: (GeneratedReplay(rows=1, kl_weight=0.0), *off),
        continual.SAMPLED_KEPT: (GeneratedReplay(rows=1, kl_weight=0.25), *off),
        continual.RATES: (NoReplay(), Metaplasticity(), "never", "none"),
        continual.FOLLOWED: (NoReplay(), SlowFollower(), "never", "none"),
        continual.FOLLOWED_REPLAYED: (ReservoirReplay(rows=1, kl_weight=0.0), SlowFollower(), "never", "none"),
        continual.ASLEEP: (NoReplay(), NoProtection(), "replay", "none"),
        continual.USED: (NoReplay(), NoProtection(), "never", "usage"),
        continual.NOTHING_SMALL: (NoReplay(), *off),
        continual.KEPT_SMALL: (ReservoirReplay(rows=1, kl_weight=0.25), *off),
        continual.NOTHING_ALONE: (NoReplay(), *off),
        continual.KEPT_ALONE: (ReservoirReplay(rows=1, kl_weight=0.25), *off),
        continual.SAMPLED_ALONE: (GeneratedReplay(rows=1, kl_weight=0.25), *off),
        continual.HOT: (NoReplay(), *off),
        continual.HOT_USED: (NoReplay(), NoProtection(), "never", "usage"),
    }


def test_a_cell_and_what_it_is_compared_with_have_the_same_model_and_rate() -> None:
    experiments = {cell.label: cell.with_seed(0) for cell in continual.cells()}
    for label, baseline in continual.BASELINES.items():
        cell, plain = experiments[label], experiments[baseline]
        assert cell.variant.model_dump(exclude={"name"}) == plain.variant.model_dump(exclude={"name"})
        assert cell.recipe.optimizer == plain.recipe.optimizer


def test_the_table_has_what_was_forgotten_and_what_it_cost() -> None:
    results = {
        continual.NOTHING: result("", 1.5, 1.75, 1.0, 1000, 800),
        continual.REPLAYED: result("", 1.5, 1.6, 1.01, 500, 400),
        continual.KEPT: result("", 1.5, 1.5, 1.02, 1000, 640),
    }
    _, nothing, replayed, kept = continual.table(results)
    assert nothing[3:] == ("0.250 ± 0.000", "1.000 ± 0.000", "", "1.00")
    assert replayed[3:] == ("0.100 ± 0.000", "1.010 ± 0.000", "+1.0%", "1.00"), "a slow machine is no slow recipe"
    assert kept[3:] == ("0.000 ± 0.000", "1.020 ± 0.000", "+2.0%", "1.25")
    small = {
        continual.NOTHING_SMALL: result("", 1.5, 1.75, 2.0, 1000, 800),
        continual.KEPT_SMALL: result("", 1.5, 1.6, 2.1, 1000, 800),
    }
    *_, room = continual.table(results | small)
    assert room[5] == "+5.0%", "relative to the same model without replay"
    first, last = continual.findings(results)
    assert first.endswith("0.250 ± 0.000 nats a byte of the earlier text forgotten.")
    assert last.endswith("the later text +2.0%.")


def test_columns_that_are_closed_are_counted() -> None:
    small = ("variant.hidden_size=16", "variant.columns.num_columns=4", "variant.memory.short_term.capacity=16")
    spec = load_experiment(continual.STABLE, [continual.NO_LONG_TERM, *small, "recipe.sequence_length=32"])
    model: Any = build_model(spec.variant, seed=0)
    with torch.no_grad():
        model.columns.score.bias[0] = -1000.0
    asked: list[str] = []

    def load_model(checkpoint: str) -> tuple[Any, Any]:
        asked.append(checkpoint)
        return model.eval(), model.initial_state(8)

    run = cast(Run, SimpleNamespace(spec=spec, load_model=load_model))
    found = continual.usage(Result(StudyCell(continual.HOT, continual.STABLE), [run]))
    assert found.startswith("1.0 of 4 columns have a mean mask below 0.1, and the least used source a share of 0.")
    assert asked == ["last"], "the weights at the end, not the best ones"
