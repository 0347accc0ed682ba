"""The forward pass of each family against its written-out form: equal, and one small change in it shows."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.memory.band_attention import _BandAttention
from cortexzoo.zoo.memory.block import GateReading
from cortexzoo.zoo.memory.contexts.diary import Pages
from cortexzoo.zoo.memory.long_term import LongTermRing, LongTermStore
from cortexzoo.zoo.memory.short_term import ShortTermMemory
from cortexzoo.zoo.models import transformer
from cortexzoo.zoo.models.columns import Columns
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.hybrid.delta_memory import DeltaMemory, Gates
from cortexzoo.zoo.models.hybrid.model import Hybrid, _Readings
from cortexzoo.zoo.models.hybrid.one_token import FoldedWeights
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.models.transformer import Layer, Transformer
from cortexzoo.zoo.ops import gated_delta_chunks
from tests.harness import tiny
from tests.quick import in_slow

NAME = "forward_matches_a_reference"
LARGEST = "the reading stability/max_attention_logit"
HYBRID = ("variant.backbone.training.steps=2", "variant.mixer.key_products=1", "variant.mixer.window_size=8")
SUBJECTS = {
    "two raw rings": (
        "cortexgpt-stable",
        ("variant.memory.long_term={kind: raw_ring}", "variant.memory.short_term.stores=output"),
    ),
    "contexts": ("cortexgpt-stable", ()),
    "no long-term memory": ("cortexgpt-stable", ("variant.memory.long_term={kind: none}",)),
    "original": ("cortexgpt-original", ()),
    "transformer": ("transformer", ("variant.intermediate_size=16", "variant.num_layers=2")),
    "hybrid": ("cortex-v2-hybrid", HYBRID),
}
SMALL = ("variant.hidden_size=16", "variant.columns.num_columns=2", "variant.memory.short_term.capacity=16")


def experiment_of(name: str) -> ExperimentSpec:
    base, changes = SUBJECTS[name]
    small = SMALL if base.startswith("cortexgpt") else SMALL[:1] if base == "transformer" else ()
    return load_experiment(base, [*small, *changes])


def untrained(experiment: ExperimentSpec) -> Subject:
    """A fresh model: what is compared is what it computes, however well."""
    model = build_model(experiment.variant, 0).eval()
    if isinstance(model, Hybrid):
        for layer in model.sidecars:
            torch.nn.init.normal_(model.sidecar(layer).output.weight, std=0.5)
    return replace(tiny.subject(), experiment=experiment, model=model, state=model.initial_state(1))


@pytest.mark.parametrize("name", [in_slow(name) if name == "contexts" else name for name in SUBJECTS])
def test_every_family_gives_what_its_written_out_form_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a long-term memory is not empty where it is compared."""
    sizes = []
    forward = CortexGPT.forward

    def seen(self: CortexGPT, tokens: object, state: object = None, **rest: object) -> object:
        sizes.append(0 if state is None else state.sizes()["ltm"])  # type: ignore[attr-defined]
        return forward(self, tokens, state, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(CortexGPT, "forward", seen)
    judgement = judge(REGISTRY[NAME], Check(), untrained(experiment_of(name)))
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried >= 5
    assert name != "two raw rings" or max(sizes) > 0


@pytest.mark.parametrize(
    ("length", "rows", "before", "seed", "text"),
    [(54, 1, 10, 21, "recurs"), (98, 3, 6, 73, "recurs"), (7, 3, 30, 0, "random")],
    ids=str,
)
def test_of_equally_near_entries_both_forms_find_the_same(
    length: int, rows: int, before: int, seed: int, text: str
) -> None:
    case = {"length": length, "rows": rows, "before": before, "seed": seed, "text": text, "training": False}
    judgement = judge_case(REGISTRY[NAME], Check(), untrained(experiment_of("two raw rings")), case)
    assert judgement.verdict == "pass", judgement.reason


def test_of_equal_votes_no_gradient_is_asked() -> None:
    few = ("variant.memory.long_term.capacity=40", "variant.memory.long_term.lists=4")
    subject = untrained(load_experiment("cortexgpt-stable", [*SMALL, *few]))
    case = {"length": 9, "rows": 2, "before": 12, "seed": 4, "text": "random", "training": False}
    judgement = judge_case(REGISTRY[NAME], Check(), subject, case)
    assert judgement.verdict == "pass", judgement.reason


def test_a_slow_store_is_left_to_its_own_properties() -> None:
    experiment = load_experiment(
        "cortex-v2-hybrid",
        ["variant=cortex-v2-hybrid-words", "variant.slow_store={kind: products, layer: 0}", HYBRID[0]],
    )
    subject = untrained(experiment)
    assert isinstance(subject.model, Hybrid) and subject.model.slow_store is not None
    case = {"length": 9, "rows": 2, "before": 0, "seed": 0, "text": "random", "training": False}
    judgement = judge_case(REGISTRY[NAME], Check(), subject, case)
    assert judgement.verdict == "pass", judgement.reason


CHANGES = [
    ("two raw rings", Columns, "forward", "return", "return 1.001 *", "an output"),
    ("hybrid", gated_delta_chunks, "gates_of", "to_chunks(beta", "to_chunks(beta * beta", "an output"),
    (
        "hybrid",
        Sidecar,
        "_forward",
        "gate.detach().mean()",
        "gate.detach().mean()\n    conv_state = conv_state + 1",
        "conv_state of layer 0",
    ),
    ("two raw rings", Columns, "forward", "return", "return x.detach() - x +", "gradient of"),
    ("hybrid", FoldedWeights, "step", "* self.sharpness", "* self.sharpness * 1.01", "one token at a time"),
    ("hybrid", Gates, "forward", "return log_decay,", "return log_decay.detach(),", "memory.gates.decay"),
    (
        "hybrid",
        FoldedWeights,
        "step",
        "kept = self.spec.window_size - 1",
        "kept = self.spec.window_size - 2",
        "after single tokens window_keys",
    ),
    ("transformer", Layer, "forward", "is_causal=not seen", "is_causal=not seen, scale=1.0", "an output"),
    ("transformer", transformer, "largest_logit", "query.shape[-1] ** -0.5", "query.shape[-1] ** -0.4", LARGEST),
    ("transformer", Transformer, "forward", "if largest else {}", "if largest[99:] else {}", LARGEST),
    ("contexts", GateReading, "readings", "shares * (1 - long_term)", "shares", "the reading memory/gate_share"),
    ("transformer", MemoryLanguageModel, "read", "[:, -1:]", "[:, -2:]", "the output after what is read"),
    ("two raw rings", GateReading, "readings", "means / means.sum()", "means", "the reading memory/gate_entropy"),
    ("two raw rings", _BandAttention, "forward", "torch.maximum", "torch.minimum", LARGEST),
    ("two raw rings", LongTermRing, "consolidate", "append(keys, values", "append(values, keys", "the stored keys"),
    (
        "two raw rings",
        LongTermRing,
        "consolidate",
        "self.compress(grown.keys)",
        "torch.cat([state.codes, self.compress(keys)])",
        "the stored codes",
    ),
    ("two raw rings", ShortTermMemory, "plan", ".div_(1 - self.dropout)", "", "an output"),
    ("contexts", Pages, "index", "self.entries.flip(0)", "self.entries", "an output"),
    ("contexts", Pages, "_since_boundary", "clamp_max(255)", "clamp_max(256)", "an output"),
    ("contexts", Pages, "_since_boundary", ".clamp_max(255)", "", "an output"),
    ("transformer", transformer, "largest_logit", "triu(now + 1)", "triu(first + 1)", LARGEST),
    (
        "two raw rings",
        CortexGPT,
        "forward",
        "position=state.position + tokens.shape[1]",
        "position=tokens.shape[1]",
        "how many tokens",
    ),
    (
        "two raw rings",
        CortexGPT,
        "between_batches",
        "fresh.short_term, long_term)",
        "fresh.short_term, long_term, state.position)",
        "the next document begins",
    ),
    ("hybrid", Hybrid, "_run_piece", "state.position + piece.tokens", "piece.tokens", "how many tokens"),
    ("two raw rings", LongTermRing, "consolidate", "topk(min", "neg().topk(min", "the stored"),
    ("original", LongTermStore, "consolidate", ">= self.spec.min_reads", "< self.spec.min_reads", "the stored"),
    ("hybrid", DeltaMemory, "forward", "beta.detach().mean()", "beta.detach().amax()", "memory/write_strength"),
    ("hybrid", _Readings, "means", "1 - window", "window", "the reading memory/gate_share/fast_weights"),
    ("hybrid", _Readings, "add", "value * tokens", "value", "the reading memory/"),
]
CASES_OF_CONTEXTS = [(4, 5, "recurs"), (4, 87, "runs"), (5, 257, "recalls"), (5, 257, "recalls")]
CONTEXTS = [row for row in CHANGES if row[0] == "contexts"]
QUICK = {row[0]: row for row in reversed(CHANGES) if row[0] != "contexts"}
"""Of each family one change; the others are for `nox -s slow`, also that of contexts, which is searched for long."""


@pytest.mark.parametrize(
    ("name", "owner", "function", "old", "new", "words"),
    [row if row is QUICK.get(row[0]) else pytest.param(*row, marks=pytest.mark.slow) for row in CHANGES],
)
def test_a_small_change_is_found(name: str, owner: object, function: str, old: str, new: str, words: str) -> None:
    subject = untrained(experiment_of(name))
    with rewritten(owner, function, old, new)():
        judgement = judge(REGISTRY[NAME], Check(), subject)
    assert judgement.verdict == "fail" and words in judgement.reason


@pytest.mark.parametrize(
    ("row", "length", "before", "text"),
    [(row, *case) for row, case in zip(CONTEXTS, CASES_OF_CONTEXTS, strict=True)],
)
def test_a_small_change_in_contexts_fails_a_case(row: tuple[Any, ...], length: int, before: int, text: str) -> None:
    """The one that the search finds."""
    name, owner, function, old, new, words = row
    case = {"length": length, "rows": 1, "before": before, "seed": 0, "text": text, "training": False}
    subject = untrained(experiment_of(name))
    with rewritten(owner, function, old, new)():
        judgement = judge_case(REGISTRY[NAME], Check(), subject, case)
    assert judgement.verdict == "fail" and words in judgement.reason


def test_a_model_of_ones_own_has_no_written_out_form() -> None:
    judgement = judge(REGISTRY[NAME], Check(), tiny.subject())
    assert judgement.verdict == "skipped" and "no written-out form of Tiny" in judgement.reason


def test_nor_has_one_without_short_term_memory() -> None:
    experiment = load_experiment("cortexgpt-stable", [*SMALL[:2], "variant.memory.short_term={kind: none}"])
    judgement = judge(REGISTRY[NAME], Check(), untrained(experiment))
    assert judgement.verdict == "skipped" and "needs a short-term memory" in judgement.reason
