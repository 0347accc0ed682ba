"""Training on one text after another is healthy: the properties of training hold for it, across the change of text."""

from pathlib import Path

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.properties.trainer import short
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.runs.train import subject_of, train_run
from cortexzoo.specs import load_experiment
from cortexzoo.specs.objective import Continual
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.suite import Check
from tests.harness.trained import QUIET

BOTH_TEXTS = (
    "recipe={extends: continual}", "recipe.steps=8", "recipe.objective.earlier_steps=4", "recipe.schedule.period=4",
    "data=python-library", "recipe.batch_size=2", "recipe.sequence_length=16", "variant.hidden_size=16",
    "recipe.monitor.validation_sequences=4",
)  # fmt: skip
RUNS = {
    "cortexgpt-stable": (
        "variant.memory.long_term={kind: raw_ring, capacity: 64}", "variant.columns.num_columns=2",
        "recipe.objective.replay.windows=4", "recipe.homeostasis={kind: usage}",
        "recipe.objective.protection={kind: metaplasticity}", "recipe.consolidation.every=2",
    ),
    "transformer": (
        "recipe.objective.replay={kind: generated, windows: 2, discarded: 2}", "variant.num_layers=1",
        "recipe.objective.protection={kind: slow_follower}", "variant.intermediate_size=16",
    ),
}  # fmt: skip
JUDGED: tuple[PropertyName, ...] = (
    "resume_is_exact", "refusals_leave_no_trace", "data_is_served_once_an_epoch", "sleep_harms_nothing",
    "no_nan_after_sleep", "steps_match_a_reference",
)  # fmt: skip


@pytest.fixture(scope="module", params=RUNS)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    runs: Path = tmp_path_factory.mktemp("runs")
    experiment = load_experiment(request.param, [*BOTH_TEXTS, *RUNS[request.param]])
    return subject_of(train_run(experiment, runs, QUIET))


@pytest.mark.parametrize("name", JUDGED)
def test_it_is_accused_of_nothing(subject: Subject, name: PropertyName) -> None:
    judgement = judge(REGISTRY[name], Check(), subject)
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["cortexgpt-stable"], indirect=True)
def test_its_guards_are_judged_without_homeostasis_which_the_least_transformer_has_no_gate_for(
    subject: Subject,
) -> None:
    judgement = judge(REGISTRY["guards_follow_their_rules"], Check(), subject)
    assert judgement.verdict == "pass", judgement.reason


def test_a_short_training_of_it_goes_over_to_the_later_text(subject: Subject) -> None:
    recipe = short(subject.experiment).recipe
    assert isinstance(recipe.objective, Continual)
    assert 0 < recipe.objective.earlier_steps < recipe.steps
    RecipeSpec.model_validate(recipe.model_dump())
