"""A task as training data: its sum, the text beside it, and what no run may begin with."""

from pathlib import Path

import numpy as np
import pytest

from cortexzoo.specs.data import TextFiles
from cortexzoo.specs.task import TaskSpec, TokenPairs
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.errors import DataError

TEXT = bytes(range(32, 127)) * 4


def spec(**values: object) -> TaskSpec:
    return TaskSpec.model_validate({"name": "pairs", "task": TokenPairs(), "gaps": (1, 4), **values})


def data(folder: Path, content: bytes = TEXT, seed: int = 0, **values: object) -> TaskData:
    (folder / "text.txt").write_bytes(content)
    return TaskData.from_spec(spec(**values), seed, TextFiles(paths=("text.txt",)), folder=folder)


def test_what_drift_is_measured_on_trains_nothing(tmp_path: Path) -> None:
    found = data(tmp_path)
    training, held_out = found.training_tokens(), found.held_out_tokens()
    assert training is not None
    assert bytes(training.tolist()) + bytes(held_out.tolist()) == TEXT
    assert len(held_out) == len(TEXT) / 10


def test_a_vocabulary_of_its_own_has_documents_for_a_text(tmp_path: Path) -> None:
    found = data(tmp_path, vocabulary="own")
    assert found.text is None and found.training_tokens() is None
    held_out = found.held_out_tokens()
    assert held_out.max() < found.task.vocabulary.size
    documents = found.task.batch("validation", range(2), 1).tokens.flatten().numpy()
    assert np.array_equal(held_out[: len(documents)], documents)


def test_a_name_is_no_other_data(tmp_path: Path) -> None:
    assert data(tmp_path, name="other", description="the same").sha256 == data(tmp_path).sha256


def test_the_sum_follows_spec_seed_and_text(tmp_path: Path) -> None:
    sums = {
        data(tmp_path).sha256,
        data(tmp_path, seed=1).sha256,
        data(tmp_path, evaluation_documents=7).sha256,
        data(tmp_path, content=TEXT[1:]).sha256,
        data(tmp_path, vocabulary="own").sha256,
    }
    assert len(sums) == 5
    assert data(tmp_path).sha256 in sums


class Backwards:
    """A tokenizer whose tokens are characters, the last one first."""

    all_special_ids: tuple[int, ...] = ()

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        assert not add_special_tokens
        return [399 - ord(character) for character in text]

    def decode(self, tokens: list[int]) -> str:
        return "".join(chr(399 - token) for token in tokens)

    def __len__(self) -> int:
        return 400


def test_a_tokenizer_spells_text_and_task(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(TEXT)
    source = TextFiles(paths=("text.txt",))
    found = TaskData.from_spec(spec(vocabulary="tokenizer"), 0, source, Backwards(), tmp_path)
    assert found.text is not None
    assert found.text.tolist() == [399 - byte for byte in TEXT]
    assert found.task.vocabulary.size == 400


def test_what_cannot_train_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs 256 tokens, but the model has 100: use a variant with a larger"):
        data(tmp_path).require(100)
    data(tmp_path).require(256)
    data(tmp_path).require_text(37)
    with pytest.raises(DataError, match=r"has 38 tokens, but one sequence of 38 tokens and its last target need 39"):
        data(tmp_path).require_text(38)
    with pytest.raises(DataError, match="no such file"):
        TaskData.from_spec(spec(), 0, TextFiles(paths=("none.txt",)), folder=tmp_path)
