"""`continual_training_follows_its_rules`: passes on every family, and one small change in the objective shows."""

from dataclasses import replace
from functools import cache

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.training.objectives.continual import ContinualObjective, EarlierSelf
from cortexzoo.zoo.training.objectives.protection import FollowingSlowly, RatesByImportance
from cortexzoo.zoo.training.objectives.replay import KeptWindows, Replay, SampledWindows
from tests.harness import tiny

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


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_family_follows_the_rules(name: str) -> None:
    judgement = judged(subject(name))
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 7


def test_the_shares_of_the_data_do_not_matter() -> None:
    judgement = judged(subject("transformer", "data.validation_fraction=0.3", "data.test_fraction=0.2"))
    assert judgement.verdict == "pass", judgement.reason


def test_a_training_on_one_text_is_not_judged() -> None:
    judgement = judged(tiny.subject())
    assert judgement.verdict == "skipped" and "trains on one text" in judgement.reason


@pytest.mark.parametrize(
    ("owner", "function", "old", "new"),
    [
        (ContinualObjective, "_is_earlier", "place < ", "place <= "),
        (ContinualObjective, "_is_earlier", " * self.recipe.accumulation", ""),
        (ContinualObjective, "_own", "first - begun * size", "first"),
        (ContinualObjective, "_own", "self.replay.drawn(self.seed, place)", "self.replay.drawn(self.seed, 0)"),
        (ContinualObjective, "_own", "size - self.replay.rows", "size"),
        (ContinualObjective, "_places", "starts + self.offset", "starts"),
        (ContinualObjective, "_tokens", "self.earlier.train if", "self.earlier.validation if"),
        (ContinualObjective, "loss", "self.replay.kl_weight * apart", "apart"),
        (ContinualObjective, "loss", "divergence(expected, output.logits[-rows:])",
         "divergence(output.logits[-rows:], expected)"),
        (ContinualObjective, "loss", "before.placed(before.between_batches(state, rows), places[-rows:])",
         "before.initial_state(rows)"),
        (ContinualObjective, "test_loss", '"test"', '"validation"'),
        (ContinualObjective, "test_loss", "state=memory, ", ""),
        (ContinualObjective, "conclusions", "self.test_loss(trainer, self.data)", "self.test_loss(trainer, self.earlier)"),
        (EarlierSelf, "_look", "step.number !=", "step.number + 1 !="),
        (KeptWindows, "__init__", "choice(trained_on, spec.windows, replace=False)", "choice(trained_on, trained_on + 9)"),
        (KeptWindows, "__init__", "trained_on, spec.windows", "2 * trained_on, spec.windows"),
        (Replay, "drawn", "self.kept, self.rows", "self.kept[:1], self.rows"),
        (SampledWindows, "sample", "(self.length + 1)", "self.length"),
        (SampledWindows, "windows", "numbers", "0 * numbers"),
        (RatesByImportance, "gradients_known", "(1 - weight) * new", "weight * new"),
        (RatesByImportance, "gradients_known", "> self.earlier_steps", ">= self.earlier_steps"),
        (RatesByImportance, "step_taken", "1 + self.spec", "2 + self.spec"),
        (RatesByImportance, "step_taken", "/ max(mean, 1e-30)", ""),
        (FollowingSlowly, "_follow", "number - self.earlier_steps", "number - self.earlier_steps + 1"),
        (FollowingSlowly, "_follow", "then.lerp(now, self.spec.rate)", "now.lerp(then, self.spec.rate)"),
        (FollowingSlowly, "_follow", "number == self.steps", "number < self.steps"),
    ],
)  # fmt: skip
def test_a_small_change_is_found(owner: object, function: str, old: str, new: str) -> None:
    with rewritten(owner, function, old, new)():
        judgement = judged(subject("contexts"))
    assert judgement.verdict in ("fail", "error"), judgement.reason
