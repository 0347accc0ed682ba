"""What commands print: tables for readers, and the same content as JSON for programs."""

import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cortexzoo.harness.cli.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

PIPE_WIDTH = 500
"""A pipe has no width: nothing is wrapped, so that `grep` finds whole rows."""


def console() -> "Console":
    """Standard output, as it is now."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)


def print_table(columns: Sequence[str], rows: "Iterable[Sequence[str | Text]]") -> None:
    """A table without borders, as wide as its content; plain text is printed as it is, markup included."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    out = console()
    with out.capture() as printed:
        out.print(table)
    out.out("\n".join(line.rstrip() for line in printed.get().splitlines()), highlight=False)


def write_json(file: Path | None, content: Any) -> None:
    """Write the result as JSON, if the user named a file for it. Raises `BadInput`."""
    if file is None:
        return
    try:
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--json {file}: cannot be written: {error.strerror or error}") from error


def require_folder_of(file: Path | None) -> None:
    """Refuse a missing folder before minutes of training. Raises `BadInput`."""
    if file is not None and not file.parent.is_dir():
        raise BadInput(f"--json {file}: no such folder: {file.parent}")


def without_foreign_warnings() -> None:
    """Hide the warnings of libraries, which are for developers; those for users are printed as lines."""
    warnings.simplefilter("ignore")


def standard_error() -> "Console":
    """Where progress goes."""
    from rich.console import Console

    return Console(stderr=True)


def say(line: str) -> None:
    """Print one line to standard output at once."""
    print(line, flush=True)
