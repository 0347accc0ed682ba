"""The memory of a training is predicted in a time that does not grow with its rows."""

import pytest

from cortexzoo.harness.runs import memory
from cortexzoo.harness.runs.costs import Costs
from cortexzoo.harness.runs.memory import predicted_memory, require_memory
from cortexzoo.specs import load_experiment
from cortexzoo.zoo.errors import SetupError


@pytest.mark.parametrize("name", ["cortexgpt-stable", "cortex-v2-hybrid"])
def test_long_rows_are_predicted_as_they_are_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortexzoo.harness.runs.memory.COUNTED", 1024)
    experiment = load_experiment(name, ["recipe.sequence_length=4096"])
    counted = Costs.of(experiment.variant, experiment.recipe)
    assert counted.length == counted.whole_length > 1024
    assert predicted_memory(experiment) == pytest.approx(counted.memory.total, rel=0.01)


def test_a_row_of_a_hundred_million_tokens_costs_no_more_to_predict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortexzoo.harness.runs.memory.COUNTED", 1024)
    experiment = load_experiment("cortexgpt-stable", ["recipe.sequence_length=100000000"])
    assert Costs.of(experiment.variant, experiment.recipe, memory.COUNTED).length == memory.COUNTED
    assert predicted_memory(experiment) > 1e12


def test_what_trains_alike_is_predicted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another seed, or more steps, take what the first training does; longer rows and another model do not."""
    asked: list[str] = []
    monkeypatch.setattr(memory, "_PREDICTED", {})
    monkeypatch.setattr(memory, "predicted_memory", lambda experiment: asked.append(experiment.name) or 2**62)
    small = ["variant.hidden_size=16"]
    for changes, count in ([], 1), (["seed=3", "recipe.steps=7"], 1), (["recipe.sequence_length=9"], 2), (small, 3):
        with pytest.raises(SetupError, match="this machine has"):
            require_memory(load_experiment("cortexgpt-stable", changes), pytest.fail)
        assert len(asked) == count
