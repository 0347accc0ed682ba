"""What commands print: tables for readers, and the same content as JSON for programs."""

import json
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.plain_table import table_lines, terminal_width
from cortexzoo.specs.plain_text import plain

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

UNLIMITED = 10_000
"""Columns of a pipe, so that `grep` finds whole rows, and of a terminal with `--wide`."""

_wide = False


def set_wide(wide: bool) -> None:
    """Whether tables may be wider than the terminal, for the rest of this command."""
    global _wide
    _wide = wide


def width() -> int:
    """Columns that a table may take."""
    return terminal_width() if sys.stdout.isatty() and not _wide else UNLIMITED


def console() -> "Console":
    """Standard output, as it is now."""
    from cortexzoo.harness.cli.plain_console import PlainConsole

    return PlainConsole(width=width(), highlight=False)


def print_table(columns: Sequence[str], rows: "Iterable[Sequence[str | Text]]") -> None:
    """A table without borders. On a terminal that is too narrow, the widest columns are wrapped."""
    for line in table_lines(columns, rows, width(), styled=sys.stdout.isatty()):
        print(line)


def write_json(file: Path | None, content: Any) -> None:
    """Write the result as JSON, if the user named a file for it. Raises `BadInput`."""
    if file is None:
        return
    try:
        file.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInput(f"--json {file}: cannot be written: {error.strerror or error}") from error


def require_folder_of(file: Path | None, option: str = "--json") -> None:
    """Refuse a missing folder before minutes of training. Raises `BadInput`."""
    if file is not None and not file.parent.is_dir():
        raise BadInput(f"{option} {file}: no such folder: {file.parent}")


def without_foreign_warnings() -> None:
    """Hide the warnings of libraries, which are for developers; those for users are printed as lines."""
    warnings.simplefilter("ignore")
    warnings.filterwarnings("default", message="CORTEXZOO_KERNELS: ")
    warnings.formatwarning = lambda message, *_, **__: f"{message}\n"


def standard_error() -> "Console":
    """Where progress goes."""
    from cortexzoo.harness.cli.plain_console import PlainConsole

    return PlainConsole(stderr=True)


def print_text(line: str) -> None:
    """Print a text to standard output at once."""
    print(plain(line, keep="\n\t"), flush=True)
