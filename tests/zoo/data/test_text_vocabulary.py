"""Text and tokens: nothing is lost, any vocabulary splits and measures the same text, and misfits are one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from cortexzoo.specs.data import TextFiles, TextSpec
from cortexzoo.specs.text_vocabulary import BaseTokens, ByteTokens, TextVocabularySpec, TokenizerFile, TrainedBPE
from cortexzoo.zoo.cache import CACHE_VARIABLE
from cortexzoo.zoo.data import text_vocabulary as module
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.data.text_vocabulary import ByteVocabulary, TokenizerVocabulary, trained_bpe
from cortexzoo.zoo.data.vocabulary_source import text_vocabulary
from cortexzoo.zoo.errors import DataError

PROSE = "".join(
    f"Der Fluß {n} fließt langsam an {n * n} Häusern vorbei.\nNobody counts the {n} boats, naïve or not.\n\n"
    for n in range(200)
)


@pytest.fixture(scope="module")
def bpe() -> TokenizerVocabulary:
    return TokenizerVocabulary(trained_bpe([PROSE], 400, 2), "bpe")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def pieces_tokenizer(**model: object) -> str:
    """In the manner of SentencePiece: blanks are part of words, single bytes where no word fits."""
    vocabulary = {"<unk>": 0, **{f"<0x{byte:02X}>": byte + 1 for byte in range(256)}}
    for word in ("\u2581", "t", "h", "e", "th", "the", "\u2581the"):
        vocabulary[word] = len(vocabulary)
    merges = [("t", "h"), ("th", "e"), ("\u2581", "the")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", **({"byte_fallback": True} | model)))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    return str(tokenizer.to_str())


@given(st.text())
def test_byte_level_tokens_stand_for_exactly_the_bytes_of_the_text(bpe: TokenizerVocabulary, text: str) -> None:
    tokens = bpe.encode(text.encode())
    assert bpe.bytes_of(tokens).tobytes() == text.encode()
    assert bpe.lengths[tokens].sum() == len(text.encode())
    assert bpe.decode(tokens.tolist()) == text


def test_a_tokenizer_in_the_manner_of_sentencepiece_is_spelled_out_too() -> None:
    vocabulary = TokenizerVocabulary(pieces_tokenizer(), "pieces")
    text = "the the café"
    tokens = vocabulary.encode(text.encode())
    assert vocabulary.bytes_of(tokens).tobytes() == f" {text}".encode(), "it puts a blank before the text"
    assert len(tokens) < len(text)


def test_a_long_text_is_read_in_pieces_that_end_with_a_line(
    bpe: TokenizerVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = bpe.encode(PROSE.encode())
    monkeypatch.setattr(module, "PIECE", 300)
    assert bpe.encode(PROSE.encode()).tolist() == whole.tolist()
    monkeypatch.setattr(module, "PIECE", 5)
    assert bpe.bytes_of(bpe.encode("äöüäöü".encode())).tobytes().decode() == "äöüäöü"


def test_special_tokens_stand_for_no_byte(bpe: TokenizerVocabulary) -> None:
    tokenizer = Tokenizer.from_str(bpe.file_content())
    tokenizer.add_special_tokens(["<end>"])
    vocabulary = TokenizerVocabulary(tokenizer.to_str(), "with an end")
    tokens = vocabulary.encode(b"boats<end>boats")
    assert vocabulary.bytes_of(tokens).tobytes() == b"boatsboats"


def test_a_character_without_a_token_is_named() -> None:
    vocabulary = TokenizerVocabulary(pieces_tokenizer(byte_fallback=False), "pieces")
    with pytest.raises(DataError, match="pieces: has no token for 'x': use a tokenizer that covers it"):
        vocabulary.encode(b"the x the")
    with pytest.raises(
        DataError, match="for 'x', where the text is cut into its parts, which may be within a word: use"
    ):
        vocabulary.encode(b"the x")


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"model": 5}', "[" * 5000])
def test_what_is_no_tokenizer_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(DataError, match=r"t\.json: is no tokenizer\.json: ") as caught:
        TokenizerVocabulary.of_file(tmp_path / "t.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"none\.json: cannot be read: No such file"):
        TokenizerVocabulary.of_file(tmp_path / "none.json")


def data_of(folder: Path, vocabulary: TextVocabularySpec, text: str = PROSE) -> TextData:
    (folder / "text.txt").write_text(text, encoding="utf-8")
    return TextData.from_spec(TextSpec(name="t", source=TextFiles(paths=("text.txt",)), vocabulary=vocabulary), folder)


def test_every_vocabulary_has_the_same_parts_and_the_same_counting_models(
    tmp_path: Path, bpe: TokenizerVocabulary
) -> None:
    (tmp_path / "bpe.json").write_text(bpe.file_content())
    plain = data_of(tmp_path, ByteTokens())
    for vocabulary in (TokenizerFile(path="bpe.json"), TrainedBPE(size=300)):
        data = data_of(tmp_path, vocabulary)
        assert data.sha256 == plain.sha256
        for part in ("training", "validation", "test"):
            spelled = data.vocabulary.bytes_of(data.part(part)).tobytes()
            assert spelled == plain.part(part).tobytes()
        assert data.bytes_per_token > 1.05
        # Windows of everything score all bytes but those of the first and of what is left at the end.
        counted = data.reference_losses(len(data.validation) - 1)
        assert counted.ngram == pytest.approx(plain.reference_losses(len(plain.validation) - 1).ngram, rel=0.01)


def test_a_tokenizer_that_changes_the_text_counts_bytes_in_proportion(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_str(trained_bpe([PROSE], 300, 2))
    tokenizer.normalizer = normalizers.Replace("Häuser", "H")
    (tmp_path / "t.json").write_text(tokenizer.to_str())
    data = data_of(tmp_path, TokenizerFile(path="t.json"))
    for part in ("training", "validation", "test"):
        lengths = data.token_bytes(part)
        assert lengths is not None and data.byte_counts is not None
        assert float(lengths[data.part(part).astype(np.int64)].sum()) == pytest.approx(data.byte_counts[part])


def test_a_bpe_is_trained_on_the_training_part_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "abc " * 900 + "xyzw" * 100
    first = data_of(tmp_path, TrainedBPE(size=300), text)
    assert not any("xy" in token for token in first.vocabulary.tokens)  # type: ignore[attr-defined]
    monkeypatch.setattr("cortexzoo.zoo.data.vocabulary_source.trained_bpe", lambda *_: pytest.fail("from the cache"))
    assert data_of(tmp_path, TrainedBPE(size=300), text).vocabulary.sha256 == first.vocabulary.sha256
    (file,) = (tmp_path / "cache" / "tokenizers").glob("*.json")
    file.write_text(file.read_text()[:-9])
    with pytest.raises(DataError, match="is damaged: delete it, and it is trained again"):
        data_of(tmp_path, TrainedBPE(size=300), text)


def test_a_base_reads_no_tokens_but_its_own(tmp_path: Path, bpe: TokenizerVocabulary) -> None:
    (tmp_path / "bpe.json").write_text(bpe.file_content())
    other = json.loads(bpe.file_content())
    numbers = other["model"]["vocab"]
    numbers["a"], numbers["b"] = numbers["b"], numbers["a"]
    swapped = TokenizerVocabulary(json.dumps(other), "the base's")
    file = TokenizerFile(path="bpe.json")
    assert text_vocabulary(BaseTokens(), b"", lambda: swapped) is swapped
    assert text_vocabulary(file, b"", lambda: bpe, tmp_path).sha256 == bpe.sha256
    with pytest.raises(DataError, match=r"bpe.json: is not the base's own tokenizer: .* 2 numbered differently"):
        text_vocabulary(file, b"", lambda: swapped, tmp_path)
    with pytest.raises(DataError, match=r"data\.vocabulary\.kind must be base, got bytes"):
        text_vocabulary(ByteTokens(), b"", lambda: bpe)
    with pytest.raises(DataError, match="kind base: the base has no tokenizer"):
        text_vocabulary(BaseTokens(), b"")
    assert isinstance(text_vocabulary(ByteTokens(), b""), ByteVocabulary)


def test_a_character_that_unigram_does_not_have_is_refused() -> None:
    vocabulary = [["<unk>", 0.0], ["the", -1.0], ["\u2581", -1.0]]
    described = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": False},
        "post_processor": None, "decoder": None,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": vocabulary, "byte_fallback": False},
    }  # fmt: skip
    unigram = TokenizerVocabulary(json.dumps(described), "unigram")
    assert unigram.encode(b"the the").tolist() == [1, 2, 1]
    with pytest.raises(DataError, match="unigram: has no token for '日'"):
        unigram.encode("the 日 the".encode())


def test_a_tokenizer_with_more_tokens_than_logits_is_refused(tmp_path: Path) -> None:
    data = data_of(tmp_path, TrainedBPE(size=300))
    with pytest.raises(
        DataError, match="vocab_size must be at least 300, as many tokens as the tokenizer has, got 299"
    ):
        data.require(8, 299)
    with pytest.raises(DataError, match="the training part has 7 tokens"):
        data_of(tmp_path, TrainedBPE(size=300), "abcdefghi").require(8, 300)


def test_pre_tokenizer_alphabet_agrees_with_ours() -> None:
    assert sorted(module.BYTE_OF) == sorted(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(module.BYTE_OF.values()) == list(range(256))
