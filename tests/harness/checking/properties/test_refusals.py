"""`mistakes_are_refused`: passes as it is, and finds limits that lie elsewhere."""

from dataclasses import replace
from functools import cache, partial

import pytest
import torch

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.mistakes.attempt import fits, mistaken, wrong_ends
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo import generation
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.data import vocabulary_source
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models import base, own_module, probing, state_tree
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.models.hybrid import weights
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.models.own_module import CarriedModel, RereadModel
from cortexzoo.zoo.models.transformer import Transformer
from cortexzoo.zoo.ops import recurrent_gated_delta, shapes, sliding_window
from cortexzoo.zoo.training import optimizer, parallel
from cortexzoo.zoo.training.state import snapshot
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught

NAME = "mistakes_are_refused"
SMALL = ("variant.hidden_size=32", "variant.columns.num_columns=2")
SUBJECTS = {
    "contexts": ("cortexgpt-stable", SMALL),
    "original": ("cortexgpt-original", SMALL),
    "transformer": ("transformer", ("variant.hidden_size=32", "variant.intermediate_size=48", "variant.num_layers=2")),
    "hybrid": ("cortex-v2-hybrid", ("variant.backbone.training.steps=2",)),
}
SLOW = partial(pytest.param, marks=[pytest.mark.slow])


@cache
def subject_of(name: str) -> Subject:
    base, changes = SUBJECTS[name]
    experiment = load_experiment(base, list(changes))
    model = build_model(experiment.variant, 0).eval()
    return replace(tiny.subject(), experiment=experiment, model=model, state=model.initial_state(1))


@pytest.mark.parametrize("name", ["contexts", "original"])
def test_calls_of_a_cortexgpt_pass(name: str) -> None:
    judgement = judge_case(REGISTRY[NAME], Check(), subject_of(name), {"area": "calls"})
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] if name in ("contexts", "original") else []) for name in SUBJECTS],
)
def test_it_passes_as_it_is(name: str) -> None:
    judgement = judge(REGISTRY[NAME], Check(), subject_of(name))
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 11


@pytest.mark.parametrize(
    ("area", "name", "owner", "function", "old", "new"),
    [
        ("calls", "contexts", CortexGPTState, "from_tensors", "wanted - set(tensors)", "set()"),
        ("calls", "hybrid", MemoryLanguageModel, "check_switches", "set(disabled) - set(self.switches)", "set()"),
        ("calls", "hybrid", Hybrid, "_check", "self.check_switches(disabled)", "None"),
        ("calls", "contexts", CortexGPT, "forward", "self.check_switches(disabled)", "None"),
        ("calls", "transformer", Transformer, "forward", "self.check_switches(disabled)", "None"),
        ("calls", "transformer", generation, "generate", "prompt.shape[1] == 0", "prompt.shape[1] <= 1"),
        ("calls", "transformer", generation, "generate", "temperature < 0", "temperature <= 0"),
        ("calls", "transformer", generation, "generate", "top_k < 1", "top_k <= 1"),
        ("states", "transformer", state_tree, "_leaves", "not isinstance(key, str) or not re", "not re"),
        ("states", "transformer", state_tree, "_leaves", r'r"\w+"', r'r"\w*"'),
        ("states", "transformer", state_tree, "_leaves", "torch.float64 if", "torch.float32 if"),
        ("states", "transformer", state_tree, "_leaves", "else torch.int64", "else torch.float64"),
        ("states", "transformer", state_tree, "_nested", "len(leaves) > 1", "len(leaves) > 2"),
        ("operators", "transformer", recurrent_gated_delta, "check_gated_delta_inputs", "size < 1", "size < 0"),
        ("operators", "transformer", shapes, "check_shapes", "v.shape[-1]) < 1", "v.shape[-1]) < 0"),
        ("operators", "transformer", sliding_window, "_check_inputs", "carried >= window", "carried > window"),
        ("data", "transformer", TextData, "require", "< sequence_length + 1", "< sequence_length"),
        ("data", "transformer", TextData, "require", "largest >= vocab_size", "largest > vocab_size"),
        ("data", "transformer", TextData, "_require_texts", "< sequence_length + 1", "< sequence_length"),
        ("data", "hybrid", TaskData, "require_text", "< sequence_length + 1", "< sequence_length"),
        ("bases", "transformer", probing, "prove", "tokens[:, 2:], cache", "tokens[:, 2:], ()"),
        ("bases", "transformer", probing, "prove", "{0, len(places.layers) - 1}", "{0}"),
        ("bases", "transformer", probing, "prove", "1e-3 if", "1e-1 if"),
        ("bases", "transformer", probing, "prove", "not apart <= precision", "not apart < precision"),
        ("bases", "transformer", probing._Watched, "_norm", "self.norms[index] is None and", "False and"),
        ("bases", "transformer", probing._Watched, "in_order", "self._passed_on and", ""),
        ("bases", "transformer", base, "content_hash", "digest.update(tensor", "bytes(tensor"),
        ("bases", "transformer", Base, "of", "prove(base.run, network, places, config.vocab_size, name)", "pass"),
        ("bases", "transformer", Base, "hooked", "self.standing.append(standing)", "pass"),
        ("vocabularies", "transformer", TextData, "from_spec", 'text_vocabulary(spec.vocabulary, b"", of_base, folder)',
         "pass"),
        ("vocabularies", "transformer", vocabulary_source, "text_vocabulary",
         "_fitting(_trained(spec, training), of_base())", "_trained(spec, training)"),
        ("vocabularies", "transformer", vocabulary_source, "_trained", "-{digest}", ""),
        ("vocabularies", "transformer", vocabulary_source, "_trained", "{spec.hash()}-", ""),
        ("modules", "transformer", own_module, "own_model", "torch.zeros(1, 2,", "torch.zeros(1, 1,"),
        ("modules", "transformer", own_module, "own_model", "torch.zeros(1, 2,", "torch.zeros(2, 2,"),
        ("modules", "transformer", CarriedModel, "forward", "len(returned) < 2", "len(returned) != 2"),
        ("modules", "transformer", RereadModel, "in_pieces", "split(length", "split(length + 1"),
        ("calls", "hybrid", weights, "with_slow_store", "spec.sidecar_layers[0]", "spec.sidecar_layers[1]"),
        ("training", "transformer", optimizer, "build_optimizer", "_check_partition(model, groups)", "pass"),
        ("training", "transformer", parallel, "spread_over", "AGC | AdaGC", "AGC"),
        ("checkpoints", "transformer", snapshot, "_described", "> last", ">= last"),
        SLOW("checkpoints", "transformer", snapshot, "_described", "if changed else", "if True else"),
        SLOW("checkpoints", "transformer", snapshot, "_read", '("experiment", "data")', '("experiment",)'),
    ],
)  # fmt: skip
def test_a_limit_that_lies_elsewhere_is_found(
    area: str, name: str, owner: object, function: str, old: str, new: str
) -> None:
    subject = subject_of(name)
    assert is_caught(owner, function, old, new, lambda: judge_case(REGISTRY[NAME], Check(), subject, {"area": area}))


def test_each_end_has_its_words() -> None:
    def refusing(words: str) -> None:
        raise DataError(words)

    ends = [
        fits("what fits", lambda: None),
        mistaken("a mistake", lambda: refusing("one line")),
        fits("what is refused", lambda: refusing("one line")),
        mistaken("what is taken", lambda: None),
        mistaken("a long refusal", lambda: refusing("two\nlines")),
        mistaken("a crash", lambda: torch.zeros(2)[5]),
    ]
    assert [found.partition(" is ")[0].partition(":")[0] for found in wrong_ends(ends)] == [
        "what", "what", "a long refusal", "a crash",
    ]  # fmt: skip
