"""No property accuses a model for settings that are allowed and unusual: each of these was accused once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.roles import LEAST_VOCABULARY, text_of_roles
from cortexzoo.specs import allowed_code, load_experiment
from cortexzoo.specs.doubts import doubts
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from tests.harness.checking.properties.test_forward import SMALL, untrained
from tests.quick import every

A_TASK = ("recipe=cortex-v2-a1", "data=kv-tokens", "recipe.objective.in_chunk={kind: none}")
TWO_DOCUMENTS = "data.task={kind: kv_tokens, num_pairs: 1, num_queries: 1, num_keys: 1, num_values: 2, num_noise: 1}"
STABLE = ("cortexgpt-stable", *SMALL)
RING = (*STABLE, "variant.memory.long_term={kind: raw_ring}")
BARE = (*STABLE, "variant.memory={short_term: {kind: none}, long_term: {kind: none}}")
USED = "recipe.homeostasis={kind: usage, every: 1, columns: 0.9}"
PLAIN = ("transformer", "variant.hidden_size=8", "variant.num_layers=1")
HYBRID = ("cortex-v2-hybrid", "variant.backbone.training.steps=2")
SCRATCH = (
    "cortex-v2-hybrid",
    "variant=cortex-v2-hybrid-scratch",
    "variant.backbone.architecture.vocab_size=256",
    "recipe.objective.in_chunk={kind: none}",
)
NIGHT = (*HYBRID, "recipe=robust", "data=pydoc-topics")
ONE_CHANNEL = (*HYBRID, "variant.mixer.num_heads=1", "variant.mixer.head_dim=2", "variant.mixer.key_products=0")

SETTINGS: tuple[tuple[PropertyName, tuple[str, ...], dict[str, Any] | None], ...] = (
    ("base_is_frozen", SCRATCH, None),
    ("state_norm_is_bounded", (*HYBRID, "variant.mixer.write_threshold=0.9"), {"gates": "trained", "tokens": 400}),
    ("every_parameter_learns", (*HYBRID, "variant.mixer.window_size=1"), None),
    ("every_parameter_learns", BARE, None),
    ("every_parameter_learns", (*RING, "variant.memory.short_term.capacity=1"), None),
    ("every_parameter_learns", (*RING, "variant.memory.long_term.top_k=1"), None),
    ("memory_is_bounded", BARE, None),
    ("every_field_counts", (*BARE, "variant.join={kind: replace}"), {"part": "variant"}),
    ("every_field_counts", (*RING, *A_TASK), {"part": "variant"}),
    ("every_field_counts", (*STABLE, *A_TASK, "variant.memory.long_term={kind: contexts}"), {"part": "variant"}),
    ("every_field_counts", ONE_CHANNEL, {"part": "variant"}),
    ("every_field_counts", (*PLAIN, "recipe=phase-1"), {"part": "recipe"}),
    ("every_field_counts", (*PLAIN, "recipe.clipping={kind: zclip}"), {"part": "recipe"}),
    ("every_field_counts", (*PLAIN, "recipe.clipping={kind: adagc}"), {"part": "recipe"}),
    ("steps_match_a_reference", (*STABLE, USED), {"recipe": "own", "steps": 6}),
    ("held_out_is_measured_whole", (*STABLE, USED), {"sequences": "some"}),
    ("mistakes_are_refused", ONE_CHANNEL, {"area": "calls"}),
    ("held_out_is_measured_whole", (*RING, *A_TASK), {"sequences": "some"}),
    ("recall_is_trained_as_specified", (*RING, *A_TASK), {"of": "none", "seed": 0}),
    ("recall_is_trained_as_specified", (*HYBRID, "recipe.objective.in_chunk={kind: none}", "data=kv-tokens",
                                        "data.vocabulary=own"), None),
    ("data_is_served_once_an_epoch", (*STABLE, *A_TASK, TWO_DOCUMENTS), {"accumulation": 1}),
    ("repeatability", (*STABLE, "variant.memory.long_term={kind: contexts, capacity: 60}"), None),
    ("no_own_occurrence", (*STABLE, "variant.memory.long_term={kind: contexts, capacity: 97, own_span: 9}"), None),
    ("no_own_occurrence", (*STABLE, "variant.memory.long_term={kind: contexts, capacity: 16}"), {"span": 6}),
    ("recall_is_trained_as_specified", (*RING, *A_TASK, "data.gap_unit=tokens", "data.gaps=[70]"),
     {"of": "conclusions", "seed": 0}),
    ("stored_is_found", (*STABLE, "variant.memory.long_term={kind: contexts, capacity: 60}"), None),
    ("steps_match_a_reference", (*PLAIN, "recipe.clipping={kind: adagc}"), {"recipe": "all warmup", "steps": 3}),
    ("steps_match_a_reference", BARE, {"recipe": "no decay", "steps": 3}),
    ("intervals_are_kept", (*RING, *A_TASK), {"plan": "b", "steps": 1}),
    ("slow_store_follows_its_formulas", (*NIGHT, "variant.mixer.write_threshold=0.9"), {"sleep": "stays"}),
    ("slow_store_follows_its_formulas", (*NIGHT, "variant.mixer.write_threshold=0.9"), {"sleep": "has no solution"}),
    ("slow_store_follows_its_formulas", (*NIGHT, "recipe.sequence_length=1"), {"sleep": "is undone"}),
)  # fmt: skip


@pytest.mark.slow
def test_the_chunk_of_a_hybrid_counts_where_it_is_longer_than_the_texts() -> None:
    subject = untrained(load_experiment(NIGHT[0], [*NIGHT[1:]]))
    judgement = judge_case(REGISTRY["every_field_counts"], Check(), subject, {"part": "variant"})
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize(("name", "settings", "case"), every(3, SETTINGS), ids=str)
def test_unusual_settings_are_not_accused(
    name: PropertyName, settings: tuple[str, ...], case: dict[str, Any] | None
) -> None:
    subject = untrained(load_experiment(settings[0], [*settings[1:]]))
    judgement = (
        judge(REGISTRY[name], Check(), subject) if case is None else judge_case(REGISTRY[name], Check(), subject, case)
    )
    assert judgement.verdict == "pass", judgement.reason


SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
LAYOUT = "hidden_size: 16, num_layers: 2, num_heads: 2, num_kv_heads: 2, intermediate_size: 24, max_positions: 64"


def base_in(folder: Path, dtype: torch.dtype, window: int | None) -> str:
    """A small Mistral with weights of that type, whose attention reaches so far."""
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=256, num_key_value_heads=2, sliding_window=window, max_position_embeddings=64, **SHAPE
    )
    MistralForCausalLM(config).to(dtype).save_pretrained(folder)
    word = str(dtype).removeprefix("torch.")
    return f"{{kind: folder, path: {folder}, dtype: {word}, architecture: {{layout: mistral, {LAYOUT}}}}}"


def on_a_folder(folder: Path, dtype: torch.dtype, window: int | None, *settings: str) -> Subject:
    """A hybrid on it."""
    base = base_in(folder, dtype, window)
    small = ("variant.mixer.key_products=1", "variant.mixer.window_size=8", "variant.mixer.head_dim=8")
    return untrained(load_experiment("cortex-v2-hybrid", [f"variant.backbone={base}", *small, *settings]))


def test_a_base_with_a_window_of_its_own_sees_less_than_a_chunk(tmp_path: Path) -> None:
    subject = on_a_folder(tmp_path / "base", torch.float32, 5)
    judgement = judge(REGISTRY["reach_is_as_stated"], Check(), subject)
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("chunk_invariance", {"pieces": "7" + "+7" * 59, "rows": 2, "mode": "eval", "seed": 0}),
        ("steps_match_a_reference", {"recipe": "restarts", "steps": 10}),
        ("sleep_matches_a_reference", {"dreams": "noise near itself"}),
        ("every_field_counts", {"part": "recipe"}),
    ],
    ids=str,
)
def test_a_base_in_half_precision_rounds(name: PropertyName, case: dict[str, Any], tmp_path: Path) -> None:
    text = ("recipe=robust", "data=pydoc-topics")
    subject = on_a_folder(tmp_path / "base", torch.bfloat16, None, *text)
    judgement = judge_case(REGISTRY[name], Check(), subject, case)
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("steps_match_a_reference", {"recipe": "own", "steps": 6}),
        ("rollback_restores_everything", {"clipping": "norm", "steps": 10}),
        ("sleep_matches_a_reference", {"dreams": "noise"}),
        ("every_field_counts", {"part": "recipe"}),
    ],
    ids=str,
)
def test_weights_that_are_trained_may_be_in_half_precision(
    name: PropertyName, case: dict[str, Any], tmp_path: Path
) -> None:
    base = base_in(tmp_path / "base", torch.bfloat16, None)
    variant = f"variant={{kind: variant, family: tuned, name: half, method: {{kind: full}}, backbone: {base}}}"
    objective = "recipe.objective.in_chunk={kind: none}"
    experiment = load_experiment("cortex-v2-hybrid", [variant, "variant.chunk_size=64", objective])
    judgement = judge_case(REGISTRY[name], Check(), untrained(experiment), case)
    assert judgement.verdict == "pass", judgement.reason
    assert len(doubts(experiment)) == 1 and "float32 keeps them" in doubts(experiment)[0]


@pytest.mark.parametrize("size", [LEAST_VOCABULARY, 7, 20, 29, 30])
def test_a_vocabulary_may_be_small(size: int) -> None:
    text = text_of_roles(size)
    parts = [set(part.tolist()) for part in (text.train, text.validation, text.test)]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("resume_is_exact", {"stop": 3, "back": 0, "harder": False, "steps": 6}),
        ("refusals_leave_no_trace", {"at": 3, "steps": 6}),
        ("any_order_works", {"operations": "train evaluate"}),
        ("sleep_harms_nothing", {"dreams": "noise", "acceptance": "impossible"}),
    ],
    ids=str,
)
def test_a_text_may_have_no_more_than_its_windows(name: PropertyName, case: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("the cat sat on a mat, and it was not here. so the dog ran off with a rug", encoding="utf-8")
    data = f"data.source={{kind: files, paths: [{file}]}}"
    subject = untrained(load_experiment("transformer", [SMALL[0], data, "recipe.sequence_length=4"]))
    judgement = judge_case(REGISTRY[name], Check(), replace(subject, text=torch.arange(7)), case)
    assert judgement.verdict == "pass", judgement.reason


@pytest.mark.parametrize("way", ["near the earlier self", "generated"])
def test_the_divergence_of_equal_models_may_be_rounding_below_zero(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(allowed_code.VARIABLE, "1")
    module = "variant={kind: variant, family: module, name: carried, source: 'tests/zoo/models/own_models.py:carried'}"
    subject = untrained(load_experiment("transformer", ["recipe=continual", "recipe.batch_size=4", module]))
    judgement = judge_case(REGISTRY["continual_training_follows_its_rules"], Check(), subject, {"way": way})
    assert judgement.verdict == "pass", judgement.reason
