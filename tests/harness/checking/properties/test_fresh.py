"""`weights_start_as_specified`: passes as it is, and finds each way to start otherwise."""

from dataclasses import replace

import pytest
import torch

from cortexzoo.harness.checking.fresh_weights import Drawn, Exactly
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.memory import short_term
from cortexzoo.zoo.memory.contexts.read_out import ContextReadOut
from cortexzoo.zoo.memory.long_term import LongTermRing, LongTermStore
from cortexzoo.zoo.models.columns import Columns
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.hybrid.delta_memory import Gates
from cortexzoo.zoo.models.hybrid.short_conv import ShortConv
from cortexzoo.zoo.models.hybrid.slow_store import SlowStore
from cortexzoo.zoo.models.transformer import Layer, Transformer
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught

NAME = "weights_start_as_specified"
SMALL = ("variant.hidden_size=32", "variant.columns.num_columns=2")
UNTRAINED = "variant.backbone.training.steps=2"
SUBJECTS = {
    "contexts": ("cortexgpt-stable", SMALL),
    "raw ring": ("cortexgpt-stable", (*SMALL, "variant.memory.long_term={kind: raw_ring}")),
    "no short-term memory": ("cortexgpt-stable", (*SMALL, "variant.memory.short_term={kind: none}")),
    "one head": ("cortexgpt-stable", (*SMALL, "variant.memory.short_term.num_heads=1")),
    "original": ("cortexgpt-original", SMALL),
    "transformer": ("transformer", ("variant.hidden_size=32", "variant.intermediate_size=48", "variant.num_layers=2")),
    "hybrid": ("cortex-v2-hybrid", (UNTRAINED, "variant.mixer.conv.key_lags=[0,2]", "variant.mixer.gate_bias=0.5")),
    "lags over channels": (
        "cortex-v2-hybrid",
        (
            UNTRAINED,
            "variant.mixer.conv={lags_over: channels, key_lags: [1, 3], noise: 0}",
            "variant.mixer.num_heads=1",
        ),
    ),
    "slow store": (
        "cortex-v2-hybrid",
        ("variant=cortex-v2-hybrid-words", "variant.slow_store={kind: products, layer: 0}", UNTRAINED),
    ),
}


def subject_of(name: str) -> Subject:
    base, changes = SUBJECTS[name]
    experiment = load_experiment(base, list(changes))
    model = build_model(experiment.variant, 0).eval()
    return replace(tiny.subject(), experiment=experiment, model=model, state=model.initial_state(1))


def judged(subject: Subject) -> Judgement:
    return judge(REGISTRY[NAME], Check(), subject)


@pytest.mark.parametrize("name", SUBJECTS)
def test_it_passes_as_it_is(name: str) -> None:
    judgement = judged(subject_of(name))
    assert judgement.verdict == "pass", judgement.reason
    assert 0 < judgement.observed < 5


@pytest.mark.parametrize(
    ("name", "owner", "function", "old", "new"),
    [
        ("contexts", Columns, "reset_parameters", "(self.hidden_weight, d)", "(self.hidden_weight, n * d)"),
        ("contexts", Columns, "reset_parameters", "-1 / math.sqrt(fan_in), 1", "0, 1"),
        ("contexts", ContextReadOut, "__init__", "spec.context + 1.0", "spec.context + 2.0"),
        ("contexts", ContextReadOut, "__init__", "SCORE_OF_A_TOKEN *", "2 * SCORE_OF_A_TOKEN *"),
        ("contexts", CortexGPT, "__init__", "std=spec.embedding_std", "std=1.1"),
        ("contexts", CortexGPT, "__init__", "spec.vocab_size)\n", "spec.vocab_size, False)\n"),
        ("contexts", short_term, "_spread_recency", "SLOWEST_DECAY / FASTEST_DECAY", "SLOWEST_DECAY"),
        ("one head", short_term, "_spread_recency", "0.5", "1.0"),
        ("raw ring", LongTermRing, "__init__", "(hidden_size // 2, spec.code_size)", "(hidden_size // 2, 7)"),
        ("raw ring", LongTermRing, "__init__", "torch.zeros(())", "torch.ones(())"),
        ("original", LongTermStore, "__init__", "hidden_size // 4", "hidden_size // 5"),
        ("transformer", Layer, "__init__", "3 * width, bias=False", "3 * width, bias=True"),
        ("transformer", Transformer, "__init__", "range(spec.num_layers)", "range(1)"),
        ("hybrid", ShortConv, "__init__", "weight[2 * inner :, 0] += 1", "weight[2 * inner :, 1] += 1"),
        ("hybrid", ShortConv, "__init__", "* conv.noise", "* 2 * conv.noise"),
        ("lags over channels", ShortConv, "__init__", 'if conv.lags_over == "heads" else 1', "* 1"),
        ("hybrid", Gates, "__init__", "self.decay.weight.zero_()", "pass"),
        ("slow store", SlowStore, "__init__", "torch.ones(())", "torch.zeros(())"),
    ],
)  # fmt: skip
def test_a_change_of_the_start_is_found(name: str, owner: object, function: str, old: str, new: str) -> None:
    subject = subject_of(name)
    assert is_caught(owner, function, old, new, lambda: judged(subject))


def test_weights_that_are_drawn_once_for_two_parts_are_found() -> None:
    subject = subject_of("transformer")
    copied = "self.layers[1].feed_forward[0].load_state_dict(self.layers[0].feed_forward[0].state_dict())"
    made = "self.final_norm ="
    assert is_caught(Transformer, "__init__", made, f"{copied}\n    {made}", lambda: judged(subject))


def test_a_seed_that_counts_for_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subject, "rebuilt", lambda self, seed: build_model(self.experiment.variant, 0))
    assert judged(subject_of("transformer")).verdict == "fail"


def test_a_model_of_ones_own_has_no_account() -> None:
    judgement = judged(tiny.subject())
    assert judgement.verdict == "skipped" and "how the weights of Tiny start" in judgement.reason


def test_what_is_drawn_is_judged_by_its_limits_and_its_spread() -> None:
    random = torch.Generator().manual_seed(0)
    even, wide = Drawn(torch.zeros(400), within=0.5), Drawn(torch.full((400,), 3.0), std=0.5)
    uniform, normal = torch.rand(3, 400, generator=random) - 0.5, 0.5 * torch.randn(3, 400, generator=random)
    assert even.apart(uniform) < 4 and wide.apart(3 + normal) < 4
    assert even.apart(2 * uniform) == even.apart(normal) == wide.apart(normal) == float("inf")
    assert even.apart(0.8 * uniform) > 7 and even.apart(uniform.abs()) > 7 and wide.apart(3 + 1.3 * normal) > 7
    assert Exactly(torch.ones(2)).apart(torch.ones(3, 2)) == 0 < Exactly(torch.ones(2)).apart(torch.zeros(3, 2))
