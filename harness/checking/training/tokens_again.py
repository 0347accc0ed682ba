"""Tokens of a text that are known beforehand: tokenizers so simple that their tokens can be written down."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortexzoo.specs.data import PreparedSpec, TextFiles, TextSpec
from cortexzoo.specs.text_vocabulary import TrainedBPE
from cortexzoo.zoo.data.prepared import prepared_text
from cortexzoo.zoo.data.preparing import Corpus, prepare
from cortexzoo.zoo.data.text import Part, TextData
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary, pieces_of, trained_bpe
from cortexzoo.zoo.errors import DataError

NAMES: tuple[Part, ...] = ("training", "validation", "test")
MEGABYTE = 1 << 20
BLANK = "\u2581"
UNKNOWN, BEGINNING, STRANGE = "<unk>", "<s>", "\u00a7"
MANY = (1 << 16) + 40
"""Tokens of which the last ones need more than two bytes."""
LINES = (
    "",
    40 * " what a model reads",
    40 * "a model may find again ",
    "  \t",
    90 * "日本語",
    "мир 🙂",
    "x\u0301",
    "0",
)
WORDS = ("the", "memory", BLANK, 2 * BLANK, 3 * BLANK, "日本語", "\n")
SIZE = 300


def of_lines() -> str:
    """One token a line, its end included; the file requests a special token in front, short texts, and padding."""
    names = [UNKNOWN, BEGINNING, *(f"{line}\n" for line in LINES[::2])]
    names += [f"spare {number}" for number in range(MANY - len(names))]
    names += [f"{line}\n" for line in LINES[1::2]]
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    begins = {"SpecialToken": {"id": BEGINNING, "type_id": 0}}
    first, second = ({"Sequence": {"id": which, "type_id": 0}} for which in "AB")
    return _file(
        added_tokens=[{"id": number, "content": names[number], **special} for number in range(2)],
        pre_tokenizer={
            "type": "Split", "pattern": {"String": "\n"}, "behavior": "MergedWithPrevious", "invert": False
        },
        post_processor={
            "type": "TemplateProcessing", "single": [begins, first], "pair": [begins, first, second],
            "special_tokens": {BEGINNING: {"id": BEGINNING, "ids": [1], "tokens": [BEGINNING]}},
        },
        truncation={"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0},
        padding={"strategy": {"Fixed": 7}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                 "pad_type_id": 0, "pad_token": UNKNOWN},
        model={"type": "WordLevel", "vocab": {name: at for at, name in enumerate(names)}, "unk_token": UNKNOWN},
    )  # fmt: skip


def of_words() -> str:
    """SentencePiece's family without bytes: words, rows of blanks, and a token for all that is unknown."""
    blanks = {"type": "Metaspace", "replacement": BLANK, "split": False}
    return _file(
        pre_tokenizer={**blanks, "prepend_scheme": "never"},
        decoder={**blanks, "prepend_scheme": "always"},
        model={"type": "Unigram", "unk_id": 0, "byte_fallback": False,
               "vocab": [[UNKNOWN, 0.0], *([word, -1.0] for word in WORDS)]},
    )  # fmt: skip


def _file(**parts: Any) -> str:
    names = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    return json.dumps({"version": "1.0", **dict.fromkeys(names), "added_tokens": [], **parts})


def _lines(text: str, vocabulary: TokenizerVocabulary) -> list[int]:
    return [vocabulary.tokens[line] for line in re.findall("[^\n]*\n", text)]


def _words(text: str, vocabulary: TokenizerVocabulary) -> list[int]:
    found = re.findall(f"the|memory|{BLANK}{{1,3}}|日本語|\n", text.replace(" ", BLANK))
    return [vocabulary.tokens[word] for word in found]


def of_known_tokens(folder: Path) -> list[str]:
    """What of texts in such tokens is not as it was written down."""
    wrong, lines = [], of_lines()
    texts: Mapping[str, Sequence[str]] = {
        "lines": (LINES[1] + "\n", "".join(f"{LINES[at * at % len(LINES)]}\n" for at in range(90)), _long()),
        "words": ("the  memory 日本語\n\nthe   memory", "日本語 the" * 30),
    }
    for kind, file, written in (("lines", lines, _lines), ("words", of_words(), _words)):
        vocabulary = TokenizerVocabulary(file, kind)
        for text in texts[kind]:
            found, wanted = vocabulary.encode(text.encode()), written(text, vocabulary)
            if found.tolist() != wanted:
                wrong.append(f"{len(text)} characters of {kind} are {len(found)} tokens, not these {len(wanted)}")
            elif vocabulary.bytes_of(found).tobytes() != text.encode():
                wrong.append(f"the tokens of {kind} do not spell their text")
            few = text[:5000]
            wrong += _of_unknown(vocabulary, kind, few[: few.rfind("\n") + 1] or few)
        if vocabulary.decode([0]) != UNKNOWN:
            wrong.append(f"a special token of {kind} is shown as {vocabulary.decode([0])!r}")
    return wrong + _prepared(folder, lines, texts["lines"]) + _learned(texts["lines"][-1]) + _of_its_part(folder)


def _long() -> str:
    """More than a megabyte, of which no line ends where a megabyte does."""
    text = "".join(f"{LINES[at % len(LINES)]}\n" for at in range(len(LINES) * 9 + 3))
    whole = text * (MEGABYTE // len(text.encode()) + 2)
    while whole.encode()[MEGABYTE - 1] == ord("\n"):
        whole = f"{LINES[1]}\n{whole}"
    return whole


def _of_unknown(vocabulary: TokenizerVocabulary, kind: str, text: str) -> list[str]:
    """A character without a token is refused wherever it stands, and named; at an end the text may be cut in two."""
    wrong = []
    at = text.find("\n") + 1
    for where, changed in (
        ("begins", f"{STRANGE}\n{text}"), ("stands within", f"{text[:at]}{STRANGE}\n{text[at:]}"),
        ("ends", text + STRANGE),
    ):  # fmt: skip
        try:
            vocabulary.encode(changed.encode())
            wrong.append(f"a character that is no token of {kind} {where} a text, and is not refused")
        except DataError as problem:
            at_an_end = where != "stands within" or at in (0, len(text))
            if STRANGE not in str(problem) or ("cut into" in str(problem)) != at_an_end:
                wrong.append(f"a character that is no token of {kind} {where} a text, and this is said: {problem}")
    return wrong


def _prepared(folder: Path, lines: str, texts: Sequence[str]) -> list[str]:
    """Files in such tokens are read in blocks, written, and read back."""
    (folder / "lines.json").write_text(lines, encoding="utf-8")
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_bytes(text.encode())
    prepare(Corpus((str(folder / "?.txt"),)), folder / "lines", folder / "lines.json")
    data = prepared_text(PreparedSpec(name="prepared", path=str(folder / "lines")))
    assert isinstance(data.vocabulary, TokenizerVocabulary)
    found = np.concatenate([data.part(name)[:] for name in NAMES]).tolist()
    wanted = [number for text in texts for number in _lines(f"{text}\n", data.vocabulary)]
    return [] if found == wanted else [f"prepared lines are {len(found)} tokens, not these {len(wanted)}"]


def _of_its_part(folder: Path) -> list[str]:
    """A tokenizer of a text learns from its training part: from no text that is held out, and from nothing less."""
    first, second, third = (line * 9 + "\n" for line in ("a boat on the lake ", "WHAT NONE MAY SEE ", "XYZZY OF ALL "))
    file = folder / "parts.txt"
    file.write_text(first * 8 + second + third, encoding="utf-8")
    size = file.stat().st_size
    shares: dict[str, Any] = {"validation_fraction": len(second) / size, "test_fraction": len(third) / size}
    source, vocabulary = TextFiles(paths=(str(file),)), TrainedBPE(size=SIZE)
    data = TextData.from_spec(TextSpec(name="parts", source=source, vocabulary=vocabulary, **shares))
    spell = data.vocabulary.bytes_of
    learned = [spell(np.array([token])).tobytes() for token in range(data.vocabulary.size)]
    training, several = spell(data.train[:]).tobytes(), [token for token in learned if len(token) > 1]
    if not several:
        return ["a tokenizer learns nothing from the training part of a text"]
    strange = [token for token in several if token not in training]
    return [f"a tokenizer learns {strange[0]!r}, which is in no text to train on"] if strange else []


def _learned(long: str) -> list[str]:
    """A tokenizer that is trained is given the whole text, and knows bytes that it never saw."""
    wrong = [] if "".join(pieces_of(long.encode())) == long else ["a tokenizer does not learn from its whole text"]
    strange = "日本語 §\0 the\t\t\n  x".encode()
    own = TokenizerVocabulary(trained_bpe([LINES[1]], SIZE, 2), "trained on letters")
    if own.bytes_of(own.encode(strange)).tobytes() != strange:
        wrong.append("what a tokenizer never saw is not spelled by its tokens")
    return wrong
