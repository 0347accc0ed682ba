"""`slow_store_follows_its_formulas`: passes with and without a store of the subject's own, and finds small changes."""

from dataclasses import replace
from functools import cache

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.models.hybrid import slow_store
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.hybrid.slow_store import SlowStore
from cortexzoo.zoo.training.sleep import transfer
from cortexzoo.zoo.training.sleep.consolidating import ConsolidationPhase
from cortexzoo.zoo.training.sleep.policy import Sleep
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught
from tests.quick import every


@cache
def subject(store: str) -> Subject:
    changes = ["variant.backbone.training.steps=2", f"variant.slow_store={{{store}}}"]
    experiment = load_experiment("cortex-v2-hybrid", ["variant=cortex-v2-hybrid-words", *changes])
    model = build_model(experiment.variant, 0).eval()
    data = load_data(experiment)
    assert isinstance(data, TaskData)
    return replace(tiny.subject(), experiment=experiment, model=model, state=model.initial_state(1), task=data.task)


def judged(store: str = "kind: none") -> Judgement:
    return judge(REGISTRY["slow_store_follows_its_formulas"], Check(), subject(store))


@pytest.mark.parametrize("store", ["kind: none", "kind: products, layer: 0, unknown_from: 0.4, seed: 3"])
def test_it_passes_as_it_is(store: str) -> None:
    judgement = judged(store)
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 10 and judgement.observed < 1e-6


def test_what_is_no_hybrid_has_none() -> None:
    judgement = judge(REGISTRY["slow_store_follows_its_formulas"], Check(), tiny.subject())
    assert judgement.verdict == "skipped"


@pytest.mark.parametrize(
    ("owner", "function", "old", "new"),
    every(
        6,
        [
            (Sidecar, "_forward", "before[:, :-1].reshape", "known.reshape"),
            (Sidecar, "_forward", "self.slow_store.spec.gain * known", "known"),
            (SlowStore, "features", "self.channels[0]", "self.channels[1]"),
            (SlowStore, "features", "self.channels[1:]", "self.channels[2:]"),
            (SlowStore, "forward", "novelty < self.threshold", "novelty > self.threshold"),
            (SlowStore, "answer", ".square().sum(-1)", ".abs().sum(-1)"),
            (SlowStore, "absorb", "phi[known] - outside[known]", "phi[known]"),
            (SlowStore, "absorb", "self.curvature += (phi.T @ phi)", "self.curvature += 2 * (phi.T @ phi)"),
            (SlowStore, "absorb", "phi[:: -(-len(phi) // LEFT_OUT)]", "phi[:3]"),
            (SlowStore, "absorb", "int((~known).sum())", "int(known.sum())"),
            (SlowStore, "_taken_out", "/ counted", ""),
            (SlowStore, "_factor", "add_(ridge)", "add_(2 * ridge)"),
            (SlowStore, "_leave_out", "1 - counted", "1 + counted"),
            (SlowStore, "_leave_out", ".median()", ".mean()"),
            (SlowStore, "_solve", "* ridge / ", "* 2 * ridge / "),
            (ConsolidationPhase, "dream", "self.updates.refused += 1", "pass"),
            (ConsolidationPhase, "dream", "self.updates.taken += 1", "pass"),
            (ConsolidationPhase, "dream", "return not self.trainer.is_over()", "return True"),
            (ConsolidationPhase, "dream", "self.day.examples]", "self.day.examples[:0]]"),
            (Sleep, "sleep", "reason is None and isinstance(self.spec, ConsolidateSleep) and made.taken", "False"),
            (Sleep, "sleep", " and made.taken", ""),
            (Sleep, "sleep", "self.accepted += reason is None", "self.accepted += 1"),
            (Sleep, "sleep", "if reason is not None:", "if reason is None:"),
            (slow_store, "last_of_each", "triu(1)", "tril(-1)"),
            (slow_store, "last_of_each", "triu(1)", "triu(2)"),
            (slow_store, "last_of_each", ">= same_key", ">= same_key + 1"),
            (
                slow_store,
                "_draw",
                "torch.randperm(len(products), generator=random)[: spec.features]",
                "[0] * spec.features",
            ),
            (transfer, "_listening", "beta.amax(-1)", "beta.mean(-1)"),
            (transfer, "read_again", "q[:, :-1]], dim=1", "q[:, 1:]], dim=1"),
            (transfer, "consolidate", "chosen[:, :1] = False", "pass"),
            (ConsolidationPhase, "dream", "example.tokens[None]", "example.tokens[None, :-1]"),
            (ConsolidationPhase, "dream", "self.spec)", "type(self.spec)())"),
        ],
    ),
)
def test_a_small_change_is_found(owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, judged)
