"""What is measured, and what measuring leaves alone: both properties pass as they are, and find small changes."""

from typing import Any

import pytest

from cortexzoo.harness.checking.judge import judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.models import modes
from cortexzoo.zoo.training import evaluation
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from tests.harness.checking.properties.planted import is_caught
from tests.harness.checking.properties.test_forward import experiment_of, untrained

WHOLE: PropertyName = "held_out_is_measured_whole"
NOTHING: PropertyName = "measuring_changes_nothing"


def judged(property_name: PropertyName, subject: str, case: dict[str, Any]) -> Judgement:
    return judge_case(REGISTRY[property_name], Check(), untrained(experiment_of(subject)), case)


@pytest.mark.parametrize("subject", ["contexts", "original", "transformer", "hybrid"])
def test_they_pass_as_they_are(subject: str) -> None:
    cases = [(WHOLE, {"sequences": "some"}), (NOTHING, {})]
    if subject != "hybrid":  # trained on documents, which no batch continues
        cases.append((WHOLE, {"sequences": "written"}))
    if subject == "transformer":  # of a model and a text of the harness
        cases += [(WHOLE, {"sequences": of, "most": most}) for of in ("tokens", "documents") for most in (0, 5)]
    for name, case in cases:
        judgement = judged(name, subject, case)
        assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize(
    ("subject", "sequences", "owner", "function", "old", "new"),
    [
        (
            "hybrid", "some", RecallObjective, "held_out",
            "sorted({gap for stage in self.spec.stages for gap in stage.gaps})", "sorted(self.spec.stages[0].gaps)",
        ),
        ("contexts", "written", evaluation, "measure", "model.documents_ended(output.state)", "output.state"),
        ("contexts", "written", evaluation, "measure", "(index + 1) % consolidate", "index % consolidate"),
        ("contexts", "written", evaluation, "measure", "state = model.consolidate(state)", "pass"),
    ],
)  # fmt: skip
def test_what_is_measured_otherwise_is_found(
    subject: str, sequences: str, owner: object, function: str, old: str, new: str
) -> None:
    assert is_caught(owner, function, old, new, lambda: judged(WHOLE, subject, {"sequences": sequences}))


@pytest.mark.parametrize(
    ("sequences", "owner", "function", "old", "new"),
    [
        ("documents", evaluation, "measure", "count = int(counting.sum())", "count = counting.numel()"),
        ("tokens", evaluation, "measure", "asked = batch[:, 1:].flatten()", "asked = batch[:, :-1].flatten()"),
        ("documents", evaluation, "measure", "batch[:, 1:][scored[index]]\n", "batch[:, :-1][scored[index]]\n"),
        ("tokens", NextTokenObjective, "__init__", 'token_bytes("validation")', 'token_bytes("training")'),
        ("documents", NextTokenObjective, "probe", "length), self", "length), None and self"),
        ("tokens", NextTokenObjective, "held_out", 'sums["loss"] / sums["targets"]', 'sums["loss"] / sums["bytes"]'),
    ],
)
def test_tokens_of_several_bytes_that_are_measured_otherwise_are_found(
    sequences: str, owner: object, function: str, old: str, new: str
) -> None:
    case = {"sequences": sequences, "most": 5}
    assert is_caught(owner, function, old, new, lambda: judged(WHOLE, "transformer", case))


def test_one_mode_for_all_modules_is_found() -> None:
    each = "for module, training in modes:\n            module.training = training"
    assert is_caught(modes, "evaluating", each, "model.train(modes[0][1])", lambda: judged(NOTHING, "transformer", {}))
