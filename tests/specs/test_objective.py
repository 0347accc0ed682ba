"""What training asks for as a spec: what data, variant and objective ask of each other is one line each."""

import pytest

from cortexzoo.specs import SpecError, load_experiment
from cortexzoo.specs.objective import Recall

STAGE = "recipe.objective.stages="
NO_GUARD = "recipe.objective.in_chunk={kind: none}"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["data=pydoc-topics"], "recipe.objective.kind must be next_token with data of the family text, got recall"),
        (["recipe=robust"], "recipe.objective.kind must be recall with data of the family task, got next_token"),
        (["data.chunk_size=32"],
         "data.chunk_size must be variant.chunk_size = 64, got 32: a gap counts what the model sees at a time"),
        (["data=kv-tokens-far", "data.vocabulary=own"],
         "recipe.objective.in_chunk.kind must be none or samples with data.vocabulary own, got kl: "
         "no text can be written in its tokens"),
        (["variant=transformer"],
         "recipe.objective.in_chunk.kind must be none or samples, got kl: transformer has no frozen base to stay near"),
        (["variant=cortex-v2-hybrid-scratch"],
         "recipe.objective.in_chunk.kind must be none or samples, got kl: "
         "cortex-v2-hybrid-scratch has no frozen base to stay near"),
        (["variant=cortex-v2-hybrid-scratch", NO_GUARD, "data.vocabulary=tokenizer"],
         "data.vocabulary must be own or bytes, got tokenizer: the base of cortex-v2-hybrid-scratch is from scratch "
         "and has none"),
        (["variant=transformer", NO_GUARD, "recipe.objective.recompute_activations=true"],
         "recipe.objective.recompute_activations must be false, got true: transformer is not a hybrid"),
        ([f"{STAGE}[{{gaps: [-1]}}]"], "recipe.objective.stages.0.gaps.0 must be >= 0, got -1"),
        ([f"{STAGE}[{{gaps: [1], promote_at: 1.5}}]"],
         "recipe.objective.stages.0.promote_at must be <= 1, got 1.5"),
        ([f"{STAGE}[{{gaps: [1, 1]}}]"], "recipe.objective.stages.0.gaps must be distinct, got [1, 1]"),
        ([f"{STAGE}[]"], "recipe.objective.stages must have at least 1 entry, got none"),
        (["recipe.objective.bptt_chunks=0"], "recipe.objective.bptt_chunks must be > 0, got 0"),
        (["recipe.schedule.warmup_ratio=0.6"],
         "recipe.schedule.decay_ratio must be at most 1 - warmup_ratio = 0.4, got 0.6"),
    ],
)  # fmt: skip
def test_the_line_for_a_mistake(changes: list[str], line: str) -> None:
    with pytest.raises(SpecError) as mistake:
        load_experiment("cortex-v2-hybrid", changes)
    (told,) = mistake.value.lines
    assert told.endswith(f": {line}")


@pytest.mark.parametrize(
    "changes",
    [
        ["data=kv-tokens-far", "data.vocabulary=own", NO_GUARD],
        ["variant=transformer", "recipe.objective.in_chunk={kind: samples}"],
    ],
)
def test_what_needs_no_base_and_no_text_is_allowed(changes: list[str]) -> None:
    assert isinstance(load_experiment("cortex-v2-hybrid", changes).recipe.objective, Recall)
