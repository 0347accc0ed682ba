"""A column that opens and adds nothing is dead, for soft thresholds and for a hard top-k alike."""

import pytest
import torch

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from tests.harness.trained import train_small

HARD = "variant.columns.sparsity={kind: hard_top_k, over: batch_and_time, fraction: 0.25}"


@pytest.fixture(scope="module", params=["soft", "hard"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    changes = [HARD] if request.param == "hard" else []
    return subject_of(train_small(tmp_path_factory.mktemp("runs"), "recipe.steps=4", *changes))


def test_columns_that_work_pass(subject: Subject) -> None:
    judgement = judge(REGISTRY["no_dead_column"], Check(), subject)
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.observed is not None and judgement.observed < 0.999, "no two columns add exactly the same"


def test_a_column_that_adds_nothing_fails_and_is_named(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    model = subject.copy()
    assert isinstance(model, CortexGPT)
    with torch.no_grad():
        model.columns.output_weight[1], model.columns.output_bias[1] = 0.0, 0.0
    monkeypatch.setattr(Subject, "copy", lambda _: model)
    judgement = judge(REGISTRY["no_dead_column"], Check(), subject)
    assert (judgement.verdict, judgement.observed, judgement.case) == ("fail", 0.0, {"column": 1})
