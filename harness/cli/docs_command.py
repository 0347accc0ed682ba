"""The command that brings the tables of `docs/` up to date, each between its two marks in a page."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT, BadInput, print_errors

SIGNS = {"at_most": "≤", "at_least": "≥", "below": "<"}


def property_table() -> list[str]:
    """Every property with its claim and bound, and whether `bare-module` has it too."""
    from cortexzoo.specs import load
    from cortexzoo.specs.properties import PROPERTIES
    from cortexzoo.specs.suite import SuiteSpec

    modules = load("bare-module", "suite")
    assert isinstance(modules, SuiteSpec)
    rows = [
        (f"`{name}`", info.clause, f"{SIGNS[info.direction]} {info.bound:g} {info.unit}".replace("|", "\\|"),
         "M" if name in modules.properties else "")
        for name, info in PROPERTIES.items()
    ]  # fmt: skip
    return _table(("Property", "Claim", "Bound", ""), rows)


TABLES: dict[str, Callable[[], list[str]]] = {"properties": property_table}
"""By the name in the marks `<!-- begin NAME -->` and `<!-- end NAME -->`."""


def docs(
    folder: Annotated[Path, typer.Option("--docs", metavar="DIR", help="The folder with the pages.")] = Path("docs"),
    write: Annotated[bool, typer.Option("--write", help="Write the tables into the pages.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if a table is stale.")] = False,
) -> None:
    """Write the generated tables of the documentation, or check them.

    Example: cortexzoo docs --write
    """
    if write == check:
        raise BadInput("docs takes either --write or --check")
    if not folder.is_dir():
        raise BadInput(f"--docs {folder}: no such folder")
    stale = stale_pages(folder)
    for page, text in stale.items():
        if write:
            page.write_text(text, encoding="utf-8")
        else:
            print_errors([f"{page} is stale: run `cortexzoo docs --write`"])
    raise typer.Exit(OK if write or not stale else UNEXPECTED_VERDICT)


def stale_pages(folder: Path) -> dict[Path, str]:
    """Pages with a table that is not as it should be, and the text that they should have."""
    stale = {}
    for page in sorted(folder.glob("*.md")):
        text = fresh = page.read_text(encoding="utf-8")
        for name, table in TABLES.items():
            fresh = replaced(fresh, name, table)
        if fresh != text:
            stale[page] = fresh
    return stale


def replaced(text: str, name: str, table: Callable[[], list[str]]) -> str:
    """`text` with the table between the marks of `name`, if it has them."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        return text
    content = "\n".join((begin, "", *table(), "", end))
    return pattern.sub(lambda _: content, text)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
