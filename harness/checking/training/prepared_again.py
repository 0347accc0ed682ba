"""A corpus that is prepared and opened again, against its documents as they were written."""

import json
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from cortexzoo.specs.data import PreparedSpec
from cortexzoo.zoo.data.order import cut_windows
from cortexzoo.zoo.data.prepared import prepared_text
from cortexzoo.zoo.data.preparing import Corpus, prepare
from cortexzoo.zoo.data.text import Part, TextData

WORDS_A_DOCUMENT = (3, 1, 8, 2, 40, 5)
"""They take turns. The long ones are cut where a part begins."""
NAMES: tuple[Part, ...] = ("training", "validation", "test")
LENGTH = 7
NEAR = 100
"""A part begins with a document where one begins in this part of all tokens before it."""


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
    if spelled != b"".join(document + b"\n" for document in documents):
        wrong.append("the parts do not spell the corpus")
    for what, others in (("order", documents[::-1]), ("case", [document.swapcase() for document in documents])):
        if _prepared(folder / what, others, tokenizer, shares).sha256 == data.sha256:
            wrong.append(f"a corpus in another {what} has the same sha256")
    return data, wrong


def _documents(content: bytes) -> list[bytes]:
    words, documents = content.decode().split(" "), list[bytes]()
    while words:
        count = WORDS_A_DOCUMENT[len(documents) % len(WORDS_A_DOCUMENT)]
        documents.append(" ".join(words[:count]).encode())
        words = words[count:]
    return documents


def _prepared(folder: Path, documents: Sequence[bytes], tokenizer: str | None, shares: tuple[float, float]) -> TextData:
    """From a file of one JSON object a line."""
    rows, words = folder.with_suffix(".jsonl"), folder.with_suffix(".json")
    rows.write_text("".join(json.dumps({"text": document.decode()}) + "\n" for document in documents), encoding="utf-8")
    if tokenizer is not None:
        words.write_text(tokenizer, encoding="utf-8")
    corpus = Corpus((str(rows),), validation_fraction=shares[0], test_fraction=shares[1])
    prepare(corpus, folder, words if tokenizer is not None else None)
    return prepared_text(PreparedSpec(name="prepared", path=str(folder), documents="reset"))


def _cut(begins: Sequence[int], total: int, share: float) -> int:
    """Where a part begins, by the tokens before it."""
    place = int(total * share)
    before = max(begin for begin in begins if begin <= place)
    return before if before > 0 and place - before <= total // NEAR else place
