"""Token files: any corpus becomes the tokens that its text has, training maps them, and damage is one line."""

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.specs.data import PreparedSpec
from cortexzoo.zoo.data import documents as reading
from cortexzoo.zoo.data.order import DocumentOrder, TrainingOrder, cut_windows
from cortexzoo.zoo.data.permutation import permuted
from cortexzoo.zoo.data.prepared import prepared_text
from cortexzoo.zoo.data.preparing import Corpus, prepare
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary, trained_bpe
from cortexzoo.zoo.data.token_files import TokenFolder
from cortexzoo.zoo.errors import DataError

ROWS = [f"Row {n}: {'naïve boats ' * (n % 5)}on the river.\n\nAnd more." for n in range(400)]


def rows_file(folder: Path, name: str = "rows.jsonl") -> Path:
    (folder / name).write_text("".join(json.dumps({"id": n, "text": row}) + "\n" for n, row in enumerate(ROWS)))
    return folder / name


def prepared(
    folder: Path, *sources: str | Path, documents: str = "carry", size: int | None = None, **how: object
) -> TextData:
    prepare(Corpus(tuple(map(str, sources)), **how), folder, bpe_size=size)  # type: ignore[arg-type]
    return prepared_text(PreparedSpec(name="p", path=str(folder), documents=documents))  # type: ignore[arg-type]


def spelled(data: TextData) -> str:
    parts = (data.part(name)[:] for name in ("training", "validation", "test"))
    return b"".join(data.vocabulary.bytes_of(part).tobytes() for part in parts).decode()


@pytest.mark.parametrize("size", [None, 300])
def test_rows_become_documents_and_nothing_is_lost(tmp_path: Path, size: int | None) -> None:
    data = prepared(tmp_path / "out", rows_file(tmp_path), size=size)
    assert spelled(data) == "".join(f"{row}\n" for row in ROWS)
    opened = TokenFolder.open(tmp_path / "out")
    assert sum(part["documents"] for part in opened.about["parts"].values()) == len(ROWS)
    assert opened.about["dtype"] == ("uint8" if size is None else "uint16")
    train = len(data.train) / (len(data.train) + len(data.validation) + len(data.test))
    assert train == pytest.approx(0.8, abs=0.02)
    for name in ("training", "validation", "test"):
        first = data.vocabulary.bytes_of(data.part(name)[:30]).tobytes()
        assert first.startswith(b"Row "), "parts begin with a document"
        if data.byte_counts is not None:
            assert data.byte_counts[name] == len(data.vocabulary.bytes_of(data.part(name)[:]))


def test_a_bpe_learns_nothing_of_what_is_held_out(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("abc " * 900 + "xyzw" * 200)
    data = prepared(tmp_path / "out", tmp_path / "t.txt", size=300)
    assert isinstance(data.vocabulary, TokenizerVocabulary)
    assert not any("xy" in token for token in data.vocabulary.tokens)


def test_nor_where_the_training_part_is_longer_in_tokens_than_in_bytes(tmp_path: Path) -> None:
    """Its words are rare and cost many tokens, those behind it are long ones: the part ends sooner than by bytes."""
    letters = random.Random(0)
    rare = ["".join(chr(letters.randrange(0x4E00, 0x9FFF)) for _ in range(200)) + "the boats " * 9 for _ in range(50)]
    often = ["the boats " * 30 + "xyzzy " * 3 for _ in range(60)]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": row}) + "\n" for row in rare + often))
    data = prepared(tmp_path / "out", file, size=400)
    training, whole = data.vocabulary.bytes_of(data.train[:]).tobytes(), spelled(data).encode()
    assert b"xyzzy" not in training and b"xyzzy" in whole[: len(whole) * 8 // 10], "else it would be no leak"
    assert isinstance(data.vocabulary, TokenizerVocabulary)
    assert not any("xy" in token or "zz" in token for token in data.vocabulary.tokens)
    assert any("boats" in token for token in data.vocabulary.tokens)


def test_one_long_document_is_split_within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE", 64)
    text = "".join(f"Zeile {n} über {n * n} Fährten\n" for n in range(500))
    (tmp_path / "t.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    data = prepared(tmp_path / "out", tmp_path / "t.txt", size=300, separator=b"")
    assert spelled(data) == text
    assert data.byte_counts is not None and sum(data.byte_counts.values()) == len(text.encode())
    whole = TokenizerVocabulary(data.vocabulary.file_content() or "", "w").encode(text.encode())
    parts = [data.part(name)[:] for name in ("training", "validation", "test")]
    assert np.concatenate(parts).tolist() == whole.tolist()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.integers(1, 40))
def test_pieces_of_a_text_file_are_its_text(tmp_path_factory: pytest.TempPathFactory, text: str, piece: int) -> None:
    file = tmp_path_factory.getbasetemp() / "any.txt"
    file.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "PIECE", piece)
        (document,) = reading.documents(str(file), "text")
        pieces = list(document)
    assert b"".join(pieces).decode() == text.removeprefix("\ufeff").replace("\r\n", "\n")
    for each in pieces:
        each.decode()


def test_gzip_gives_the_same_tokens(tmp_path: Path) -> None:
    plain = rows_file(tmp_path)
    with gzip.open(tmp_path / "rows.jsonl.gz", "wb") as packed:
        packed.write(plain.read_bytes())
    one, other = prepared(tmp_path / "a", plain), prepared(tmp_path / "b", tmp_path / "rows.jsonl.gz")
    assert one.sha256 == other.sha256


BAD = {
    '{"text": null}': r"must be a string, got null",
    '{"other": 1}': r"has no field 'text', it has 'other'",
    "[1]": r"must be a JSON object",
    '{"text": ' + "9" * 5000 + "}": r"cannot be read: Exceeds the limit",
    '{"text": "a"': r"is not JSON",
    '{"text": "\\ud800"}': r"lone surrogate",
    "[" * 100_000: r"nested too deeply|is not JSON",
}


@pytest.mark.parametrize("line", list(BAD))
def test_a_bad_row_is_named_with_file_and_line_or_passed_over(tmp_path: Path, line: str) -> None:
    file = tmp_path / "rows.jsonl"
    good = "".join(json.dumps({"text": row}) + "\n" for row in ROWS[:20])
    file.write_text(good + "\n" + line + "\n" + '{"text": ""}\n' + good)
    with pytest.raises(DataError, match=rf"rows\.jsonl:22: .*({BAD[line]})") as caught:
        prepared(tmp_path / "out", file)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"has no manifest\.json: it was not written by"):
        prepared_text(PreparedSpec(name="p", path=str(tmp_path / "out")))
    about = prepare(Corpus((str(file),), skip_bad=True), tmp_path / "skipped")
    assert (about["skipped"], about["documents"]) == (1, 40)


def test_what_is_no_utf8_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"one\ntwo\nthr\xffee\n" * 30)
    with pytest.raises(DataError, match=r"t\.txt:3: must be UTF-8 text, but byte 11 is 0xff"):
        prepared(tmp_path / "out", tmp_path / "t.txt")
    (tmp_path / "cut.txt").write_bytes(b"one\n" + "ü".encode()[:1])
    with pytest.raises(DataError, match=r"cut\.txt:2: must be UTF-8 text"):
        prepared(tmp_path / "out2", tmp_path / "cut.txt")


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    packed = gzip.compress(rows_file(tmp_path).read_bytes())
    (tmp_path / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "wrong.jsonl.gz").write_bytes(b"no gzip")
    (tmp_path / "empty.txt").write_bytes(b"")
    for name, message in {
        "cut.jsonl.gz": "cannot be read to its end: Compressed file ended",
        "wrong.jsonl.gz": "cannot be read to its end: Not a gzipped file",
        "empty.txt": "has no text in it",
        "none.txt": "no such file",
    }.items():
        with pytest.raises(DataError, match=message) as caught:
            prepared(tmp_path / f"out of {name}", tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="is not empty: name a new folder"):
        prepared(tmp_path, tmp_path / "rows.jsonl")


@pytest.mark.parametrize("package", ["zstandard", "pyarrow", "datasets"])
def test_a_missing_package_is_one_line(tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "find_spec", lambda name: None)
    name = {"zstandard": "a.jsonl.zst", "pyarrow": "a.parquet", "datasets": "hf:someone/some-texts"}[package]
    (tmp_path / name.replace("/", "-")).write_bytes(b"x")
    source = name if name.startswith("hf:") else str(tmp_path / name)
    with pytest.raises(
        DataError, match=rf'{name}: reading it needs the package {package}: pip install "cortexzoo\[corp'
    ):
        prepared(tmp_path / "out", source)


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "manifest"])
def test_a_damaged_folder_is_not_trained_on(tmp_path: Path, damage: str) -> None:
    prepared(tmp_path / "out", rows_file(tmp_path))
    file = tmp_path / "out" / ("manifest.json" if damage == "manifest" else "tokens.bin")
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-7] if damage != "flip" else bytes([content[0] ^ 1]) + content[1:])
    expected = {
        "cut": r"tokens\.bin: has \d+ bytes, \d+ were written", "flip": r"tokens\.bin: was changed",
        "gone": r"tokens\.bin: is missing", "manifest": r"manifest\.json: cannot be read",
    }  # fmt: skip
    with pytest.raises(DataError, match=expected[damage]):
        prepared_text(PreparedSpec(name="p", path=str(tmp_path / "out")))


def test_a_corpus_of_another_tokenizer_does_not_suit_a_base(tmp_path: Path) -> None:
    own = TokenizerVocabulary(trained_bpe(["quite other words"], 260, 1), "own")
    prepare(Corpus((str(rows_file(tmp_path)),)), tmp_path / "bytes")
    prepare(Corpus((str(tmp_path / "rows.jsonl"),)), tmp_path / "bpe", bpe_size=300)
    spec = PreparedSpec(name="p", path=str(tmp_path / "bpe"))
    with pytest.raises(DataError, match="is not the base's own tokenizer"):
        prepared_text(spec, lambda: own)
    with pytest.raises(DataError, match="was prepared with a tokenizer, and the base reads bytes"):
        prepared_text(spec, base_reads_bytes=True)
    with pytest.raises(DataError, match="was prepared as bytes, and the base has a tokenizer"):
        prepared_text(PreparedSpec(name="p", path=str(tmp_path / "bytes")), lambda: own)


def test_with_reset_each_sequence_is_of_one_document(tmp_path: Path) -> None:
    data = prepared(tmp_path / "out", rows_file(tmp_path), documents="reset")
    length = 24
    order = data.training_order(length, 0)
    assert isinstance(order, DocumentOrder)
    starts = order.starts(0, order.windows_per_epoch)
    tokens, scored = cut_windows(data.train, starts, length), data.scored("training", starts, length)
    assert scored is not None
    rows = sorted(
        (start, bytes(t[1:][s].tolist())) for start, t, s in zip(starts.tolist(), tokens, scored, strict=True)
    )
    first = int(data.documents["training"].size) if data.documents else 0
    whole = "".join(f"{row}\n" for row in ROWS[:first])
    expected = b"".join(f"{row}\n".encode()[1:] for row in ROWS[:first])
    assert b"".join(text for _, text in rows) == expected, "all but first tokens are targets, once each"
    assert len(data.train) == len(whole.encode())
    batches, masks = data.windows("validation", length, 4), data.scored_windows("validation", length, 4)
    assert masks is not None and len(masks) == len(batches)
    assert masks[0].shape == (4, length) and batches[1:][0].shape == (4, length + 1)


@given(st.integers(1, 3000), st.integers(0, 5), st.integers(0, 5))
def test_an_unlisted_order_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    assert sorted(permuted(np.arange(count), count, seed, epoch).tolist()) == list(range(count))


def test_orders_differ_between_epochs_and_seeds_and_follow_from_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cortexzoo.zoo.data.order.LISTED", 10)
    order = TrainingOrder(1000, 8, seed=3)
    whole = order.starts(0, 300).tolist()
    assert order.starts(100, 50).tolist() == whole[100:150]
    epoch = order.windows_per_epoch
    assert len(set(whole[:epoch])) == epoch
    assert whole[:epoch] != whole[epoch : 2 * epoch]
    assert TrainingOrder(1000, 8, seed=4).starts(0, 300).tolist() != whole
    assert all(0 <= start <= 1000 - 9 for start in whole)


def test_counting_agrees_with_a_text_in_memory(tmp_path: Path) -> None:
    data = prepared(tmp_path / "out", rows_file(tmp_path))
    memory = TextData(data.train[:], data.validation[:], data.test[:], "")
    assert data.reference_losses(32).ngram == pytest.approx(memory.reference_losses(32).ngram)
    assert data.counted_bytes is None
