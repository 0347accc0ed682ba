"""Results of a campaign, a line each: read again after an interruption, whatever it left of the last line."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar


class Kept(Protocol):
    """Something that is found out once in a campaign."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def key(self) -> str:
        """What it is about: one line in the file for each."""


@dataclass(frozen=True)
class OfOneChange:
    """What became of one change."""

    site: str
    """Its name."""

    def key(self) -> str:
        """The name of the change."""
        return self.site


ResultT = TypeVar("ResultT", bound=Kept)


def read_results(path: Path, kind: type[ResultT]) -> dict[str, ResultT]:
    """By their keys; a line that was cut short is left out."""
    found: dict[str, ResultT] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            result = kind(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[result.key()] = result
    return found


def append_result(path: Path, result: Kept) -> None:
    """On a line of its own, also behind one that was cut short."""
    before = path.read_bytes()[-1:] if path.exists() else b""
    begin = "" if before in (b"", b"\n") else "\n"
    with path.open("a", encoding="utf-8") as lines:
        lines.write(begin + json.dumps(asdict(result)) + "\n")


def write_whole(path: Path, content: Any) -> None:
    """As JSON, all of it or nothing."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content), encoding="utf-8")
    os.replace(partial, path)
