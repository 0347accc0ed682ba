"""Splitting the text, and what a recipe and a variant require of it."""

import hashlib
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from cortexzoo.specs.data import PythonLibrary, TextFiles, TextSpec
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import DataError


def test_the_parts_are_contiguous_and_share_nothing() -> None:
    content = bytes(range(100))
    data = TextData.from_bytes(content, 0.25, 0.125)
    assert data.train.tobytes() + data.validation.tobytes() + data.test.tobytes() == content
    assert (len(data.validation), len(data.test)) == (25, 13)
    assert data.sha256 == hashlib.sha256(content).hexdigest()


def test_a_spec_is_read_relative_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("0123456789")
    spec = TextSpec(name="x", source=TextFiles(paths=("x.txt",)), validation_fraction=0.2, test_fraction=0.1)
    data = TextData.from_spec(spec, tmp_path)
    assert (data.train.tobytes(), data.validation.tobytes(), data.test.tobytes()) == (b"0123456", b"78", b"9")


@pytest.mark.parametrize(
    ("size", "validation", "test", "message"),
    [
        (0, 0.1, 0.1, "the training part has 0 bytes, but one sequence of 8 bytes and its last target need 9"),
        (80, 0.1, 0.2, "the validation part has 8 bytes"),
        (80, 0.2, 0.1, "the test part has 8 bytes"),
        (80, 0.5, 0.4, "the training part has 7 bytes"),
    ],
)
def test_a_text_too_short_for_three_parts_is_refused(size: int, validation: float, test: float, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TextData.from_bytes(bytes(size), validation, test).require(8, 256)


def test_one_sequence_and_its_target_are_enough() -> None:
    data = TextData.from_bytes(bytes(36), 0.25, 0.25)
    data.require(8, 1)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 9, 9]
    with pytest.raises(DataError):
        data.require(9, 1)


def test_every_byte_needs_a_logit() -> None:
    with pytest.raises(DataError, match="vocab_size must be at least 201, since the text contains byte 200, got 128"):
        TextData.from_bytes(bytes(90) + b"\xc8" * 10, 0.2, 0.2).require(8, 128)


def test_the_batches_of_a_part_are_its_contiguous_windows() -> None:
    data = TextData.from_bytes(bytes(range(100)), 0.25, 0.25)
    batches = data.windows("test", 8, 2)
    assert [len(batch) for batch in batches] == [2, 1]
    assert batches[1].tolist() == [list(range(91, 100))]
    assert torch.cat([*data.windows("validation", 8, 2, at_most=2)])[:, 0].tolist() == [50, 66]


def test_the_second_text_comes_with_python() -> None:
    text = bytes(TextData.from_spec(TextSpec(name="x", source=PythonLibrary(first="t", last="t"))).train)
    assert b"class NamedTemporaryFile" in text or b"_TemporaryFileWrapper" in text


def test_letters_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="last must not come before first = n, got a"):
        PythonLibrary(first="n", last="a")


def test_fractions_must_leave_something_to_train_on() -> None:
    with pytest.raises(ValidationError, match=r"test_fraction must be below 1 - validation_fraction = 0\.4, got 0\.4"):
        TextSpec(name="x", validation_fraction=0.6, test_fraction=0.4)
