"""`sleep_matches_a_reference`: passes as it is, and finds what a sleep leaves, repeats or is measured wrongly."""

from functools import cache, partial

import pytest
import torch

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.reference_sleep import noisy
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training.sleep import anchors, dreams
from cortexzoo.zoo.training.sleep.phase import SleepPhase
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.state.undo import Weights
from tests.harness.checking.properties.planted import is_caught
from tests.harness.checking.properties.test_forward import experiment_of, untrained
from tests.quick import in_slow

PROPERTY = REGISTRY["sleep_matches_a_reference"]


@cache
def subject(name: str) -> Subject:
    return untrained(experiment_of(name))


def judged(name: str, **case: str) -> Judgement:
    return judge_case(PROPERTY, Check(), subject(name), case)


@pytest.mark.parametrize("name", ["transformer", "hybrid"])
def test_it_passes_as_it_is(name: str) -> None:
    judgement = judge(PROPERTY, Check(), subject(name))
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 14


@pytest.mark.parametrize(
    ("owner", "function", "old", "new"),
    [
        (Weights, "restore", "(*self.parameters.items(), *self.buffers.items())", "self.parameters.items()"),
        (Weights, "restore", "(*self.parameters.items(), *self.buffers.items())", "self.buffers.items()"),
        (Sleep, "sleep", "self.sleeps + 1", "self.accepted + 1"),
        (Sleep, "_record", "(slept.after if slept.accepted else slept.before).whole", "slept.after.whole"),
        (Sleep, "sleep", "self.reference = self.reference or before", "self.reference = before"),
    ],
)
def test_what_becomes_of_a_sleep_otherwise_is_found(owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, partial(judged, "transformer", acceptance="held_out"))


def test_a_divergence_that_counts_padding_is_found() -> None:
    asleep = partial(judged, "hybrid", dreams="replay near itself")
    assert is_caught(anchors, "divergence", "each[real].mean()", "(each * real).mean()", asleep)


@pytest.mark.parametrize(
    ("name", "case", "owner", "function", "old", "new"),
    [
        ("contexts", "noise near its weights", anchors, "fisher_information", "dream.begun(model, start)",
         "start(len(dream.tokens))"),
        ("contexts", "replay", SleepPhase, "_dream_loss", "dream.begun(model, self._start)",
         "self._start(len(dream.tokens))"),
        ("transformer", "generated", dreams, "_generated", ">= spec.prompt_length - 1", ">= spec.prompt_length"),
        ("transformer", "generated", dreams, "_generated", "temperature=spec.temperature", "temperature=1.0"),
    ],
)  # fmt: skip
def test_what_a_dream_begins_with_and_what_of_it_counts(
    name: str, case: str, owner: object, function: str, old: str, new: str
) -> None:
    assert judged(name, dreams=case).verdict == "pass"
    assert is_caught(owner, function, old, new, partial(judged, name, dreams=case))


@pytest.mark.parametrize("name", ["transformer", in_slow("hybrid")])
def test_what_a_recipe_computes_in_bfloat16_is_compared_in_it(name: str) -> None:
    experiment = experiment_of(name)
    halved = experiment.recipe.model_copy(update={"precision": "bf16"})
    of = untrained(experiment.model_copy(update={"recipe": halved}))
    for property_name in ("sleep_matches_a_reference", "held_out_is_measured_whole"):
        judgement = judge(REGISTRY[property_name], Check(), of)
        assert judgement.verdict == "pass", judgement.reason


def test_a_part_of_a_weight_may_have_no_gradient_but_rounding() -> None:
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(6, 2)
    optimizer = torch.optim.AdamW(attention.parameters())
    for _ in range(3):
        x = torch.randn(5, 4, 6)
        attention(x, x, x)[0].square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    found = noisy(attention, optimizer)
    of_queries, of_keys, of_values = found["in_proj_bias"].chunk(3)
    assert of_keys.any() and not of_queries.any() and not of_values.any()  # a softmax does not see the bias of keys
    assert not any(noise.any() for name, noise in found.items() if name != "in_proj_bias")
