"""Prompts: a file of any length in pieces, the tokens of a run, and one line for what cannot be read."""

from pathlib import Path

import pytest
import torch

from cortexzoo.harness.runs.prompt import PIECE, PromptError, Writing
from cortexzoo.specs import load_experiment


class Words:
    """A tokenizer: each word of three is a token."""

    words = ("a", "b", "ö")

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [self.words.index(word) for word in text.split()]

    def decode(self, token_ids: list[int]) -> str:
        return "".join(f" {self.words[token]}" for token in token_ids)


def test_a_file_of_bytes_comes_in_pieces_and_the_prompt_after_it(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "long").write_bytes(content)
    pieces = list(Writing(None, 300).pieces(tmp_path / "long", "ü?"))
    assert [piece.shape[1] for piece in pieces] == [PIECE, PIECE, len(content) - 2 * PIECE, 3]
    assert bytes(torch.cat(pieces, dim=1)[0].tolist()) == content + "ü?".encode()


def test_a_tokenizer_is_given_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "long").write_text("a ö " * PIECE, encoding="utf-8")
    writing = Writing(Words(), 10)
    assert writing.size == 3
    pieces = list(writing.pieces(tmp_path / "long", "b"))
    assert [piece.shape[1] for piece in pieces] == [PIECE, PIECE, 1]
    assert torch.cat(pieces, dim=1)[0].tolist() == [0, 2] * PIECE + [1]
    assert writing.show("a", [2, 1]) == "a ö b"


def test_bytes_that_are_no_text_are_shown_all_the_same() -> None:
    assert Writing(None, 256).show("é", [0xC3, 0xA4, 0xFF]) == "éä\ufffd"


@pytest.mark.parametrize(
    ("content", "tokenizer", "vocab_size", "message"),
    [
        (None, None, 256, "cannot be read: No such file or directory"),
        (b"", None, 256, "must contain at least one byte, got none"),
        (b" ", Words(), 256, "must contain at least one token, got none"),
        (b"a \xff", Words(), 256, "must be UTF-8, as the tokenizer reads text, got byte 255 at place 2: save"),
        (b"ab\x90", None, 128, "contains byte 144, but the model has only 128 bytes"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    tmp_path: Path, content: bytes | None, tokenizer: Words | None, vocab_size: int, message: str
) -> None:
    file = tmp_path / "prompt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PromptError) as caught:
        list(Writing(tokenizer, vocab_size).pieces(file, None))
    assert str(caught.value).startswith(f"--prompt-file {file}: {message}")
    assert "\n" not in str(caught.value)


def test_a_run_writes_in_the_tokens_that_it_was_trained_in() -> None:
    assert Writing.of(load_experiment("cortexgpt-stable", [])).tokenizer is None
    assert Writing.of(load_experiment("cortex-v2-hybrid", [])).size == 256
    own = load_experiment(
        "cortex-v2-hybrid", ["data=kv-tokens-far", "data.vocabulary=own", "recipe.objective.in_chunk={kind: none}"]
    )
    with pytest.raises(PromptError, match=r"trained on in tokens of its own, .* vocabulary bytes or tokenizer"):
        Writing.of(own)
