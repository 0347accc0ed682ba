"""Reading the bytes of a spec file, within limits."""

import stat
from dataclasses import dataclass
from pathlib import Path

from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.problems import Place, Problems, Refused, SpecText
from cortexzoo.specs.loading.yaml_nodes import place_at, read_yaml

MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A spec file, and its name in messages."""

    path: Path
    label: str

    @property
    def text(self) -> SpecText:
        return SpecText(self.label, self.path.parent.absolute())


class Unreadable(Exception):
    """The file cannot be opened or is not a spec file; the message completes `<name> …`."""


def read_file(path: Path) -> bytes:
    """The bytes of a regular file. Raises `Unreadable`."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise Unreadable("is a folder, not a spec file")
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("is not a regular file")
        if status.st_size > MAX_BYTES:
            raise Unreadable(f"is larger than {MAX_BYTES} bytes")
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except FileNotFoundError as error:
        raise Unreadable("does not exist") from error
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def parse_file(content: bytes, source: SpecText, problems: Problems) -> Node:
    """The mapping in a spec file. Raises `Refused` when there is none."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        valid = content[: error.start].decode("utf-8-sig")
        place = place_at(valid, len(valid), source)
        raise Refused(place, f"not UTF-8: byte 0x{content[error.start]:02x}") from error
    if "\0" in text:
        raise Refused(place_at(text, text.index("\0"), source), "contains a NUL byte: not a text file")
    root = read_yaml(text, source, problems)
    if root.content is None:
        raise Refused(Place(source, 1, 1), "is empty; a spec file starts with `kind:` and `name:`")
    if not root.is_mapping():
        raise Refused(root.place or Place(source, 1, 1), f"must be keys and values, got {root.describe()}")
    return root
