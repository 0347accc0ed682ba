"""`continual_training_follows_its_rules`: passes on every family, and one small change in the objective shows."""

from dataclasses import replace
from functools import cache

import pytest

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.training.objectives.continual import ContinualObjective, EarlierSelf
from cortexzoo.zoo.training.objectives.protection import ATensorAWeight, FollowingSlowly, RatesByImportance
from cortexzoo.zoo.training.objectives.replay import KeptWindows, Replay, SampledWindows
from tests.harness import tiny
from tests.quick import every

NAME = "continual_training_follows_its_rules"
SMALL = ("variant.hidden_size=16", "variant.columns.num_columns=2", "variant.memory.short_term.capacity=16")
SUBJECTS = {
    "contexts": ("cortexgpt-stable", SMALL),
    "raw ring": ("cortexgpt-stable", (*SMALL, "variant.memory.long_term={kind: raw_ring}")),
    "transformer": ("transformer", ("variant.hidden_size=16", "variant.intermediate_size=16")),
}


@cache
def subject(name: str, *changes: str) -> Subject:
    base, small = SUBJECTS[name]
    experiment = load_experiment(base, ["recipe=continual", *small, *changes])
    model = build_model(experiment.variant, 0).eval()
    return replace(tiny.subject(), experiment=experiment, model=model, state=model.initial_state(1))


def judged(about: Subject) -> Judgement:
    return judge(REGISTRY[NAME], Check(), about)


ALIKE = ("raw ring", "transformer")
"""The one differs from `contexts` in a store that no rule is about, the other is judged below with other shares."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in ALIKE else []) for name in SUBJECTS]
)
def test_every_family_follows_the_rules(name: str) -> None:
    judgement = judged(subject(name))
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 9


@pytest.mark.slow
def test_the_shares_of_the_data_do_not_matter() -> None:
    judgement = judged(subject("transformer", "data.validation_fraction=0.3", "data.test_fraction=0.2"))
    assert judgement.verdict == "pass", judgement.reason


def test_a_training_on_one_text_is_not_judged() -> None:
    judgement = judged(tiny.subject())
    assert judgement.verdict == "skipped" and "trains on one text" in judgement.reason


Change = tuple[object, str, str, str]
CHANGES: dict[str, list[Change]] = {
    "nothing again": [
        (ContinualObjective, "_is_earlier", "place < ", "place <= "),
        (ContinualObjective, "_tokens", "self.earlier.train if", "self.earlier.validation if"),
        (ContinualObjective, "test_loss", '"test"', '"validation"'),
        (ContinualObjective, "conclusions", "test_loss(trainer, self.data)", "test_loss(trainer, self.earlier)"),
    ],
    "replay alone": [
        (ContinualObjective, "_is_earlier", " * self.recipe.accumulation", ""),
    ],
    "reservoir": [
        (ContinualObjective, "_own", "self.replay.drawn(self.seed, place)", "self.replay.drawn(self.seed, 0)"),
        (ContinualObjective, "_own", "size - self.replay.rows", "size"),
        (EarlierSelf, "_look", "step.number !=", "step.number + 1 !="),
        (KeptWindows, "__init__", "spec.windows, replace=False", "trained_on + 9"),
        (KeptWindows, "__init__", "trained_on, spec.windows", "2 * trained_on, spec.windows"),
        (Replay, "drawn", "self.kept, self.rows", "self.kept[:1], self.rows"),
    ],
    "near the earlier self": [
        (ContinualObjective, "_places", "starts + self.offset", "starts"),
        (ContinualObjective, "loss", "self.replay.kl_weight * apart", "apart"),
        (ContinualObjective, "loss", "(expected, output.logits[-rows:])", "(output.logits[-rows:], expected)"),
        (ContinualObjective, "loss", "before.placed(before.between_batches(state, rows), places[-rows:])",
         "before.initial_state(rows)"),
        (ContinualObjective, "test_loss", "state=memory, ", ""),
    ],
    "generated": [
        (SampledWindows, "sample", "(self.length + 1)", "self.length"),
        (SampledWindows, "sample", "sampled[:, -(self.length + 1) :]", "sampled[:, : self.length + 1]"),
        (SampledWindows, "sample", "spec.discarded + self.length", "spec.discarded + self.length + 1"),
        (SampledWindows, "sample", "model.between_batches(memory, spec.windows)", "model.initial_state(spec.windows)"),
        (SampledWindows, "windows", "from_numpy(numbers)", "from_numpy(0 * numbers)"),
        (SampledWindows, "places", " * self.length", ""),
        (SampledWindows, "places", "self.begin + ", ""),
        (ContinualObjective, "_places", "starts + self.offset", "starts"),
    ],
    "metaplasticity": [
        (RatesByImportance, "gradients_known", "(1 - weight) * new", "weight * new"),
        (RatesByImportance, "gradients_known", "> self.earlier_steps", ">= self.earlier_steps"),
        (RatesByImportance, "step_taken", "1 + self.spec", "2 + self.spec"),
        (RatesByImportance, "step_taken", "/ max(mean, 1e-30)", ""),
    ],
    "slow follower": [
        (FollowingSlowly, "_follow", "number - self.earlier_steps", "number - self.earlier_steps + 1"),
        (FollowingSlowly, "_follow", "then.lerp(now, self.spec.rate)", "now.lerp(then, self.spec.rate)"),
        (FollowingSlowly, "_follow", "number == self.steps", "number < self.steps"),
    ],
    "metaplasticity, taken back": [
        (ATensorAWeight, "__init__", "(self.name,)", "()"),
    ],
    "slow follower, taken back": [
        (FollowingSlowly, "rolled_back", "self._replace(trainer)", "pass"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("way", "change"), every(3, [(way, change) for way, changes in CHANGES.items() for change in changes])
)
def test_a_small_change_is_found(way: str, change: Change) -> None:
    with rewritten(*change)():
        judgement = judge_case(REGISTRY[NAME], Check(), subject("contexts"), {"way": way})
    assert judgement.verdict in ("fail", "error"), judgement.reason
