"""Which tokens suit which variant is known before anything is loaded."""

import pytest

from cortexzoo import specs
from cortexzoo.specs.errors import SpecError

SMOLLM2 = ("variant=cortex-v2-hybrid-smollm2", "suite=cortex-v2-hybrid")
BYTES_BASE = ("variant=cortex-v2-hybrid", "suite=cortex-v2-hybrid")


def message(*changes: str) -> str:
    with pytest.raises(SpecError) as caught:
        specs.load_experiment("cortexgpt-stable", list(changes))
    (line,) = caught.value.lines
    return line


def test_a_base_with_tokens_of_its_own_is_not_trained_on_bytes() -> None:
    for vocabulary in ("bytes", "bpe"):
        line = message(*SMOLLM2, f"data.vocabulary={{kind: {vocabulary}}}")
        assert f"data.vocabulary.kind must be base (or file, with the same tokenizer), got {vocabulary}" in line
        assert "49152 tokens of its own" in line
    assert "must be base" in message(*SMOLLM2), "bytes are the default"
    loaded = specs.load_experiment("cortexgpt-stable", [*SMOLLM2, "data.vocabulary={kind: base}"])
    assert loaded.data.vocabulary.kind == "base"
    with pytest.raises(SpecError, match=r"data\.vocabulary must be tokenizer \(or own\), got bytes"):
        specs.load_experiment(
            "cortex-v2-hybrid",
            ["variant=cortex-v2-hybrid-smollm2", "data.chunk_size=256", "data.vocabulary=bytes"],
        )


def test_a_tokenizer_needs_a_base_that_has_one() -> None:
    assert "must be bytes, file or bpe, got base: cortexgpt-stable has no pretrained base" in message(
        "data.vocabulary={kind: base}"
    )
    assert "must be bytes, got bpe: the base of cortex-v2-hybrid is trained on bytes" in message(
        *BYTES_BASE, "data.vocabulary={kind: bpe, size: 300}"
    )


def test_one_text_after_another_is_read_in_bytes() -> None:
    assert "data.vocabulary.kind must be bytes with the objective continual, got file" in message(
        "recipe=continual", "data.vocabulary={kind: file, path: t.json}"
    )


def test_a_model_needs_a_logit_for_each_token() -> None:
    assert "data.vocabulary.size must be at most the vocab_size of cortexgpt-stable, 256, got 1024" in message(
        "data.vocabulary={kind: bpe}"
    )
