"""`results_are_of_the_record`: passes as it is, and finds a mistake in whatever a training reports of itself."""

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.data import ngrams, reference
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training import schedule
from cortexzoo.zoo.training.policies.measuring import swing
from cortexzoo.zoo.training.policies.measuring.probe import Probe
from cortexzoo.zoo.training.policies.measuring.validation import Validation
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught


def judged() -> Judgement:
    return judge(REGISTRY["results_are_of_the_record"], Check(), tiny.subject())


def test_it_passes_as_it_is() -> None:
    judgement = judged()
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 6


@pytest.mark.parametrize(
    ("owner", "function", "old", "new"),
    [
        (swing, "upward_loss_ratio", "step > start", "step > start + 6"),
        (swing, "_over", "high / low", "low / high"),
        (swing, "raw_loss_ratio", "min(seen)", "seen[0]"),
        (Probe, "step_taken", "step.number > self.start", "step.number > self.start + 9"),
        (Probe, "step_refused", "self._probe(trainer, step)", "self.step_taken(trainer, step)"),
        (Probe, "_probe", "step.number - self.window]", "step.number]"),
        (Probe, "_probe", "at >= step.number - self.window", "at > step.number - self.window"),
        (swing, "upward_loss_ratio", "at >= step - window", "at > step - window"),
        (swing, "raw_loss_ratio", "i + 1 - window", "i + 2 - window"),
        (schedule, "warmup_steps", "return 0", "return 12"),
        (reference, "losses_at", "singles[train[0]] += 1", "pass"),
        (reference, "losses_at", "axis=1, keepdims=True", "axis=0, keepdims=True"),
        (reference, "_scored_pairs", "some - 1", "some"),
        (ngrams._Counts, "interpolated", "count + distinct * shorter", "count + shorter"),
        (ngrams._Counts, "interpolated", "starts >= 0", "starts > 9"),
        (ngrams._Counts, "of", "np.diff(np.append(first, len(grams)))", "np.diff(np.append(first, len(grams))) + 1"),
        (TextData, "reference_losses", "starts[:, None] + 1", "starts[:, None] + 2"),
        (Validation, "_validate", "score.loss < self.best_loss", "score.loss > self.best_loss"),
    ],
)
def test_a_small_mistake_is_found(owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, judged)
