"""A folder of spec files to write into, and the mistakes that loading one of them names."""

from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from cortexzoo.specs import SpecError, load
from cortexzoo.specs.kinds import Kind

Write = Callable[..., str]
Mistakes = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file into an empty folder, which is the current one; gives its name."""
    monkeypatch.chdir(tmp_path)

    def write_file(name: str, text: str | bytes) -> str:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        return name

    return write_file


@pytest.fixture
def mistakes() -> Mistakes:
    """The lines of the `SpecError` that loading raises."""

    def lines(name: str, kind: Kind | None = None, overrides: Sequence[str] = ()) -> list[str]:
        with pytest.raises(SpecError) as caught:
            load(name, kind, overrides)
        return caught.value.lines

    return lines
