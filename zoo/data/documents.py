"""Documents from files of any size, a piece at a time: text, JSONL, Parquet, and Hugging Face data sets."""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from cortexzoo.zoo.data.sources import record_text, utf8_error
from cortexzoo.zoo.errors import DataError

PIECE = 1 << 20
MARK = b"\xef\xbb\xbf"
LONGEST = 1 << 28
"""Bytes of one line."""
HUB = "hf:"

Document = Iterator[bytes]
"""A document's text in pieces of whole characters."""


def documents(source: str, field: str, skipped: Callable[[str], None] | None = None) -> Iterator[Document]:
    """The documents of a file, or of the data set `hf:NAME[:SPLIT]`.

    A text file is one document; a byte-order mark is dropped and CRLF becomes LF. JSONL and Parquet have one a row,
    under `field`; empty lines and empty texts are passed over. A row that cannot be used raises `DataError` with file
    and line, or is given to `skipped`.
    """
    if source.startswith(HUB):
        return _rows(_hub_rows(source.removeprefix(HUB), field), field, skipped)
    path = Path(source)
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    if name.endswith(".parquet"):
        return _rows(_parquet_rows(path, field), field, skipped)
    if name.endswith((".jsonl", ".ndjson")):
        return _rows(_json_lines(path), field, skipped)
    return iter([_text(path)])


Row = tuple[str, Any]
"""Where it is, and the row: bytes of JSON, or a mapping."""


def _rows(rows: Iterator[Row], field: str, skipped: Callable[[str], None] | None) -> Iterator[Document]:
    for where, row in rows:
        try:
            text = record_text(row, field, where) if isinstance(row, bytes) else _value(row, field, where)
        except DataError as error:
            if skipped is None:
                raise
            skipped(str(error))
            continue
        if text:
            yield _in_pieces(text)


def _value(row: dict[str, Any], field: str, where: str) -> bytes:
    if not isinstance(row.get(field), str):
        found = "null" if row.get(field) is None else type(row[field]).__name__
        raise DataError(f"{where}: field {field!r} must be a string, got {found}")
    return record_text(json.dumps({field: row[field]}).encode(), field, where)


def _in_pieces(text: bytes) -> Document:
    begin = 0
    while begin < len(text):
        end = _whole(text, min(begin + PIECE, len(text)))
        yield text[begin:end]
        begin = end


def _whole(text: bytes, end: int) -> int:
    """The last line break in front of `end`, or the last whole character."""
    if end == len(text):
        return end
    line = text.rfind(b"\n", max(0, end - PIECE), end) + 1
    if line > max(0, end - PIECE):
        return line
    while text[end] & 0xC0 == 0x80:
        end -= 1
    return end


def _text(path: Path) -> Document:
    """Pieces that end with a line where they can, so that a tokenizer reads the same as in the whole."""
    rest, line, first = b"", 1, True
    with _opened(path) as file:
        while block := _read(file, path, PIECE):
            if first:
                block, first = block.removeprefix(MARK), False
            rest += block
            kept = b"\r" if rest.endswith(b"\r") else b""
            ready = rest[: len(rest) - len(kept)].replace(b"\r\n", b"\n")
            cut = ready.rfind(b"\n") + 1 or _end_of_characters(ready)
            if cut:
                yield _checked(ready[:cut], path, line)
                line += ready.count(b"\n", 0, cut)
            rest = ready[cut:] + kept
            if len(rest) > LONGEST:
                raise DataError(f"{path}:{line}: a line has more than {LONGEST >> 20} MB and no whole character")
    if rest:
        yield _checked(rest, path, line)


def _end_of_characters(text: bytes) -> int:
    """Where the last whole character ends, if the end is cut."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte & 0xC0 != 0x80:
            length = 1 if byte < 0x80 else 2 if byte >> 5 == 6 else 3 if byte >> 4 == 14 else 4
            return len(text) if length <= back else len(text) - back
    return len(text)


def _checked(text: bytes, path: Path, line: int) -> bytes:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        at = line + text.count(b"\n", 0, error.start)
        raise utf8_error(f"{path}:{at}", text, error) from None
    return text


def _json_lines(path: Path) -> Iterator[Row]:
    with _opened(path) as file:
        number = 0
        while line := _read_line(file, path, number + 1):
            number += 1
            line = line.removeprefix(MARK) if number == 1 else line
            if line.strip():
                yield f"{path}:{number}", line


def _read_line(file: IO[bytes], path: Path, number: int) -> bytes:
    line = _read(file, path, LONGEST, of_line=True)
    if len(line) >= LONGEST:
        raise DataError(f"{path}:{number}: a line has more than {LONGEST >> 20} MB: one JSON object a line is required")
    return line


def _opened(path: Path) -> IO[bytes]:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rb")  # type: ignore[return-value]
        if path.suffix == ".zst":
            _require("zstandard", path)
            return io.BufferedReader(_Zstandard(path.open("rb")))
        return path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _read(file: IO[bytes], path: Path, size: int, of_line: bool = False) -> bytes:
    try:
        return file.readline(size) if of_line else file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read to its end: {reason}") from None
    except Exception as error:
        if type(error).__name__ == "ZstdError":
            raise DataError(f"{path}: cannot be read to its end: {error}") from None
        raise


class _Zstandard(io.RawIOBase):
    """A file of zstd frames. Unlike the library's own reader it raises `EOFError` for one that is cut off."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._frame: Any = None
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        import zstandard

        while not self._ready:
            block = self._packed.read(1 << 16)
            if not block:
                if self._frame is not None:
                    raise EOFError("compressed file ended before the end of a frame was reached")
                return 0
            while block:
                if self._frame is None:
                    self._frame = zstandard.ZstdDecompressor().decompressobj()
                self._ready += self._frame.decompress(block)
                block = self._frame.unused_data if self._frame.eof else b""
                if self._frame.eof:
                    self._frame = None
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def close(self) -> None:
        self._packed.close()
        super().close()


def _parquet_rows(path: Path, field: str) -> Iterator[Row]:
    _require("pyarrow", path)
    import pyarrow
    from pyarrow import parquet

    try:
        opened = parquet.ParquetFile(path)
        if field not in opened.schema_arrow.names:
            raise DataError(f"{path}: has no column {field!r}, it has {', '.join(opened.schema_arrow.names[:8])}")
        number = 0
        for batch in opened.iter_batches(columns=[field], batch_size=1024):
            for value in batch.column(0).to_pylist():
                number += 1
                yield f"{path}: row {number}", {field: value}
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())[:120]}") from None


def _hub_rows(name: str, field: str) -> Iterator[Row]:
    where = f"{HUB}{name}"
    _require("datasets", where)
    import datasets

    data_set, _, split = name.partition(":")
    try:
        rows = datasets.load_dataset(data_set, split=split or "train", streaming=True)
        for number, row in enumerate(rows, start=1):
            if number == 1 and field not in row:
                raise DataError(f"{where}: has no column {field!r}, it has {', '.join(list(row)[:8])}")
            yield f"{where}: row {number}", row
    except DataError:
        raise
    except Exception as error:  # the library raises errors of many kinds
        raise DataError(f"{where}: cannot be read: {' '.join(str(error).split())[:160]}") from None


def _require(package: str, where: object) -> None:
    if find_spec(package) is None:
        raise DataError(f'{where}: reading it needs the package {package}: pip install "cortexzoo[corpora]"')
