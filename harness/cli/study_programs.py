"""The programs of `cortexzoo study`: train what is missing, print the table, renew its page."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from cortexzoo.harness.checking.records import RECORDS
from cortexzoo.harness.cli.output import print_table
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies import (
    almanac,
    consolidation,
    continual,
    distractors,
    facts,
    facts_table,
    learning,
    recall_by_task,
    sleep,
    swings,
    tasks,
    worth,
)
from cortexzoo.harness.studies.cells import run_cells
from cortexzoo.specs.sleep import ConsolidateSleep
from cortexzoo.specs.slow_store import ProductStore

STUDIES = {
    "almanac": almanac,
    "consolidation": consolidation,
    "continual": continual,
    "distractors": distractors,
    "learning": learning,
    "recall": recall_by_task,
    "swings": swings,
    "tasks": tasks,
    "worth": worth,
}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _trains(study: str) -> Callable[..., None]:
    """The command of a study that trains its runs."""

    def command(
        seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 … N − 1 of every cell.")] = 3,
        jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time, one thread each.")] = 2,
        runs: Annotated[Path, typer.Option(help="The folder of the runs; finished ones are reused.")] = Path("runs"),
        docs: Annotated[Path | None, typer.Option(help="The docs folder whose page is updated.")] = None,
        json_file: Annotated[Path | None, typer.Option("--json", help="Also write the table as JSON.")] = None,
    ) -> None:
        """Train the missing runs of a study, then show the results."""
        module = STUDIES[study]
        with _progress(study) as progress:
            task = progress.add_task(study, total=None)
            results = run_cells(
                module.cells(),
                seeds,
                runs,
                jobs,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
        header, *rows = module.table(results)
        _show(header, rows, module.findings(results))
        if json_file is not None:
            content = {"seeds": seeds, "rows": [dict(zip(header, row, strict=True)) for row in rows]}
            json_file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if docs is not None:
            _write_section(docs / module.PAGE, study, seeds, [header, *rows], module.findings(results))
            if study == "swings":
                swings.draw(results, docs / "images" / "swings.png")
            if study == "worth":
                worth.write_record(results, RECORDS)

    return command


for name in STUDIES:
    app.command(name)(_trains(name))


@app.command("sleep")
def of_sleep(
    run: Annotated[Path, typer.Argument(help="The folder of a trained run.")],
    sleeps: Annotated[int, typer.Option(min=1, help="Sleeps in a row, with no training in between.")] = 200,
    kinds: Annotated[
        str, typer.Option(help="Kinds of dreams, separated by commas; awake: as many updates on training examples.")
    ] = ",".join(sleep.KINDS),
    learning_rate: Annotated[float, typer.Option(help="Of the sleeps; above 0.")] = 1e-4,
    kl_weight: Annotated[float, typer.Option(min=0, help="Of the sleeps.")] = 0.0,
    ewc_weight: Annotated[float, typer.Option(min=0, help="Of the sleeps.")] = 0.0,
    sequences: Annotated[int, typer.Option(min=1, help="Held-out sequences that are scored after every sleep.")] = 32,
    gaps: Annotated[
        str, typer.Option(help="Of a task: gaps to score and dream of, as in 4,16; else those trained on.")
    ] = "",
    checkpoint: Annotated[str, typer.Option(help="Which of the run's checkpoints sleeps.")] = "best",
    picture: Annotated[Path | None, typer.Option(help="Also draw the curves into this PNG.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write every score as JSON.")] = None,
) -> None:
    """What so many sleeps of each kind do to a trained model, with the acceptance gate and without."""
    wanted = kinds.split(",")
    if unknown := [kind for kind in wanted if kind not in sleep.KINDS]:
        raise typer.BadParameter(f"--kinds {unknown[0]}: must be of {', '.join(sleep.KINDS)}")
    if learning_rate <= 0:
        raise typer.BadParameter(f"--learning-rate must be > 0, got {learning_rate:g}")
    if not all(gap.isdigit() for gap in gaps.split(",") if gaps):
        raise typer.BadParameter(f"--gaps must be whole numbers with commas, as in 4,16, got {gaps!r}")
    changes = {"learning_rate": learning_rate, "kl_weight": kl_weight, "ewc_weight": ewc_weight}
    chosen = tuple(dict.fromkeys(int(gap) for gap in gaps.split(",") if gaps))
    setting = sleep.Setting(changes, sequences, chosen, checkpoint)
    tracks = []
    found = Run.open(run)
    for kind, gated in product(wanted, (False, True)):
        with _progress(f"{kind}, {'gated' if gated else 'no gate'}") as progress:
            slept = partial(_advance, progress, progress.add_task(kind, total=sleeps))
            tracks.append(sleep.follow(found, kind, gated, sleeps, setting, slept))
    header, *rows = sleep.table(tracks)
    _show(header, rows, sleep.findings(tracks))
    if json_file is not None:
        circumstances = {"run": found.path.name, "experiment": found.spec.name, **asdict(setting)}
        json_file.write_text(sleep.as_json(tracks, circumstances), encoding="utf-8")
    if picture is not None:
        sleep.draw(tracks, picture)


@app.command("facts")
def of_facts(
    runs: Annotated[list[Path], typer.Argument(help="The folders of trained hybrids on a task, one a seed.")],
    facts_a_day: Annotated[int, typer.Option("--facts", min=1, help="Facts before the single sleep.")] = 96,
    sleeps: Annotated[int, typer.Option(min=1, help="Sleeps in a row.")] = 10,
    facts_a_sleep: Annotated[int, typer.Option(min=1, help="New facts before each of them.")] = 32,
    features: Annotated[int, typer.Option(min=1, help="Of the slow store.")] = ProductStore().features,
    capacity: Annotated[str, typer.Option(help="Features and numbers of facts: A,B/C,D; the capacity of each.")] = (
        "1024,2048,4096/96,192,320,480,640"
    ),
    checkpoint: Annotated[str, typer.Option(help="Which of the runs' checkpoints sleeps.")] = "best",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write every figure as JSON.")] = None,
) -> None:
    """What of a day's facts is answered once the memory is wiped, after every kind of sleep and after many sleeps."""
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*/[1-9]\d*(,[1-9]\d*)*", capacity):
        raise typer.BadParameter(f"--capacity must be numbers with commas on both sides of a /, got {capacity!r}")
    sizes, counts = (tuple(int(number) for number in part.split(",")) for part in capacity.split("/"))
    plan = facts.Plan(facts_a_day, sleeps, facts_a_sleep, sizes, counts)
    store, console = ProductStore(features=features), Console(stderr=True)
    found = []
    for run in map(Run.open, runs):
        print_errors = partial(_reported, console, run.path.name)
        found.append(facts.everything(run, checkpoint, store, ConsolidateSleep(), plan, print_errors))
    for title, (header, *rows) in facts_table.tables(found).items():
        print(f"\n{title}")
        print_table(header, rows)
    print("", *facts_table.findings(found), sep="\n")
    if json_file is not None:
        json_file.write_text(json.dumps({"plan": asdict(plan), "runs": found}, indent=1) + "\n", encoding="utf-8")


def _reported(console: Console, run: str, what: str) -> None:
    console.print(f"{run}: {what}")


def _progress(title: str) -> Progress:
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def _advance(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)


def _show(header: Sequence[str], rows: Iterable[Sequence[str]], findings: Sequence[str]) -> None:
    """The table and the findings from it."""
    print_table(header, rows)
    print("", *findings, sep="\n")


def _write_section(page: Path, study: str, seeds: int, table: list[tuple[str, ...]], findings: list[str]) -> None:
    """Replace what stands between the study's two marks."""
    header, *rows = table
    lines = [
        f"    cortexzoo study {study} --seeds {seeds} --docs docs",
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
