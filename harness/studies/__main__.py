"""`python -m harness.studies learning|swings`: train what is missing, print the table, renew `docs/results.md`."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from harness.studies import learning, swings
from harness.studies.cells import run_cells

STUDIES = {"learning": learning, "swings": swings}


def main(
    study: Annotated[Literal["learning", "swings"], typer.Argument(help="Which study.")],
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 … N − 1 of every cell.")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, one thread each.")] = 2,
    runs: Annotated[Path, typer.Option(help="The folder that holds the runs; finished ones are used.")] = Path("runs"),
    docs: Annotated[Path | None, typer.Option(help="The docs folder whose results.md is brought up to date.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the table as JSON.")] = None,
) -> None:
    """Train every run of a study that is not there yet, then show what came out."""
    module = STUDIES[study]
    columns = (TextColumn(study), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(study, total=None)
        results = run_cells(
            module.cells(), seeds, runs, jobs, lambda done, total: progress.update(task, completed=done, total=total)
        )
    header, *rows = module.table(results)
    console = Console()
    shown = Table(*header)
    for row in rows:
        shown.add_row(*row)
    console.print(shown)
    for line in module.findings(results):
        console.print(line)
    if json_file is not None:
        content = {"seeds": seeds, "rows": [dict(zip(header, row, strict=True)) for row in rows]}
        json_file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if docs is not None:
        _write_section(docs / "results.md", study, seeds, [header, *rows], module.findings(results))
        if study == "swings":
            swings.draw(results, docs / "images" / "swings.png")


def _write_section(page: Path, study: str, seeds: int, table: list[tuple[str, ...]], findings: list[str]) -> None:
    """Replace what stands between the study's two marks."""
    header, *rows = table
    lines = [
        f"    python -m harness.studies {study} --seeds {seeds} --docs docs",
        "",
        *(f"- {line}" for line in findings),
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    begin, end = f"<!-- begin {study} -->", f"<!-- end {study} -->"
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise typer.BadParameter(f"{page}: has no marks {begin} … {end}")
    content = "\n".join([begin, "", *lines, "", end])
    page.write_text(pattern.sub(lambda _: content, text), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
