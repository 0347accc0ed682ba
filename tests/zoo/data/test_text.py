"""Splitting the text, and what a recipe and a variant require of it."""

import hashlib
from pathlib import Path

import pytest

from cortexzoo.specs.data import TextFiles, TextSpec
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import DataError


def test_the_parts_are_contiguous_and_share_nothing() -> None:
    content = bytes(range(100))
    data = TextData.from_bytes(content, 0.25)
    assert data.train.tobytes() + data.validation.tobytes() == content
    assert len(data.validation) == 25
    assert data.sha256 == hashlib.sha256(content).hexdigest()


def test_a_spec_is_read_relative_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("0123456789")
    data = TextData.from_spec(TextSpec(name="x", source=TextFiles(paths=("x.txt",)), validation_fraction=0.2), tmp_path)
    assert (data.train.tobytes(), data.validation.tobytes()) == (b"01234567", b"89")


@pytest.mark.parametrize(
    ("size", "fraction", "message"),
    [
        (0, 0.1, "the training part has 0 bytes, but one sequence of 8 bytes and its last target need 9"),
        (80, 0.1, "the validation part has 8 bytes"),
        (80, 0.9, "the training part has 7 bytes"),
    ],
)
def test_text_shorter_than_one_sequence_is_refused(size: int, fraction: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextData.from_bytes(bytes(size), fraction).require(8, 256)


def test_one_sequence_and_its_target_are_enough() -> None:
    TextData.from_bytes(bytes(18), 0.5).require(8, 1)


def test_every_byte_needs_a_logit() -> None:
    with pytest.raises(DataError, match="vocab_size must be at least 201, since the text contains byte 200, got 128"):
        TextData.from_bytes(bytes(90) + b"\xc8" * 10, 0.2).require(8, 128)
