"""A corpus that is prepared and opened again, against its documents as they were written."""

import gzip
import json
import random
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from cortexzoo.specs.data import PreparedSpec
from cortexzoo.zoo.data.order import cut_windows
from cortexzoo.zoo.data.prepared import prepared_text
from cortexzoo.zoo.data.preparing import Corpus, prepare
from cortexzoo.zoo.data.text import Part, TextData
from cortexzoo.zoo.errors import DataError

WORDS_A_DOCUMENT = (3, 1, 8, 2, 40, 5)
"""They take turns. The long ones are cut where a part begins."""
NAMES: tuple[Part, ...] = ("training", "validation", "test")
LENGTH = 7
NEAR = 100
"""A part begins with a document where one begins in this part of all tokens before it."""
BLOCK = 1 << 20
"""Bytes of a file that are read at once."""
MARK = b"\xef\xbb\xbf"
USUAL, OTHERS = b"the boats ", b"xyzzy " * 3


def prepared_again(
    folder: Path, content: bytes, tokenizer: str | None, shares: tuple[float, float]
) -> tuple[TextData, list[str]]:
    """The text as training opens it, and what of it is not that of the corpus."""
    documents = _documents(content)
    data = _prepared(folder / "first", documents, tokenizer, shares)
    lengths = [len(data.vocabulary.encode(document)) + len(data.vocabulary.encode(b"\n")) for document in documents]
    begins, total = [0, *accumulate(lengths)], sum(lengths)
    cuts = [0, *(_cut(begins[:-1], total, share) for share in (1 - sum(shares), 1 - shares[1])), total]
    wrong, spelled = [], b""
    for name, begin, end in zip(NAMES, cuts, cuts[1:], strict=False):
        part, wanted = data.part(name), [0, *(at - begin for at in begins if begin < at < end)]
        spelled += data.vocabulary.bytes_of(part[:]).tobytes()
        if len(part) != end - begin:
            wrong.append(f"the {name} part has {len(part)} tokens, not {end - begin}")
        elif data.documents is None or data.documents[name].tolist() != wanted:
            wrong.append(f"documents of the {name} part do not begin where they do")
        elif len(part) > 2 * LENGTH:
            starts = np.array([len(part) - LENGTH - 1, 0, len(part) // 2])
            rows = [part[at : at + LENGTH + 1].tolist() for at in starts.tolist()]
            if cut_windows(part, starts, LENGTH).tolist() != rows:
                wrong.append(f"windows of the {name} part are not its tokens")
    largest = max(int(data.part(name)[:].max()) for name in NAMES)
    if getattr(data.train, "largest", None) != largest:
        wrong.append(f"the greatest token is {largest}, and another is said to be")
    if spelled != b"".join(document + b"\n" for document in documents):
        wrong.append("the parts do not spell the corpus")
    for what, others in (("order", documents[::-1]), ("case", [document.swapcase() for document in documents])):
        if _prepared(folder / what, others, tokenizer, shares).sha256 == data.sha256:
            wrong.append(f"a corpus in another {what} has the same sha256")
    return data, wrong


def of_long_files(folder: Path, content: bytes, shares: tuple[float, float]) -> list[str]:
    """Whether files of several blocks are one document each: of lines as Windows writes them, and of few lines.

    So is a row of JSON of such a length; empty rows and texts are none.
    """
    text = content.decode()
    lines, line = text.replace("\n", "\r\n"), text.replace("\n", " ")
    files = {
        "1.txt": _bordered(MARK, lines, "\r\n"),
        "2.txt": _bordered(b"", line, "\r\n" + text),
        "3.txt": _bordered(b"", line, "日\n" + text),
        "4.txt.gz": gzip.compress(content),
    }
    files |= {
        f"3{at}{place}.txt": _bordered(b"", line, sign + text, place)
        for at, sign in enumerate(("é", "日", "🙂"))
        for place in range(1, len(sign.encode()) + 1)
    }
    files = dict(sorted(files.items()))
    for name, raw in files.items():
        (folder / name).write_bytes(raw)
    # A row is cut into pieces at a line break, or else at a whole character.
    unbroken = [sign * (BLOCK // len(sign.encode()) + 9) for sign in ("日", "x🙂", "éy")]
    broken = lines * (BLOCK // len(content) + 2)
    rows = [files["3.txt"].decode(), "", line, *unbroken, broken]
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in rows]
    (folder / "5.jsonl").write_bytes(MARK + "\n\n".join(rows).encode())
    corpus = Corpus((str(folder / "*.*"),), validation_fraction=shares[0], test_fraction=shares[1])
    watched = list[int]()
    try:
        prepare(corpus, folder / "prepared", watch=watched.append)
    except DataError as problem:
        return [f"a file of several blocks is refused: {problem}"]
    data = prepared_text(PreparedSpec(name="prepared", path=str(folder / "prepared")))
    texts = [content if name.endswith(".gz") else raw.removeprefix(MARK) for name, raw in files.items()]
    texts = [*(text.replace(b"\r\n", b"\n") for text in texts), files["3.txt"], line.encode()]
    texts += [text.encode() for text in (*unbroken, broken)]
    wanted = b"".join(text + b"\n" for text in texts)
    spelled = b"".join(data.part(name)[:].tobytes() for name in NAMES)
    if watched != sorted(set(watched)) or len(watched) < 2 * len(texts) or watched[-1] != len(wanted) - 1:
        return [f"while files of {len(wanted)} bytes are prepared, {watched[-3:]} are said to have been read"]
    if spelled == wanted:
        return []
    place = next((at for at, (one, other) in enumerate(zip(spelled, wanted, strict=False)) if one != other), -1)
    return [f"files of several blocks are {len(spelled)} bytes, not {len(wanted)}, and another text from {place} on"]


def _bordered(mark: bytes, text: str, border: str, count: int = 1) -> bytes:
    """A text again and again, with `count` bytes of `border` at the end of a block, and the rest behind it."""
    room, whole = BLOCK - count - len(mark), b""
    while len(whole) + len(text.encode()) <= room:
        whole += text.encode()
    return mark + whole + b"a" * (room - len(whole)) + border.encode() + text.encode()


def learned_of_training(folder: Path, content: bytes, size: int, shares: tuple[float, float]) -> list[str]:
    """Whether a tokenizer that learns from a corpus learns from its training part, and from nothing else.

    Every token that it has learned must stand in that part, also where the part ends sooner by tokens than by bytes.
    And a row that cannot be used is counted, once.
    """
    documents = _documents(content)
    half, most = len(documents) // 2, int(len(documents) * (1 - sum(shares)))
    corpora = {
        "as-it-is": documents,
        "trained-on-others": [*(document.swapcase() for document in documents[:half]), *documents[half:]],
        "others-behind": [*documents[:most], *[OTHERS] * half],
        "rare-words-first": [*_rare(), *[USUAL * 30 + OTHERS] * 100],
    }
    learned: dict[str, set[bytes]] = {}
    wrong = []
    for name, texts in corpora.items():
        file = _written(folder / name, texts)
        file.write_text(f"no row\n{file.read_text(encoding='utf-8')}", encoding="utf-8")
        corpus = Corpus((str(file),), validation_fraction=shares[0], test_fraction=shares[1], skip_bad=True)
        skipped = prepare(corpus, folder / name, bpe_size=size)["skipped"]
        if skipped != 1:
            wrong.append(f"{skipped} rows are skipped, of which one cannot be used")
        data = prepared_text(PreparedSpec(name="prepared", path=str(folder / name)))
        spell, training = data.vocabulary.bytes_of, data.vocabulary.bytes_of(data.train[:]).tobytes()
        tokens = {spell(np.array([token])).tobytes() for token in range(data.vocabulary.size)}
        learned[name] = {token for token in tokens if len(token) > 1}
        if held_out := sum(token not in training for token in learned[name]):
            wrong.append(f"{name}: {held_out} tokens are learned from text that is held out")
    if learned["trained-on-others"] == learned["as-it-is"]:
        wrong.append("a tokenizer does not learn from the training part")
    return wrong


def _rare() -> list[bytes]:
    """Documents of letters that hardly come twice: they take many tokens."""
    letters = random.Random(0)
    texts = ("".join(chr(letters.randrange(0x4E00, 0x9FFF)) for _ in range(200)) for _ in range(50))
    return [text.encode() + USUAL * 9 for text in texts]


def _documents(content: bytes) -> list[bytes]:
    words, documents = content.decode().split(" "), list[bytes]()
    while words:
        count = WORDS_A_DOCUMENT[len(documents) % len(WORDS_A_DOCUMENT)]
        documents.append(" ".join(words[:count]).encode())
        words = words[count:]
    return documents


def _prepared(folder: Path, documents: Sequence[bytes], tokenizer: str | None, shares: tuple[float, float]) -> TextData:
    """From a file of one JSON object a line."""
    rows, words = _written(folder, documents), folder.with_suffix(".json")
    if tokenizer is not None:
        words.write_text(tokenizer, encoding="utf-8")
    corpus = Corpus((str(rows),), validation_fraction=shares[0], test_fraction=shares[1])
    prepare(corpus, folder, words if tokenizer is not None else None)
    return prepared_text(PreparedSpec(name="prepared", path=str(folder), documents="reset"))


def _written(folder: Path, documents: Sequence[bytes]) -> Path:
    rows = folder.with_suffix(".jsonl")
    rows.write_text("".join(json.dumps({"text": document.decode()}) + "\n" for document in documents), encoding="utf-8")
    return rows


def _cut(begins: Sequence[int], total: int, share: float) -> int:
    """Where a part begins, by the tokens before it."""
    place = int(total * share)
    before = max(begin for begin in begins if begin <= place)
    return before if before > 0 and place - before <= total // NEAR else place
