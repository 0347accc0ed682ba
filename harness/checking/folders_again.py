"""Prepared folders: what is left out of `prepared_again`, as other separators, damage, other tokens, and mixtures."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken, wrong_ends
from cortexzoo.specs.data import MixtureSpec, PreparedPart, PreparedSpec, TextFiles, TextPart
from cortexzoo.specs.text_vocabulary import ByteTokens, TokenizerFile
from cortexzoo.zoo.data import ngrams, reference, text
from cortexzoo.zoo.data.mixture import mixed_text
from cortexzoo.zoo.data.prepared import prepared_text
from cortexzoo.zoo.data.preparing import Corpus, prepare
from cortexzoo.zoo.data.text import Part, TextData
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary, trained_bpe

NAMES: tuple[Part, ...] = ("training", "validation", "test")
DROPPED = "x\u0301"
"""A tokenizer leaves it out, so that its tokens spell less than the text has."""
SOME, CHUNK = 700, 97
"""Tokens that counting is left with, and bytes that it counts at once."""
SIZE = 300
HALVES: dict[str, Any] = {"validation_fraction": 0.2, "test_fraction": 0.15}


def of_folders(folder: Path, content: bytes) -> list[str]:
    """What of small corpora is not as it was asked for, and what is wrong with a folder and is not refused."""
    (folder / "corpora").mkdir()
    wrong = [*_as_asked(folder / "corpora"), *_shortened(folder / "corpora", content.decode())]
    return wrong + wrong_ends(_refused(folder / "corpora", content)) + _mixed(folder / "corpora", content)


def _rows(file: Path, *texts: str, field: str = "text", bad: bool = False) -> Path:
    lines = [json.dumps({field: one, "more": 1}) for one in texts]
    file.write_text("\n".join([*lines[:1], *["no row"] * bad, *lines[1:]]) + "\n", encoding="utf-8")
    return file


def _opened(folder: Path, **changes: Any) -> TextData:
    return prepared_text(PreparedSpec(name="prepared", path=str(folder), **changes))


def _bytes_of(data: TextData) -> bytes:
    return b"".join(data.vocabulary.bytes_of(data.part(name)[:]).tobytes() for name in NAMES)


def _as_asked(folder: Path) -> Iterator[str]:
    """Field, separator, rows that cannot be used, and documents that run on or do not."""
    texts = ("what a model reads", "日本語", "x" * 40)
    rows = _rows(folder / "body.jsonl", *texts, field="body", bad=True)
    corpus = Corpus((str(rows),), field="body", separator=b"\n--\n", skip_bad=True)
    prepare(corpus, folder / "body")
    if _bytes_of(data := _opened(folder / "body")) != b"".join(one.encode() + b"\n--\n" for one in texts):
        yield "a corpus is not the texts of its field, each with its separator"
    if data.documents is not None or _opened(folder / "body", documents="reset").documents is None:
        yield "documents do not run on, or do so where they should not"
    shares = Corpus((str(_rows(folder / "few.jsonl", "ab" * 450, "cd" * 150)),), separator=b"", validation_fraction=0.5)
    prepare(replace(shares, test_fraction=0.495), folder / "few")
    if (found := [len(_opened(folder / "few").part(name)) for name in NAMES]) != [6, 600, 594]:
        yield f"of 1,200 tokens the parts have {found}, where half a hundredth is to train on"
    few = Corpus((str(_rows(folder / "first.jsonl", "a", "cd" * 599 + "e")),), separator=b"", validation_fraction=0.5)
    prepare(replace(few, test_fraction=0.495), folder / "first")
    if (found := [len(_opened(folder / "first").part(name)) for name in NAMES]) != [1, 605, 594]:
        yield f"of 1,200 tokens, the first a document of its own, the parts have {found}"
    sums = set()
    for name, parts in (("one", ("ab" * 20, "cd" * 20)), ("two", ("ab" * 19, "ab" + "cd" * 20))):
        source = _rows(folder / f"{name}.jsonl", *parts)
        prepare(Corpus((str(source),), separator=b""), folder / name)
        sums.add(_opened(folder / name).sha256)
    if len(sums) < 2:
        yield "corpora whose documents begin elsewhere have one sha256"


def _shortened(folder: Path, content: str) -> Iterator[str]:
    """The bytes of each part of a text that its tokens shorten: within a document in the document's proportion."""
    described = json.loads(trained_bpe([content], SIZE, 2))
    described["normalizer"] = {"type": "Replace", "pattern": {"String": DROPPED}, "content": ""}
    file = folder / "shortens.json"
    file.write_text(json.dumps(described), encoding="utf-8")
    texts = (f"{content[:400]}{DROPPED * 90}", content + DROPPED * 500)
    prepare(Corpus((str(_rows(folder / "long.jsonl", *texts)),), separator=b"\n"), folder / "long", file)
    data = _opened(folder / "long")
    assert data.byte_counts is not None and data.spelled is not None
    first, second = (f"{one}\n" for one in texts)
    kept = len(second.replace(DROPPED, "").encode())
    end = sum(len(one.replace(DROPPED, "").encode()) for one in (first, second))
    at = 0
    before = 0
    for name in NAMES:
        own = sum(len(data.vocabulary.bytes_of(np.array([token]))) for token in data.part(name)[:].tolist())
        at += own
        within = at - (end - kept)  # every part ends in the second document
        until = len(first.encode()) + round(within * len(second.encode()) / kept)
        if (data.byte_counts[name], data.spelled[name]) != (until - before, own):
            yield (
                f"the {name} part has {data.byte_counts[name]} bytes, of which {data.spelled[name]} are spelled, "
                f"and should have {until - before} and {own}"
            )
        before = until


def _refused(folder: Path, content: bytes) -> Iterator[Attempt]:
    """Damage, folders that are not empty, rows that cannot be used, texts of other tokens than the base's."""
    own, other = (TokenizerVocabulary(trained_bpe([one], SIZE, 2), "own") for one in (content.decode(), "abab" * 99))
    file = folder / "own.json"
    file.write_text(own.file_content(), encoding="utf-8")
    rows = _rows(folder / "rows.jsonl", content.decode()[:900], "the end")
    as_bytes, in_tokens = folder / "in-bytes", folder / "in-tokens"
    prepare(Corpus((str(rows),)), as_bytes)
    prepare(Corpus((str(rows),)), in_tokens, file)
    yield fits("a prepared folder", partial(_opened, in_tokens))
    for name in ("manifest.json", "tokens.bin", "documents.bin", "tokenizer.json"):
        for what, damage in DAMAGE.items():
            if (name, what) != ("manifest.json", "changed"):
                yield mistaken(f"a prepared folder whose {name} is {what}", partial(_damaged, in_tokens, name, damage))
    yield mistaken(
        "a prepared folder of another format",
        partial(_damaged, in_tokens, "manifest.json", lambda raw: raw.replace(b'"cortexzoo-tokens-', b'"tokens-')),
    )
    yield mistaken("a folder that has been prepared", partial(prepare, Corpus((str(rows),)), as_bytes))
    (folder / "full").mkdir()
    (folder / "full" / "kept.txt").write_text("kept", encoding="utf-8")
    yield mistaken("a folder that has something else", partial(prepare, Corpus((str(rows),)), folder / "full"))
    bad = _rows(folder / "bad.jsonl", "a text", "another", bad=True)
    yield mistaken("a row that cannot be used", partial(prepare, Corpus((str(bad),)), folder / "bad"))
    yield mistaken("a field that no row has", partial(prepare, Corpus((str(rows),), field="body"), folder / "none"))
    short = _rows(folder / "short.jsonl", "a")
    yield mistaken("two tokens", partial(prepare, Corpus((str(short),)), folder / "short"))
    for what, prepared, base, reads_bytes, suits in (
        ("bytes for a base that reads bytes", as_bytes, None, True, True),
        ("tokens for a base that reads bytes", in_tokens, None, True, False),
        ("tokens for a base without a tokenizer", in_tokens, None, False, True),
        ("tokens for the base whose they are", in_tokens, own, False, True),
        ("tokens for a base with others", in_tokens, other, False, False),
        ("bytes for a base with a tokenizer", as_bytes, own, False, False),
    ):
        spec = PreparedSpec(name="prepared", path=str(prepared))
        of_base = partial(_same, base)
        yield Attempt(f"a folder of {what}", partial(prepared_text, spec, of_base, reads_bytes), suits)
        for parts, fitting in (
            ((prepared, prepared), True),
            ((as_bytes, in_tokens), False),
            ((in_tokens, as_bytes), False),
        ):
            mixture = _mixture(
                *parts, vocabulary=ByteTokens() if parts[0] == as_bytes else TokenizerFile(path=str(file))
            )
            act = partial(mixed_text, mixture, of_base, reads_bytes)
            yield Attempt(f"a mixture of {what}{' and others' * (not fitting)}", act, suits and fitting)


def _same(base: TokenizerVocabulary | None) -> TokenizerVocabulary | None:
    return base


def _changed(raw: bytes) -> bytes:
    return raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:]


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "changed": _changed, "cut": lambda raw: raw[:-2], "longer": lambda raw: raw + b"}", "gone": lambda _: None
}  # fmt: skip


def _damaged(folder: Path, name: str, damage: Callable[[bytes], bytes | None]) -> None:
    """Opens it with one file damaged, which is whole again afterwards."""
    file = folder / name
    raw = file.read_bytes()
    left = damage(raw)
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    try:
        _opened(folder)
    finally:
        file.write_bytes(raw)


def _mixture(*folders: Path, vocabulary: Any, more: tuple[TextPart, ...] = ()) -> MixtureSpec:
    prepared = [PreparedPart(weight=3 - at, path=str(one)) for at, one in enumerate(folders)]
    return MixtureSpec(name="mixture", parts=(*prepared, *more), vocabulary=vocabulary, **HALVES)


def _mixed(folder: Path, content: bytes) -> list[str]:
    """A prepared folder, a text and the folder again, in one mixture."""
    wrong = []
    (folder / "more.txt").write_bytes(content)
    more = TextPart(weight=5, source=TextFiles(paths=(str(folder / "more.txt"),)))
    of_file = TokenizerFile(path=str(folder / "own.json"))
    for one, vocabulary in ((folder / "in-bytes", ByteTokens()), (folder / "in-tokens", of_file)):
        alone = _opened(one)
        spec = _mixture(one, one, vocabulary=vocabulary, more=(more,))
        mixed = mixed_text(spec)
        if mixed.weights != (3, 2, 5):
            wrong.append(f"the weights of a mixture are {mixed.weights}, not those of its parts")
        for name in NAMES:
            own = alone.part(name)[:]
            found, spell = mixed.part(name)[:], mixed.vocabulary.bytes_of
            begins = [] if mixed.documents is None else mixed.documents[name].tolist()
            if not np.array_equal(found[: 2 * len(own)], np.concatenate([own, own])):
                wrong.append(f"the {name} part of a mixture does not begin with those of its prepared parts")
            if begins != [0, len(own), 2 * len(own)]:
                wrong.append(f"texts of the {name} part of a mixture begin at {begins}")
            if content.find(spell(found[2 * len(own) :]).tobytes()) < 0:
                wrong.append(f"the {name} part of a mixture does not end with that of its text")
            size = len(spell(found))
            counts = (mixed.byte_counts, mixed.spelled)
            if any((None if each is None else each[name]) != (size if alone.byte_counts else None) for each in counts):
                wrong.append(f"the {name} part of a mixture has {size} bytes, counted {[*counts]}")
    return wrong


def counted_in_part(data: TextData, losses: Callable[[TextData, bytes], list[str]]) -> list[str]:
    """Of a long corpus the beginning is counted, and that in several pieces: here a short one, in short pieces.

    `losses` compares the losses of counting with those after some training bytes.
    """
    with (
        patch.object(text, "COUNTED", SOME),
        patch.object(ngrams, "CHUNK", CHUNK),
        patch.object(ngrams, "SHORT", 0),
        patch.object(reference, "CHUNK", CHUNK),
    ):
        train = data.vocabulary.bytes_of(data.train[:SOME]).tobytes()
        wrong = [f"counted in part: {flaw}" for flaw in losses(data, train)]
        counted = len(train) if len(data.train) > SOME else None
        if data.counted_bytes != counted:
            wrong.append(f"{data.counted_bytes} bytes are said to be counted, {counted} are (None: all)")
        if not np.array_equal(data.held_out_tokens(), data.validation[:SOME]):
            wrong.append("what is held out is not its beginning, where a part alone is read")
    return wrong if data.counted_bytes is None else [*wrong, "of a short corpus not all is counted"]
