"""Tokens on disk: raw numbers that are read where they are needed, the documents' places, and a manifest with sums."""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cortexzoo.zoo.data.text_vocabulary import TextVocabulary, TokenArray
from cortexzoo.zoo.errors import DataError

FORMAT = "cortexzoo-tokens-1"
MANIFEST, TOKENS, DOCUMENTS, TOKENIZER = "manifest.json", "tokens.bin", "documents.bin", "tokenizer.json"
PARTS = ("training", "validation", "test")
DTYPES = ("uint8", "uint16", "uint32")
SUMMED = 1 << 28
"""Files up to this size are checked against their sums whenever they are opened."""
BLOCK = 1 << 22

Places = npt.NDArray[np.uint64]


class StoredTokens(ABC):
    """Tokens that are copied where they are asked for, and never all at once."""

    largest: int
    """No token is greater."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, places: Any) -> TokenArray:
        """A slice, or an array of places that are not negative. Raises `DataError` when a file is gone."""


class MappedTokens(StoredTokens):
    """Part of a token file. Each access maps the file, copies what is asked for, and lets go of the rest."""

    def __init__(self, file: Path, dtype: str, begin: int, end: int, largest: int = 0) -> None:
        """`largest`: no token of the file is greater."""
        self.largest = largest
        self.file, self.dtype, self.begin, self.end = file, np.dtype(dtype).newbyteorder("<"), begin, end

    def __len__(self) -> int:
        return self.end - self.begin

    def __getitem__(self, places: Any) -> TokenArray:
        try:
            mapped = np.memmap(
                self.file, self.dtype, mode="r", offset=self.begin * self.dtype.itemsize, shape=len(self)
            )
        except (OSError, ValueError) as error:
            raise DataError(f"{self.file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        return np.array(mapped[places])

    def blocks(self) -> Iterator[TokenArray]:
        """All tokens, some megabytes at once."""
        for first in range(0, len(self), BLOCK):
            yield self[first : first + BLOCK]


@dataclass(frozen=True)
class TokenFolder:
    """What `cortexzoo prepare` wrote, opened for reading."""

    folder: Path
    about: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> "TokenFolder":
        """Raises `DataError` for a folder that is something else, was not finished, or is damaged."""
        try:
            about = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError(
                f"{folder}: has no {MANIFEST}: it was not written by `cortexzoo prepare`, or not to its end"
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(f"{folder / MANIFEST}: cannot be read: {error}") from None
        if not isinstance(about, dict) or about.get("format") != FORMAT or not _is_complete(about):
            raise DataError(f"{folder / MANIFEST}: is damaged, or not of the format {FORMAT}: prepare the text again")
        found = cls(folder, about)
        found._require_sizes()
        found.verify(SUMMED)
        return found

    def _require_sizes(self) -> None:
        for name, content in self.about["files"].items():
            path = self.folder / name
            size = path.stat().st_size if path.is_file() else -1
            if size != content["size"]:
                what = "is missing" if size < 0 else f"has {size} bytes, {content['size']} were written"
                raise DataError(f"{path}: {what}: prepare the text again")

    def verify(self, most: int | None = None) -> None:
        """Raise `DataError` when a file of at most `most` bytes has another sum than when it was written."""
        for name, content in self.about["files"].items():
            if most is not None and content["size"] > most:
                continue
            with (self.folder / name).open("rb") as opened:
                found = hashlib.file_digest(opened, "sha256").hexdigest()
            if found != content["sha256"]:
                raise DataError(f"{self.folder / name}: was changed since it was written: prepare the text again")

    @property
    def sha256(self) -> str:
        """Of the tokens and the documents' places."""
        sums = [self.about["files"][name]["sha256"] for name in (TOKENS, DOCUMENTS)]
        return hashlib.sha256("".join(sums).encode()).hexdigest()

    def tokens(self, part: str) -> MappedTokens:
        """The tokens of a part."""
        begin, end = self.about["parts"][part]["tokens"]
        return MappedTokens(self.folder / TOKENS, self.about["dtype"], begin, end, self.about["largest"])

    def document_starts(self, part: str) -> npt.NDArray[np.int64]:
        """Where documents begin in a part; the first place is 0."""
        begin, end = self.about["parts"][part]["tokens"]
        every = np.fromfile(self.folder / DOCUMENTS, "<u8").astype(np.int64)
        inside = every[(every > begin) & (every < end)] - begin
        return np.concatenate([np.zeros(1, np.int64), inside])


def _is_complete(about: Mapping[str, Any]) -> bool:
    try:
        spans = [about["parts"][part]["tokens"] for part in PARTS]
        counts = [about["parts"][part][name] for part in PARTS for name in ("bytes", "spelled")]
        sizes = [about["files"][name]["size"] for name in (TOKENS, DOCUMENTS)]
        sums = [about["files"][name]["sha256"] for name in (TOKENS, DOCUMENTS)]
        flat = [place for span in spans for place in span]
        return (
            about["dtype"] in DTYPES
            and all(type(number) is int and number >= 0 for number in [*flat, *counts, *sizes, about["largest"]])
            and flat == sorted(flat)
            and all(isinstance(each, str) for each in sums)
        )
    except (KeyError, TypeError, AttributeError):
        return False


class TokenWriter:
    """Writes documents one after the other; nothing is readable before `finish`."""

    def __init__(self, folder: Path, vocabulary: TextVocabulary) -> None:
        self.folder, self.vocabulary = folder, vocabulary
        size = vocabulary.size
        self.dtype = "uint8" if size <= 1 << 8 else "uint16" if size <= 1 << 16 else "uint32"
        self.count = self.length = self.largest = 0
        self.documents: list[tuple[int, int, int]] = []
        """Place of the first token, bytes before it, bytes that the tokens before it spell."""
        self.spelled = 0
        self._file = (folder / TOKENS).open("wb")
        self._sum = hashlib.sha256()

    def begin_document(self) -> None:
        """What follows is of another document."""
        self.documents.append((self.count, self.length, self.spelled))

    def add(self, text: bytes) -> None:
        """Whole characters of the present document. Raises `DataError` for text that has no tokens, and `OSError`."""
        tokens = self.vocabulary.encode(text)
        if not len(tokens):
            return
        raw = tokens.astype(np.dtype(self.dtype).newbyteorder("<")).tobytes()
        self._file.write(raw)
        self._sum.update(raw)
        self.count += len(tokens)
        self.length += len(text)
        self.spelled += int(self.vocabulary.lengths[tokens].sum())
        self.largest = max(self.largest, int(tokens.max()))

    def finish(self, fractions: tuple[float, float], sources: list[str]) -> dict[str, Any]:
        """Close the files and write the manifest; `fractions` are those of validation and test part.

        Parts begin with a document where one begins in the hundredth of all tokens before the place; else within one.
        Raises `OSError`.
        """
        _close(self._file)
        starts = np.array([start for start, _, _ in self.documents], dtype="<u8")
        (self.folder / DOCUMENTS).write_bytes(starts.tobytes())
        cuts = [self._cut(1 - sum(fractions)), self._cut(1 - fractions[1]), (self.count, self.length, self.spelled)]
        parts, before = {}, (0, 0, 0)
        for name, cut in zip(PARTS, cuts, strict=True):
            inside = int(((starts >= before[0]) & (starts < cut[0])).sum())
            parts[name] = {
                "tokens": [before[0], cut[0]], "documents": inside,
                "bytes": cut[1] - before[1], "spelled": cut[2] - before[2],
            }  # fmt: skip
            before = cut
        files = {TOKENS: {"size": (self.folder / TOKENS).stat().st_size, "sha256": self._sum.hexdigest()}}
        if (content := self.vocabulary.file_content()) is not None:
            (self.folder / TOKENIZER).write_text(content, encoding="utf-8")
        for name in (DOCUMENTS, TOKENIZER):
            if (path := self.folder / name).is_file():
                raw = path.read_bytes()
                files[name] = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        about = {
            "format": FORMAT, "dtype": self.dtype, "tokenizer_sha256": self.vocabulary.sha256, "largest": self.largest,
            "documents": len(self.documents), "parts": parts, "files": files, "sources": sources,
        }  # fmt: skip
        partial = self.folder / f".{MANIFEST}.partial"
        partial.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, self.folder / MANIFEST)
        return about

    def close(self) -> None:
        """Give up: what was written has no manifest."""
        self._file.close()

    def _cut(self, share: float) -> tuple[int, int, int]:
        """The document start at or before the place, if it is near; else the place itself."""
        place = int(self.count * share)
        starts = [start for start, _, _ in self.documents]
        index = int(np.searchsorted(np.array(starts), place, side="right")) - 1
        start, length, spelled = self.documents[index]
        if place - start <= self.count // 100 and start > 0:
            return start, length, spelled
        return self._within(index, place)

    def _within(self, index: int, place: int) -> tuple[int, int, int]:
        """Bytes before a place within a document: as its tokens spell them, in the document's own proportion."""
        start, length, spelled = self.documents[index]
        following = [*self.documents[index + 1 : index + 2], (self.count, self.length, self.spelled)][0]
        counted = 0
        for block in MappedTokens(self.folder / TOKENS, self.dtype, start, place).blocks() if place > start else ():
            counted += int(self.vocabulary.lengths[block].sum())
        scale = (following[1] - length) / max(following[2] - spelled, 1)
        return place, length + round(counted * scale), spelled + counted


def _close(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def remove_tokens(folder: Path) -> None:
    """Empty a folder that a writer has filled; without its manifest first, so that nothing takes it for whole."""
    for name in (MANIFEST, TOKENS, DOCUMENTS, TOKENIZER):
        (folder / name).unlink(missing_ok=True)


@contextmanager
def token_writer(folder: Path, vocabulary: TextVocabulary) -> Iterator[TokenWriter]:
    """A writer into an empty or new folder. Raises `DataError` for any other, and where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DataError(f"{folder}: is not empty: name a new folder, or delete this one")
        writer = TokenWriter(folder, vocabulary)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None
    try:
        yield writer
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None
    finally:
        writer.close()
