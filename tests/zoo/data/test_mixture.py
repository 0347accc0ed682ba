"""Several texts as one: drawn by weight, from files and prepared folders, and one line for each mistake."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexzoo.specs.data import JsonLines, MixtureSpec, PreparedPart, TextFiles, TextPart
from cortexzoo.specs.text_vocabulary import ByteTokens, TokenizerFile, TrainedBPE
from cortexzoo.zoo.data.mixed_order import BLOCK, MixedOrder
from cortexzoo.zoo.data.mixture import ChainedTokens, mixed_text
from cortexzoo.zoo.data.order import cut_windows
from cortexzoo.zoo.data.preparing import Corpus, prepare
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import DataError

LENGTH = 16
ROWS = [f"Ship {n} left with {n * n} crates of tea. " for n in range(60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`a.txt` of a's, `b.jsonl` of b's, and ships as bytes and in tokens."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "a.txt").write_text("a" * 900)
    (folder / "b.jsonl").write_text(json.dumps({"text": "b" * 400}) + "\n")
    (folder / "blank.txt").write_text(" \n")
    (folder / "ships.jsonl").write_text("\n".join(json.dumps({"text": row}) for row in ROWS))
    prepare(Corpus((str(folder / "ships.jsonl"),)), folder / "bytes")
    prepare(Corpus((str(folder / "ships.jsonl"),)), folder / "bpe", bpe_size=300)
    return folder


def mixture(folder: Path, *parts: str, weights: tuple[float, ...] = (3, 1), vocabulary: Any = None) -> MixtureSpec:
    def part(name: str, weight: float) -> TextPart | PreparedPart:
        path = str(folder / name)
        if name.endswith(".txt"):
            return TextPart(weight=weight, source=TextFiles(paths=(path,)))
        if name.endswith(".jsonl"):
            return TextPart(weight=weight, source=JsonLines(paths=(path,)))
        return PreparedPart(weight=weight, path=path)

    given = tuple(part(name, weight) for name, weight in zip(parts, weights, strict=True))
    return MixtureSpec(name="mixed", parts=given, vocabulary=vocabulary or ByteTokens())


def windows(data: TextData, first: int, count: int, seed: int = 0) -> list[bytes]:
    starts = data.training_order(LENGTH, seed).starts(first, count)
    return [bytes(row.tolist()) for row in cut_windows(data.train, starts, LENGTH)]


def test_each_text_comes_as_often_as_its_weight_and_alone(folder: Path) -> None:
    data = mixed_text(mixture(folder, "a.txt", "b.jsonl"))
    found = Counter(windows(data, 0, BLOCK))
    assert found == {b"a" * (LENGTH + 1): 750, b"b" * (LENGTH + 1): 250}
    early = Counter(windows(data, 0, 100))[b"a" * (LENGTH + 1)]
    assert 60 < early < 90, "mixed from the first steps on"
    assert len(data.train) == 720 + 320 and data.sha256 != mixed_text(mixture(folder, "b.jsonl", "a.txt")).sha256


def test_the_order_follows_from_seed_and_place() -> None:
    order = MixedOrder((500, 300, 40), (1.0, 2.0, 0.001), LENGTH, seed=3)
    whole = order.starts(0, 2 * BLOCK + 50).tolist()
    assert order.starts(BLOCK - 7, 20).tolist() == whole[BLOCK - 7 : BLOCK + 13]
    assert MixedOrder((500, 300, 40), (1.0, 2.0, 0.001), LENGTH, seed=4).starts(0, 50).tolist() != whole[:50]
    begins = np.array([0, 500, 800])
    texts = np.searchsorted(begins, whole[:BLOCK], side="right") - 1
    assert np.bincount(texts).tolist() == [333, 666, 1], "a thousand, and something of each text"
    ends = np.array([500, 800, 840])[np.searchsorted(begins, whole, side="right") - 1]
    assert (np.array(whole) + LENGTH < ends).all(), "no window reaches into the next text"


def test_within_a_text_every_window_comes_once_an_epoch() -> None:
    order = MixedOrder((500, 5000), (1.0, 1.0), LENGTH, seed=0)
    of_first = [start for start in order.starts(0, 400).tolist() if start < 500]
    epoch = (500 - LENGTH) // LENGTH
    assert len(set(of_first[:epoch])) == epoch == len(set(of_first[epoch : 2 * epoch]))


def test_an_epoch_goes_on_from_one_thousand_to_the_next() -> None:
    order = MixedOrder((LENGTH * 3000 + 1, 500), (1.0, 1.0), LENGTH, seed=0)
    of_first = [start for start in order.starts(0, 3 * BLOCK).tolist() if start < LENGTH * 3000 + 1]
    assert len(of_first) == 1500 == len(set(of_first)), "no window comes again before all have come"


@pytest.mark.parametrize("vocabulary", ["bytes", "bpe"])
def test_files_and_a_prepared_folder(folder: Path, vocabulary: str) -> None:
    tokens = None if vocabulary == "bytes" else TokenizerFile(path=str(folder / "bpe" / "tokenizer.json"))
    data = mixed_text(mixture(folder, "a.txt", vocabulary, vocabulary=tokens))
    assert isinstance(data.train, ChainedTokens)
    data.require(LENGTH, 300)
    spelled = data.vocabulary.bytes_of(data.train[:]).tobytes()
    assert spelled.startswith(b"a" * 720 + b"Ship 0 left") and len(data.train[100:105]) == 5
    assert data.train[700:740].tolist() == data.train[np.arange(700, 740)].tolist()
    counted = data.reference_losses(LENGTH)
    assert 0 < counted.ngram < counted.unigram
    scored = data.scored_windows("validation", LENGTH, 4)
    assert scored is not None and not all(bool(scored[index].all()) for index in range(len(scored))), (
        "a window that ends with its text is not scored beyond it"
    )
    lengths = data.token_bytes("validation")
    if vocabulary == "bpe":
        assert lengths is not None and data.bytes_per_token > 1
    else:
        assert lengths is None


def test_held_out_windows_score_every_target_but_each_text_s_first(folder: Path) -> None:
    data = mixed_text(mixture(folder, "a.txt", "b.jsonl"))
    masks = data.scored_windows("test", LENGTH, 64)
    assert masks is not None
    assert sum(int(masks[index].sum()) for index in range(len(masks))) == 90 + 40 - 2


@pytest.mark.parametrize(
    ("parts", "vocabulary", "message"),
    [
        (("a.txt", "blank.txt"), None, r"data\.parts\.1: its text is empty: leave it out"),
        (("a.txt", "gone.txt"), None, r"gone\.txt"),
        (("a.txt", "bpe"), None, r"data\.parts\.1: .*bpe was prepared with another tokenizer, and the mixture is in b"),
        (("a.txt", "bytes"), TrainedBPE(size=260), r"bytes was prepared as bytes, and the mixture is in tokens"),
        (("bytes", "bytes"), TrainedBPE(size=260), r"no part is a text to train it on"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, parts: tuple[str, ...], vocabulary: Any, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        mixed_text(mixture(folder, *parts, vocabulary=vocabulary))
    assert "\n" not in str(caught.value)


def test_each_text_must_be_long_enough(folder: Path) -> None:
    data = mixed_text(mixture(folder, "a.txt", "b.jsonl"))
    with pytest.raises(DataError, match=r"data\.parts\.1: its validation part has 40 bytes, but one sequence"):
        data.require(64, 256)
