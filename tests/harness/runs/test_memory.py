"""The memory of a training is predicted in a time that does not grow with its rows."""

import pytest

from cortexzoo.harness.runs.costs import Costs
from cortexzoo.harness.runs.memory import COUNTED, predicted_memory
from cortexzoo.specs import load_experiment


@pytest.mark.parametrize("name", ["cortexgpt-stable", "cortex-v2-hybrid"])
def test_long_rows_are_predicted_as_they_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortexzoo.harness.runs.memory.COUNTED", 1024)
    experiment = load_experiment(name, ["recipe.sequence_length=4096"])
    counted = Costs.of(experiment.variant, experiment.recipe)
    assert counted.length == counted.whole_length > 1024
    assert predicted_memory(experiment) == pytest.approx(counted.memory.total, rel=0.01)


def test_a_row_of_a_hundred_million_tokens_costs_no_more_to_predict() -> None:
    experiment = load_experiment("cortexgpt-stable", ["recipe.sequence_length=100000000"])
    assert Costs.of(experiment.variant, experiment.recipe, COUNTED).length == COUNTED
    assert predicted_memory(experiment) > 1e12
