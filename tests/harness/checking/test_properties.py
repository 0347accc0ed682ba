"""Every property holds for a healthy model and is failed by a model made to break it, at the smallest case."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.properties import PROPERTY_NAMES, PropertyName
from cortexzoo.specs.recipe import EveryInterval, MonitorSpec
from cortexzoo.specs.suite import Check
from cortexzoo.specs.variant import CortexGPTSpec
from cortexzoo.zoo.training import schedule
from cortexzoo.zoo.training.policies.measuring import swing
from tests.harness import tiny
from tests.quick import in_slow


@pytest.fixture(autouse=True)
def _seeded() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def judged(name: PropertyName, subject: Subject) -> Judgement:
    return judge(REGISTRY[name], Check(), subject)


def test_the_registry_implements_exactly_the_properties_of_the_specs() -> None:
    assert set(REGISTRY) == set(PROPERTY_NAMES)
    assert all(entry.name == name for name, entry in REGISTRY.items())


UNHELD = {"chunk_invariance", "linear_time", "linear_memory"}
"""By the tiny model, which forgets its past between calls and compares all positions."""
OF_REAL_MODELS = {
    "padding_changes_nothing", "every_switch_counts", "memory_is_bounded", "oldest_is_evicted", "stored_is_found",
    "memory_matters", "no_dead_column", "base_is_frozen", "state_norm_is_bounded", "gradients_reach_the_facts",
    "recall_beats_controls", "recall_survives_distractors", "sleep_consolidates", "old_facts_are_kept",
    "drift_is_measured", "each_memory_is_worth_it", "memory_is_not_a_crutch", "no_own_occurrence",
    "forward_matches_a_reference", "continual_training_follows_its_rules", "slow_store_follows_its_formulas",
    "recall_is_trained_as_specified", "weights_start_as_specified", "reach_is_as_stated",
}  # fmt: skip
"""What does not apply to the tiny model; the mutants show these at work."""
DEAR = {
    "guards_follow_their_rules", "checkpoints_survive_interruption", "linear_time", "answers_follow_from_documents",
}  # fmt: skip
"""What takes seconds, and a model of its own or a clock rather than the subject."""


@pytest.mark.parametrize("name", sorted(OF_REAL_MODELS))
def test_what_does_not_apply_is_skipped(name: PropertyName) -> None:
    judgement = judged(name, tiny.subject())
    assert judgement.verdict == "skipped" and judgement.reason


HELD = [name for name in PROPERTY_NAMES if name not in UNHELD | OF_REAL_MODELS]
JUDGED_ELSEWHERE = {"checkpoints_survive_interruption", "answers_follow_from_documents"}
"""Their own files try them on healthy code."""


@pytest.mark.parametrize("name", [in_slow(name) if name in JUDGED_ELSEWHERE else name for name in HELD])
def test_a_healthy_model_holds_every_property(name: PropertyName) -> None:
    judgement = judged(name, tiny.subject())
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried >= 1
    assert judgement.margin is not None and judgement.margin >= 0


BROKEN: list[tuple[PropertyName, Callable[[], tiny.Tiny], Mapping[str, Any]]] = [
    ("causality", tiny.Acausal, {"length": 2, "edited": 1, "position": 0}),
    ("causality", tiny.LateAcausal, {"length": 16, "edited": 4, "position": 2}),
    ("batch_isolation", tiny.ValueLeaking, {"length": 1, "rows": 2, "edited_row": 0}),
    ("batch_isolation", tiny.BatchLeaking, {"length": 1, "rows": 2, "edited_row": 0}),
    ("batch_isolation", tiny.GradientLeaking, {"length": 1, "rows": 2, "edited_row": 0}),
    ("batch_isolation", tiny.RowNumbering, {"length": 1, "rows": 2, "edited_row": 0}),
    ("repeatability", tiny.CarryingOver, {"length": 1, "changed": "the output"}),
    ("repeatability", tiny.CountingCalls, {"length": 1, "changed": "model calls"}),
    ("repeatability", tiny.RollingDice, {"length": 1, "changed": "torch's random state"}),
    ("repeatability", tiny.WritingItsArgument, {"length": 1, "changed": "memory last"}),
    ("finite_gradients", tiny.NonFiniteGradient, {"length": 64, "tokens": "random"}),
    ("every_parameter_learns", tiny.Deadened, {"first": "unused"}),
    ("gate_balance", tiny.CollapsedGate, {"source": "long_term"}),
    ("any_shape_works", tiny.Crashing, {"calls": "1×1", "call": "1×1"}),
    ("own_token_counts", tiny.Blind, {"length": 1, "place": 0}),
    ("chunk_invariance", tiny.Tiny, {"pieces": "1+1"}),
    ("linear_time", tiny.Tiny, {}),
    ("linear_memory", tiny.Tiny, {}),
]


@pytest.mark.parametrize(("name", "broken", "case"), BROKEN, ids=[f"{n}-{b.__name__}" for n, b, _ in BROKEN])
def test_a_broken_model_fails_at_the_smallest_case(
    name: PropertyName, broken: Callable[[], tiny.Tiny], case: Mapping[str, Any]
) -> None:
    judgement = judged(name, tiny.subject(broken()))
    assert judgement.verdict == "fail", judgement.reason
    assert judgement.unexpected
    assert {key: judgement.case[key] for key in case} == case
    assert judgement.margin is not None and judgement.margin < 0


def test_dead_parameters_are_named_and_counted() -> None:
    judgement = judged("every_parameter_learns", tiny.subject(tiny.Deadened()))
    assert judgement.observed == 2
    assert "unused" in judgement.reason and "gate.weight" in judgement.reason


def test_long_term_parameters_learn_only_because_memory_is_filled() -> None:
    """The subject's own memory is empty: the property has to consolidate before it measures."""
    assert judged("every_parameter_learns", tiny.subject(consolidated=False)).verdict == "pass"


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in DEAR else []) for name in PROPERTY_NAMES]
)
def test_no_property_changes_its_subject(name: PropertyName) -> None:
    subject = tiny.subject(tiny.CountingCalls())
    weights = {key: value.clone() for key, value in subject.model.state_dict().items()}
    memory = {key: value.clone() for key, value in subject.state.tensors().items()}
    random_state = torch.get_rng_state()
    judged(name, subject)
    assert all(torch.equal(value, weights[key]) for key, value in subject.model.state_dict().items())
    assert all(torch.equal(value, memory[key]) for key, value in subject.state.tensors().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(parameter.grad is None for parameter in subject.model.parameters())


def test_a_model_without_gate_is_skipped() -> None:
    judgement = judged("gate_balance", tiny.subject(tiny.Gateless()))
    assert (judgement.verdict, judgement.reason) == ("skipped", "the variant has no gate")


def test_the_smallest_mean_share_is_observed() -> None:
    judgement = judged("gate_balance", tiny.subject(tiny.FixedGate()))
    assert judgement.observed == pytest.approx(0.2)
    assert judgement.case == {"source": "long_term"}


@pytest.mark.parametrize("model", [tiny.Tiny, tiny.SharingWithNothing])
def test_a_source_that_holds_nothing_is_not_live(model: Callable[[], tiny.Tiny]) -> None:
    judgement = judged("gate_balance", tiny.subject(model(), consolidated=False))
    assert judgement.verdict == "pass"
    assert "long_term" not in judgement.reason


def test_an_empty_long_term_memory_that_should_be_filled_is_said() -> None:
    subject = tiny.subject(consolidated=False)
    for every, said in [(5, "although the recipe consolidates"), (500, "its first consolidation would be at step 500")]:
        experiment = tiny.experiment(consolidation=EveryInterval(every=every)).model_copy(
            update={"variant": CortexGPTSpec(name="memory")}
        )
        judgement = judged("gate_balance", replace(subject, experiment=experiment))
        assert "long-term memory is empty" in judgement.reason and said in judgement.reason


def test_a_swing_of_the_probe_loss_fails_and_names_its_step() -> None:
    metrics = [dict(line) for line in tiny.HEALTHY_METRICS]
    metrics[11]["probe/loss"] = 9.0
    judgement = judged("bounded_loss_ratio", tiny.subject(metrics=tuple(metrics)))
    assert judgement.verdict == "fail"
    assert judgement.case["step"] == 12
    assert judgement.observed == pytest.approx(9.0 / metrics[10]["probe/loss"])


def test_a_swing_is_found_whatever_training_makes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("upward_loss_ratio", "_over"):
        monkeypatch.setattr(swing, name, lambda *_: 1.0)
    monkeypatch.setattr(schedule, "warmup_steps", lambda *_: 1000)
    metrics = [dict(line) for line in tiny.HEALTHY_METRICS]
    metrics[11]["probe/loss"] = 9.0
    assert judged("bounded_loss_ratio", tiny.subject(metrics=tuple(metrics))).verdict == "fail"


def test_a_swing_during_warmup_does_not_count() -> None:
    metrics = [dict(line) for line in tiny.HEALTHY_METRICS]
    metrics[1]["probe/loss"] = 9.0  # warmup is a tenth of 20 steps
    assert judged("bounded_loss_ratio", tiny.subject(metrics=tuple(metrics))).verdict == "pass"


@pytest.mark.parametrize(("window", "verdict"), [(5, "pass"), (20, "fail")])
def test_a_swing_counts_within_the_recipes_window(window: int, verdict: str) -> None:
    """The loss grows by a twentieth a step: little in 5 steps, to twice its value in 15."""
    metrics = tuple({"step": step, "probe/loss": 1.05**step} for step in range(1, 21))
    experiment = tiny.experiment(monitor=MonitorSpec(swing_window=window))
    subject = replace(tiny.subject(metrics=metrics), experiment=experiment)
    assert judged("bounded_loss_ratio", subject).verdict == verdict


@pytest.mark.parametrize(("apart", "verdict"), [(5, "fail"), (6, "pass")])
def test_the_window_reaches_back_to_its_last_step(apart: int, verdict: str) -> None:
    losses = {10: 1.0, 10 + apart: 2.0, 20: 2.0}
    metrics = tuple({"step": step, "probe/loss": loss} for step, loss in losses.items())
    experiment = tiny.experiment(monitor=MonitorSpec(swing_window=5))
    subject = replace(tiny.subject(metrics=metrics), experiment=experiment)
    assert judged("bounded_loss_ratio", subject).verdict == verdict


def test_a_probe_loss_that_is_not_a_number_fails() -> None:
    metrics = [dict(line) for line in tiny.HEALTHY_METRICS]
    metrics[15]["probe/loss"] = math.nan
    judgement = judged("bounded_loss_ratio", tiny.subject(metrics=tuple(metrics)))
    assert (judgement.verdict, judgement.observed) == ("fail", math.inf)


def test_without_measurements_the_loss_ratio_is_skipped() -> None:
    assert judged("bounded_loss_ratio", tiny.subject(metrics=())).verdict == "skipped"


@pytest.mark.parametrize(("loss", "verdict"), [(2.29, "pass"), (2.3, "fail"), (2.4, "fail"), (math.nan, "fail")])
def test_a_model_must_beat_counting(loss: float, verdict: str) -> None:
    summary = {"test_loss": loss, "test_ngram_loss": 2.3, "test_ngram_order": 5}
    assert judged("better_than_counting", tiny.subject(summary=summary)).verdict == verdict


def test_without_validation_counting_is_skipped() -> None:
    assert judged("better_than_counting", tiny.subject(summary={})).verdict == "skipped"


@pytest.mark.parametrize("name", ["batch_isolation", "repeatability", "finite_gradients"])
def test_a_crash_inside_a_check_is_an_error_and_no_failure(name: PropertyName) -> None:
    judgement = judged(name, tiny.subject(tiny.Crashing()))
    assert judgement.verdict == "error"
    assert judgement.unexpected
    assert "ValueError: one token is too short (tiny.py:" in judgement.reason
    assert "second line" not in judgement.reason
    assert judgement.case["length"] == 1
    assert judgement.observed is None
