"""`reach_is_as_stated`: passes as it is, and finds a reach that is stated too short or too long."""

from dataclasses import replace

import pytest

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.hybrid.block import FAST_WEIGHTS, WINDOW
from cortexzoo.zoo.models.hybrid.model import Hybrid
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught

NAME = "reach_is_as_stated"


@pytest.fixture(scope="module")
def subject() -> Subject:
    experiment = load_experiment("cortex-v2-hybrid", ["variant.layers=null", "variant.backbone.training.steps=2"])
    model = build_model(experiment.variant, 0).eval()
    return replace(tiny.subject(), experiment=experiment, model=model, state=model.initial_state(1))


def test_it_passes_as_it_is(subject: Subject) -> None:
    judgement = judge(REGISTRY[NAME], Check(), subject)
    assert judgement.verdict == "pass" and judgement.cases_tried == 11, judgement.reason


@pytest.mark.parametrize(
    "change",
    [
        "conv={noise: 0}", "conv={kernel_size: 1, key_lags: [0], noise: 0}", "write_threshold=0.5", "write_bias=-20",
        "decay={fastest_bias: -3, slowest_bias: 0}", "gate_bias=-20",
    ],
)  # fmt: skip
def test_a_weak_path_is_no_shorter_one(change: str) -> None:
    experiment = load_experiment(
        "cortex-v2-hybrid", ["variant.layers=null", "variant.backbone.training.steps=2", f"variant.mixer.{change}"]
    )
    model = build_model(experiment.variant, 0).eval()
    of = replace(tiny.subject(), experiment=experiment, model=model, state=model.initial_state(1))
    for case in (
        {"window": 5, "kernel": 4, "layers": "last", "without": FAST_WEIGHTS},
        {"window": 5, "kernel": 4, "layers": "all", "without": WINDOW},
    ):
        judgement = judge_case(REGISTRY[NAME], Check(), of, case)
        assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mixer.window_size - 1", "mixer.window_size - 2"),
        ("mixer.window_size - 1", "mixer.window_size"),
        ("kernel_size - 1", "kernel_size - 2"),
        ("len(self.sidecars) * ", ""),
        ("ceil(back / size)", "(back // size)"),
        ("WINDOW in disabled", "WINDOW not in disabled"),
        ("FAST_WEIGHTS not in disabled", "not disabled"),
    ],
)
def test_another_reach_is_found(subject: Subject, old: str, new: str) -> None:
    assert is_caught(Hybrid, "receptive_field", old, new, lambda: judge(REGISTRY[NAME], Check(), subject))
