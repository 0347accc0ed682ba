"""`sampling_follows_its_settings`: passes as it is, and finds each way to sample otherwise."""

from dataclasses import replace

import pytest
import torch

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo import generation
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models import modes
from tests.harness import tiny
from tests.quick import every

NAME = "sampling_follows_its_settings"


@pytest.fixture(scope="module")
def subject() -> Subject:
    """A model whose next token is far from certain and far from uniform, and depends on what was read before."""
    small = [
        "variant.hidden_size=16",
        "variant.columns.num_columns=2",
        "variant.memory.short_term.capacity=16",
        "variant.memory.short_term.read_out.dropout=0.5",
    ]
    experiment = load_experiment("cortexgpt-stable", small)
    model = build_model(experiment.variant, 0).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=random))
    state = model(torch.arange(40)[None]).state
    return replace(tiny.subject(), experiment=experiment, model=model, state=model.consolidate(state))


def judged(subject: Subject) -> Judgement:
    return judge(REGISTRY[NAME], Check(), subject)


def test_it_passes_as_it_is(subject: Subject) -> None:
    judgement = judged(subject)
    assert judgement.verdict == "pass", judgement.reason
    assert 0 < judgement.observed < 5


Change = tuple[str, str, str]
CHANGES: dict[str, list[Change]] = {
    "greedy": [
        ("_sample", "logits.max(", "logits.min("),
        ("generate", "    state = output.state", "    state = state"),
        ("generate", "model.read(tokens, state)", "model.read(tokens)"),
        ("generate", "evaluating(model), ", ""),
        ("read_all_but_the_last", "model.read(last, state)", "model.read(piece, state)"),
        ("read_all_but_the_last", "        last = piece", "        last = piece if last is None else last"),
        ("read_all_but_the_last", "model.read(last, state)", "model.read(last)"),
    ],
    "plain": [
        ("_sample", "temperature == 0", "temperature <= 1"),
        ("_sample", ", generator=generator", ""),
        ("generate", "manual_seed(seed)", "manual_seed(0)"),
        ("generate", "generated.append(tokens)", "generated = [tokens]"),
    ],
    "cold": [("_sample", "temperature == 0", "temperature < 0.4")],
    "hot": [
        ("_sample", "logits / temperature", "logits * temperature"),
        ("_sample", "logits / temperature", "logits"),
    ],
    "top 3": [
        ("_sample", "logits < least", "logits <= least"),
        ("_sample", "topk(top_k,", "topk(top_k + 1,"),
        ("_sample", "top_k < logits.shape[-1]", "top_k > logits.shape[-1]"),
        ("_sample", ".values[:, -1:]", ".values[:, :1]"),
        ("_sample", "-torch.inf", "0.0"),
    ],
    "half of the tokens": [("generate", "output.logits[:, -1, :vocab_size]", "output.logits[:, -1]")],
    "without the likeliest": [("generate", "output.logits[:, -1, :vocab_size]", "output.logits[:, -1]")],
}


@pytest.mark.parametrize(
    ("way", "change"), every(3, [(way, change) for way, changes in CHANGES.items() for change in changes])
)
def test_a_small_change_is_found(subject: Subject, way: str, change: Change) -> None:
    with rewritten(generation, *change)():
        judgement = judge_case(REGISTRY[NAME], Check(), subject, {"settings": way, "seed": 5})
    assert judgement.verdict == "fail", judgement.reason


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("module.training = training", "pass"),
        ("module.training = training", "module.training = True"),
        ("for module, training in modes:\n            module.training = training", "model.train(modes[0][1])"),
    ],
)
def test_a_mode_that_is_not_restored_is_found(subject: Subject, old: str, new: str) -> None:
    with rewritten(modes, "evaluating", old, new)():
        judgement = judge_case(REGISTRY[NAME], Check(), subject, {"settings": "plain", "seed": 5})
    assert judgement.verdict == "fail", judgement.reason
