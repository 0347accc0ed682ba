"""`curves_match_a_reference`: passes as it is, and finds a mistake in whatever a training records as it goes."""

from functools import cache

import pytest

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies import homeostasis
from cortexzoo.zoo.training.policies.homeostasis import Homeostasis
from cortexzoo.zoo.training.policies.measuring.stability import StabilityMonitor, UpdateSize
from cortexzoo.zoo.training.policies.measuring.telemetry import Telemetry
from cortexzoo.zoo.training.state.movement import Movement
from tests.harness.checking.properties.planted import is_caught
from tests.harness.checking.properties.test_forward import SMALL, SUBJECTS, experiment_of, untrained
from tests.quick import every

PROPERTY = REGISTRY["curves_match_a_reference"]


@cache
def two_rings() -> Subject:
    return untrained(experiment_of("two raw rings"))


def judged(of: str) -> Judgement:
    return judge_case(PROPERTY, Check(), two_rings(), {"of": of})


@pytest.mark.parametrize("name", ["two raw rings", "contexts", "original", "hybrid"])
def test_it_passes_as_it_is(name: str) -> None:
    judgement = judge(PROPERTY, Check(), untrained(experiment_of(name)))
    assert judgement.verdict == "pass", judgement.reason
    has_soft_columns = name in ("two raw rings", "contexts")
    assert judgement.cases_tried == (3 if has_soft_columns else 2)


@pytest.mark.parametrize(
    "change",
    every(
        2,
        [
            "recipe.homeostasis={kind: usage, every: 1}",
            "recipe.precision=bf16",
            "variant.columns.sparsity={sharpness: 100, threshold: 0.9, temperature: 5}",
            "variant.columns.sparsity={sharpness: 2000, threshold: 0.9, temperature: 5}",
            "recipe.optimizer.learning_rate=1e20",
            "recipe.parallel={kind: fsdp2}",
        ],
    ),
)
def test_what_a_recipe_may_ask_for_is_not_accused(change: str) -> None:
    base, changes = SUBJECTS["two raw rings"]
    subject = untrained(load_experiment(base, [*SMALL, *changes, change]))
    judgement = judge(PROPERTY, Check(), subject)
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize(
    ("of", "owner", "function", "old", "new"),
    every(3, [
        ("losses", StabilityMonitor, "step_taken", "step.loss][-WINDOW:]", "step.loss][-WINDOW - 1:]"),
        ("losses", StabilityMonitor, "step_taken", "and math.isfinite(step.gradient_norm)", ""),
        ("losses", StabilityMonitor, "step_refused", "self._score(step)", "self.step_taken(trainer, step)"),
        ("losses", StabilityMonitor, "_score", "== SCORE_WINDOW", "> SCORE_WINDOW"),
        ("losses", StabilityMonitor, "_score", "> far", "> 2 * far"),
        ("losses", StabilityMonitor, "_score", "np.var(self.losses)", "np.std(self.losses)"),
        ("losses", StabilityMonitor, "_score", "self.norms, 90", "self.norms, 89"),
        ("losses", StabilityMonitor, "_score", "self.count += 1", "self.count += 2"),
        ("training", TrainingLoop, "_know_loss", "np.mean(", "np.max("),
        ("training", Telemetry, "step_taken", "step.metrics.update(step.readings)", "pass"),
        ("training", Telemetry, "step_taken", "trainer.memory.sizes()", "trainer.model.initial_state(1).sizes()"),
        ("training", UpdateSize, "gradients_known", "% self.every == 0", "% self.every == 1"),
        ("training", Movement, "rms", "math.sqrt(elements)", "elements"),
        ("homeostasis", homeostasis, "_scale", "target / used.clamp_min(1e-12)", "used.clamp_min(1e-12) / target"),
        ("homeostasis", homeostasis, "_scale", "temperature * rate", "rate"),
        ("homeostasis", homeostasis, "_masks", "opened - soft.threshold", "opened"),
        ("homeostasis", Homeostasis, "step_taken", "self.spec.sources, self.spec.rate", "0.0, self.spec.rate"),
        ("homeostasis", Homeostasis, "step_taken", "columns.min()", "columns.max()"),
        ("homeostasis", Homeostasis, "step_taken", "(columns < self.spec", "(columns > self.spec"),
    ]),
)  # fmt: skip
def test_a_small_mistake_is_found(of: str, owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, lambda: judged(of))
