"""Text sources: from a source spec to the UTF-8 bytes of the whole text."""

import glob
import json
import sysconfig
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from cortexzoo.specs.data import Almanac, JsonLines, PydocTopics, PythonLibrary, TextFiles, TextSource
from cortexzoo.zoo.data.almanac import text_of
from cortexzoo.zoo.errors import DataError

GLOB_CHARACTERS = frozenset("*?[")


def read_source(source: TextSource, folder: Path | None = None) -> bytes:
    """The whole text of a source.

    Topics are joined by a blank line, modules, files and JSONL records by a newline. Relative paths start at `folder`,
    or at the working directory. Raises `DataError` with one line that states which file, where, and what is wrong.
    """
    match source:
        case PydocTopics():
            return _pydoc_topics()
        case PythonLibrary():
            return b"\n".join(_read_utf8(path) for path in _modules(source))
        case TextFiles():
            return b"\n".join(_read_utf8(path) for path in find_files(source.paths, folder))
        case JsonLines():
            files = find_files(source.paths, folder)
            return b"\n".join(text for path in files for text in _read_records(path, source.field))
        case Almanac():
            return text_of(source)


def find_files(paths: tuple[str, ...], folder: Path | None = None) -> list[Path]:
    """Every file that the paths and globs name, sorted, each once. Raises `DataError` for a path that names none."""
    found: dict[Path, Path] = {}
    for text in paths:
        for path in _matches(text, folder or Path()):
            found.setdefault(path.resolve(), path)
    return sorted(found.values())


def _matches(text: str, folder: Path) -> list[Path]:
    path = folder / text
    if path.is_dir():
        raise DataError(f"{text}: is a folder, a file or a glob is required: try {text.rstrip('/')}/*")
    if path.exists():
        return [path]
    if not GLOB_CHARACTERS & set(text):
        raise DataError(f"{text}: no such file{_nearest_name(path)}")
    # Path.glob refuses absolute patterns.
    found = glob.glob(text, root_dir=folder, recursive=True)
    files = [folder / match for match in found if (folder / match).is_file()]
    if not files:
        raise DataError(f"{text}: no file matches this glob")
    return files


def _nearest_name(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist"
    close = get_close_matches(path.name, [other.name for other in path.parent.iterdir()], n=1)
    return f"; did you mean {close[0]}?" if close else f" in {path.parent.resolve()}"


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _read_utf8(path: Path) -> bytes:
    content = _read_bytes(path)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise utf8_error(str(path), content, error) from None
    return content


def utf8_error(where: str, content: bytes, error: UnicodeDecodeError) -> DataError:
    """In one line: the first byte that is no UTF-8."""
    found = content[error.start]
    return DataError(f"{where}: must be UTF-8 text, but byte {error.start} is 0x{found:02x} ({error.reason})")


def _read_records(path: Path, field: str) -> Iterator[bytes]:
    for number, line in enumerate(_read_utf8(path).split(b"\n"), start=1):
        if line.strip():
            yield record_text(line, field, f"{path}:{number}")


def record_text(line: bytes, field: str, where: str) -> bytes:
    """The text of one line of JSONL. Raises `DataError` with `where` in front."""
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: is not JSON: {error.msg} at column {error.colno}") from None
    except UnicodeDecodeError as error:
        raise utf8_error(where, line, error) from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{where}: cannot be read: {str(error).split(';')[0]}") from None
    except RecursionError:
        raise DataError(f"{where}: is nested too deeply to be read") from None
    if not isinstance(record, dict):
        raise DataError(f"{where}: must be a JSON object with the field {field!r}, got {_json_kind(record)}")
    if field not in record:
        held = ", ".join(repr(name) for name in list(record)[:8]) or "no fields"
        raise DataError(f"{where}: has no field {field!r}, it has {held}")
    text = record[field]
    if not isinstance(text, str):
        raise DataError(f"{where}: field {field!r} must be a string, got {_json_kind(text)}")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where}: field {field!r} has no UTF-8 form: character {error.start} is a lone surrogate"
        ) from None


def _json_kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _pydoc_topics() -> bytes:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise DataError("pydoc_topics: this Python comes without pydoc_data.topics; name files of your own") from None
    return "\n\n".join(topics[name] for name in sorted(topics)).encode()


def _modules(source: PythonLibrary) -> list[Path]:
    """The files of these modules, by name."""
    folder = Path(sysconfig.get_path("stdlib"))
    found = sorted(path for path in folder.glob("*.py") if source.first <= path.name[0].lower() <= source.last)
    if not found:
        raise DataError("python_library: this Python comes without the sources of its library; name files of your own")
    return found
