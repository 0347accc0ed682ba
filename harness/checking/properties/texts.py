"""Texts in tokens: three parts that are the text, tokens that spell it, and losses by the byte."""

import json
import math
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cortexzoo.harness.checking.folders_again import counted_in_part, of_folders
from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number, text
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.piece_tokenizer import tokenizer_of_pieces
from cortexzoo.harness.checking.training.prepared_again import learned_of_training, of_long_files, prepared_again
from cortexzoo.harness.checking.training.reference_counting import losses_of_counting
from cortexzoo.harness.checking.training.sources_again import of_sources
from cortexzoo.harness.checking.training.tokens_again import of_known_tokens
from cortexzoo.specs.data import MixtureSpec, TextFiles, TextPart, TextSpec
from cortexzoo.specs.text_vocabulary import ByteTokens, TextVocabularySpec, TokenizerFile
from cortexzoo.zoo.data.mixture import ChainedTokens, mixed_text
from cortexzoo.zoo.data.text import Part, TextData
from cortexzoo.zoo.data.text_vocabulary import TextVocabulary, TokenizerVocabulary, trained_bpe
from cortexzoo.zoo.data.vocabulary_source import require_same
from cortexzoo.zoo.errors import DataError

WORDS = (
    "the", "memory", "of", "a", "model", "reads", "und", "Äpfel", "naïve", "日本語", "мир", "🙂", "\t", "x\u0301", "0",
    "\r",
)  # fmt: skip
KINDS = (
    "bytes", "byte-level", "pieces", "mixture", "mixture of bytes", "chained", "prepared", "prepared of bytes",
)  # fmt: skip
SIZE, FREQUENCY, LENGTH, SOME = 300, 3, 6, 4
BYTES, ENDLESS = 256, 100_000
VALIDATION, TEST = 0.2, 0.15
NAMES: tuple[Part, ...] = ("training", "validation", "test")
LEAST = 1e-9
MEGABYTE = 1 << 20


def text_cases(_: Subject) -> Iterable[Case]:
    """Bytes, and tokens of both families of tokenizers; mixtures; read in pieces; chained texts; prepared corpora.

    Corpora are prepared from files of a line or of many, of files that are read in several blocks, and with a tokenizer
    that learns from them. Then tokens that can be written down, several files, almanacs, and damaged folders.
    """
    for kind in (*KINDS, "long", "long files", "learned", "known tokens", "sources", "folders"):
        yield {"kind": kind, "words": 900, "seed": 0}


def text_strategy(_: Subject) -> st.SearchStrategy[Case]:
    """Any words; those that are read in pieces are tried once."""
    return st.fixed_dictionaries(
        {
            "kind": st.sampled_from(KINDS),
            "words": st.integers(300, 1500),
            "seed": st.integers(0, 99),
        }
    )


def text_is_kept_whole(_: Subject, case: Case) -> Finding:
    """A text of many alphabets, read as an experiment's data is."""
    kind, words, seed = text(case, "kind"), number(case, "words"), number(case, "seed")
    with tempfile.TemporaryDirectory() as name:
        wrong = _judged(kind, Path(name), _text_of(words, seed), _text_of(words // 2, seed + 100))
    if not wrong:
        return Finding(0, "parts, tokens and counts are those of the text", case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0]})


def _text_of(words: int, seed: int) -> bytes:
    drawn = random.Random(seed)
    return " ".join(drawn.choice(WORDS) + drawn.choice(("", "", "\n", ".")) for _ in range(words)).encode()


def _judged(kind: str, folder: Path, content: bytes, other: bytes) -> list[str]:
    once: Mapping[str, Callable[[], list[str]]] = {
        "chained": lambda: _chained(content),
        "long": lambda: _spelled(TokenizerVocabulary(_byte_level(content), "of the harness"), _long(content)),
        "long files": lambda: of_long_files(folder, content, (VALIDATION, TEST)),
        "learned": lambda: learned_of_training(folder, content, SIZE, (VALIDATION, TEST)),
        "known tokens": lambda: of_known_tokens(folder),
        "sources": lambda: of_sources(folder),
        "folders": lambda: of_folders(folder, content),
    }
    if kind in once:
        return once[kind]()
    if kind.startswith("prepared"):
        tokenizer = None if kind == "prepared of bytes" else _byte_level(content)
        data, wrong = prepared_again(folder, content, tokenizer, (VALIDATION, TEST))
        return wrong + _counts(data) + _losses(data) + counted_in_part(data, _losses)
    texts = [content, other] if kind.startswith("mixture") else [content]
    data = _data(kind, folder, texts)
    wrong = _cut(data, texts) + _counts(data) + _losses(data) + _vocabulary(data.vocabulary, kind, content)
    for whole in texts:
        wrong += _spelled(data.vocabulary, whole)
    if len(texts) > 1 and _data(kind, folder, texts[::-1]).sha256 == data.sha256:
        wrong.append("a mixture in another order has the same sha256")
    return wrong


def _data(kind: str, folder: Path, texts: Sequence[bytes]) -> TextData:
    """As an experiment reads it, from files."""
    vocabulary: TextVocabularySpec = ByteTokens()
    if "bytes" not in kind:
        file = folder / "tokenizer.json"
        file.write_text(tokenizer_of_pieces(texts[0]) if kind == "pieces" else _byte_level(texts[0]), encoding="utf-8")
        # A text's own path is relative to the folder, a mixture's are not by then.
        vocabulary = TokenizerFile(path=file.name if len(texts) == 1 else str(file))
    sources = []
    for name, content in zip(("one.txt", "other.txt"), texts, strict=False):
        (folder / name).write_bytes(content)
        sources.append(TextFiles(paths=(str(folder / name),)))
    shares: dict[str, Any] = {
        "name": kind.replace(" ", "-"), "vocabulary": vocabulary, "validation_fraction": VALIDATION,
        "test_fraction": TEST,
    }  # fmt: skip
    if len(texts) > 1:
        parts = tuple(TextPart(weight=weight, source=one) for weight, one in zip((0.7, 0.3), sources, strict=True))
        return mixed_text(MixtureSpec(parts=parts, **shares))
    return TextData.from_spec(TextSpec(source=sources[0], **shares), folder)


def _bytes_by_token(data: TextData, part: Part) -> list[bytes]:
    tokens = data.part(part)[:]
    return [data.vocabulary.bytes_of(tokens[place : place + 1]).tobytes() for place in range(len(tokens))]


def _cut(data: TextData, texts: Sequence[bytes]) -> list[str]:
    """Every text is its three parts one after the other, of the sizes in the spec, none cut within a character."""
    spelled = {name: b"".join(_bytes_by_token(data, name)) for name in NAMES}
    wanted = dict.fromkeys(NAMES, b"")
    in_bytes = data.byte_counts is None
    for whole in texts:
        places = [int(len(whole) * (1 - (VALIDATION + TEST))), int(len(whole) * (1 - TEST))]
        if not in_bytes or len(texts) > 1:
            places = [_whole_character(whole, place) for place in places]
        for name, begin, end in zip(NAMES, [0, *places], [*places, len(whole)], strict=True):
            wanted[name] += whole[begin:end]
    wrong = [f"the {name} part is not the text's" for name in NAMES if spelled[name] != wanted[name]]
    if data.documents is not None:
        begins = data.documents["training"].tolist()
        firsts = [len(b"".join(_bytes_by_token(data, "training")[:begin])) for begin in begins]
        place = _whole_character(texts[0], int(len(texts[0]) * (1 - (VALIDATION + TEST))))
        if firsts != [0, place]:
            wrong.append(f"the texts of a mixture begin at bytes {firsts}, should be {[0, place]}")
    return wrong


def _whole_character(whole: bytes, place: int) -> int:
    while True:
        with suppress(UnicodeDecodeError):
            whole[place:].decode()
            return place
        place += 1


def _counts(data: TextData) -> list[str]:
    """Bytes of each part by its tokens, and none for those of bytes."""
    if data.byte_counts is None:
        counts_as_one = data.bytes_per_token == 1 and data.token_bytes("validation") is None
        return [] if counts_as_one else ["a byte does not count as one"]
    wrong = []
    for name in NAMES:
        size = sum(map(len, _bytes_by_token(data, name)))
        weights = data.token_bytes(name)
        summed = math.nan if weights is None else float(weights.numpy()[data.part(name)[:]].sum())
        if data.byte_counts[name] != size or not abs(summed - size) <= LEAST * size:
            wrong.append(f"the {name} part has {size} bytes, counted {data.byte_counts[name]}, weighed {summed}")
    size = sum(map(len, _bytes_by_token(data, "training")))
    if not abs(data.bytes_per_token - size / len(data.train)) <= LEAST:
        wrong.append(f"a token of the training part has {data.bytes_per_token} bytes")
    return wrong


def _losses(data: TextData, counted: bytes | None = None) -> list[str]:
    """What counting these bytes, or all that train, reaches on the targets of all windows, and of some."""
    train, wrong = b"".join(_bytes_by_token(data, "training")) if counted is None else counted, list[str]()
    for part in ("validation", "test"):
        tokens = _bytes_by_token(data, part)
        begins = np.cumsum([0, *map(len, tokens)]).tolist()
        for some in (None, SOME):
            places = []
            for start, count in _windows(data, part, some):
                places += list(range(begins[start + 1], begins[start + 1 + count]))
            wanted = losses_of_counting(train, b"".join(tokens), places)
            found = data.reference_losses(LENGTH, some, part)
            got = {"unigram_loss": found.unigram, "bigram_loss": found.bigram, "ngram_loss": found.ngram}
            wrong += [
                f"{name} of the {part} part is {got[name]:.6f}, counted again {value:.6f}"
                for name, value in wanted.items()
                if not abs(got[name] - value) <= 1e-6 * value  # a loss that is NaN is none
            ]
    return wrong


def _windows(data: TextData, part: Any, some: int | None) -> list[tuple[int, int]]:
    """Where windows begin, and how many targets of each are of its own text."""
    length = len(data.part(part))
    begins = [0] if data.documents is None else data.documents[part].tolist()
    ends = [*begins[1:], length]
    windows = []
    for begin, end in zip(begins, ends, strict=True):
        for start in range(begin, end - 1, LENGTH):
            if data.documents is None and start + LENGTH > end - 1:
                break
            windows.append((start, min(LENGTH, end - 1 - start)))
    return windows if some is None else [windows[int((i + 0.5) * len(windows) / some)] for i in range(some)]


def _spelled(vocabulary: TextVocabulary, content: bytes) -> list[str]:
    """Its tokens spell the text."""
    tokens = vocabulary.encode(content)
    wrong = [] if vocabulary.bytes_of(tokens).tobytes() == content else ["the tokens of a text do not spell it"]
    if len(tokens) and int(tokens.max()) >= vocabulary.size:
        wrong.append("a token has no logit")
    return wrong


def _vocabulary(vocabulary: TextVocabulary, kind: str, content: bytes) -> list[str]:
    """Lengths, size and names of single tokens; and which tokenizers are the same."""
    lengths = [len(vocabulary.bytes_of(np.array([token]))) for token in range(vocabulary.size)]
    wrong = [] if lengths == vocabulary.lengths.tolist() else ["a token's length is not that of its bytes"]
    if vocabulary.needed != 1 + max(token for token, length in enumerate(lengths) if length):
        wrong.append(f"{vocabulary.needed} logits are said to be needed, which is not the last token with bytes")
    if not isinstance(vocabulary, TokenizerVocabulary):
        return wrong
    described = json.loads(vocabulary.file_content())
    for added in described["added_tokens"]:
        spelled = "" if added["special"] else added["content"]
        if vocabulary.bytes_of(np.array([added["id"]])).tobytes() != spelled.encode():
            wrong.append(f"the added token {added['content']} does not stand for {spelled!r}")
    tokens: Mapping[str, int] = vocabulary.tokens
    if kind != "pieces":
        if len(tokens) != SIZE:
            wrong.append(f"a tokenizer of {SIZE} tokens has {len(tokens)}")
        every = TokenizerVocabulary(trained_bpe([content.decode()], ENDLESS, FREQUENCY), "every")
        spelled = [every.bytes_of(np.array([token])).tobytes() for token in range(BYTES, every.size)]
        if rare := sum(content.count(token) < FREQUENCY for token in spelled):
            wrong.append(f"{rare} tokens occur less often than min_frequency")
    require_same(vocabulary, TokenizerVocabulary(json.dumps(described), "again"), "itself")
    first, second = sorted(tokens, key=lambda token: tokens[token])[-2:]
    described["model"]["vocab"] |= {first: tokens[second], second: tokens[first]}
    with suppress(DataError):
        require_same(vocabulary, TokenizerVocabulary(json.dumps(described), "numbered otherwise"), "itself")
        wrong.append("a tokenizer that is numbered otherwise passes for the same")
    return wrong


def _byte_level(content: bytes) -> str:
    return trained_bpe([content.decode()], SIZE, FREQUENCY)


def _long(content: bytes) -> bytes:
    """More than a megabyte without a line break, at whose end a character is not yet complete."""
    line = content.replace(b"\n", b" ")
    whole = line * (MEGABYTE // len(line) + 2)
    while whole[MEGABYTE] & 0xC0 != 0x80:
        whole = b"a" + whole
    return whole + b"\n" + content


def _chained(content: bytes) -> list[str]:
    """Several texts as one, by slices and by places, against one array."""
    whole = np.frombuffer(content, dtype=np.uint8)
    cuts = [0, 5, 5, 40, len(whole)]
    chained = ChainedTokens([whole[begin:end] for begin, end in pairwise(cuts)])
    wrong = [] if len(chained) == len(whole) else [f"chained texts have {len(chained)} of {len(whole)} tokens"]
    for begin, end in ((0, len(whole)), (0, 5), (5, 40), (3, 41), (4, 5), (5, 6), (40, 40), (39, 41), (-1, None)):
        if not np.array_equal(chained[begin:end], whole[begin:end]):
            wrong.append(f"chained texts differ from {begin} to {end}")
    places = np.array([[0, 4, 5], [39, 40, len(whole) - 1]])
    if not np.array_equal(chained[places], whole[places]) or chained.largest != whole.max():
        wrong.append("chained texts differ by places")
    return wrong


TEXTS = (Property("text_is_kept_whole", text_is_kept_whole, text_cases, strategy=text_strategy, cost=5),)
