"""The programs of `cortexzoo bench` that have options of their own: campaigns, and what needs a run or a card."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.bench import corpus_memory, flakiness, gpu, kills, recall_curve
from cortexzoo.harness.bench.recall_plot import draw_recall
from cortexzoo.harness.checking.effort import PROFILES
from cortexzoo.harness.cli.docs_command import replaced
from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.options import JsonOption
from cortexzoo.harness.cli.output import print_table, print_text, require_folder_of, write_json

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command("corpus-memory")
def of_corpus_memory(
    gigabytes: Annotated[float, typer.Option(min=0.001, help="Size of the generated text.")] = 2.0,
    steps: Annotated[int, typer.Option(min=1, help="Steps of training on it.")] = 50,
    json: JsonOption = None,
) -> None:
    """Measure the memory of training on a corpus of gigabytes.

    A text is generated, prepared as bytes and trained on; printed is the most memory that was resident in each stage.
    """
    require_folder_of(json)
    found = corpus_memory.measured(gigabytes, steps)
    print_table(("figure", "value"), [(name.replace("_", " "), f"{value:.3f}") for name, value in found.items()])
    write_json(json, found)


@app.command("flakiness")
def of_flakiness(
    run: Annotated[
        str, typer.Argument(metavar="RUN|NAME", help="A run folder or a shipped experiment.")
    ] = "cortexgpt-stable",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 … N − 1 of the search.")] = 20,
    examples: Annotated[int, typer.Option(min=0, help="Cases of each property and seed.")] = PROFILES["ci"].examples,
    json: JsonOption = None,
) -> None:
    """Check a run with many seeds of the search.

    Exit code 1 when a verdict is unexpected for some seed.
    """
    require_folder_of(json)
    records = flakiness.records_of(run, range(seeds), examples)
    print_table(("property", "expected", "verdicts", "cases", "least margin"), flakiness.rows(records))
    wrong = {name: record for name, record in records.items() if record.unexpected}
    for name, record in wrong.items():
        for judgement in record.unexpected:
            print_text(f"{name}, seed {judgement.seed}: {judgement.verdict}: {judgement.reason} {dict(judgement.case)}")
    print_text(f"{len(records) - len(wrong)} of {len(records)} properties are as expected with all {seeds} seeds")
    write_json(json, flakiness.as_json(records))
    raise typer.Exit(int(bool(wrong)))


@app.command("gpu")
def of_gpu(
    page: Annotated[Path | None, typer.Option(help="Also write the figures into this Markdown page.")] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Limit of each training.")] = gpu.MOST_SECONDS,
    logs: Annotated[Path | None, typer.Option(help="Keep the trainings and their output in this folder.")] = None,
    short: Annotated[bool, typer.Option("--short", help="Trainings of 20 steps: whether all of it runs.")] = False,
    json: JsonOption = None,
) -> None:
    """Run everything that needs a GPU, and write a page about it.

    Exit code 1 where something is out of its bound.
    """
    require_folder_of(json)
    require_folder_of(page, "--page")
    if not gpu.is_there():
        raise BadInput("cortexzoo bench gpu: needs a GPU: torch.cuda.is_available() is false")
    written = page.read_text(encoding="utf-8") if page is not None and page.is_file() else gpu.EMPTY_PAGE
    if not all(mark in written for mark in gpu.MARKS):
        raise BadInput(f"--page {page}: must have the marks {' … '.join(gpu.MARKS)}, between which the tables go")
    rows = []
    for row in gpu.rows(seconds, logs, short):
        rows.append(row)
        print_text("  ".join(({True: "ok ", False: "BAD", None: "   "}[row.fine], row.section, row.what, row.seen)))
    if page is not None:
        page.write_text(replaced(written, "gpu", lambda: gpu.tables(rows)), encoding="utf-8")
    write_json(json, [asdict(row) for row in rows])
    raise typer.Exit(int(any(row.fine is False for row in rows)))


@app.command("kills")
def of_kills(
    count: Annotated[int, typer.Option("--kills", min=1, help="Kills, each of a training of its own.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the random moments.")] = 0,
    json: JsonOption = None,
) -> None:
    """Kill training at random moments, resume it, and compare.

    Exit code 1 when a resumed run differs from the undisturbed one.
    """
    require_folder_of(json)
    with tempfile.TemporaryDirectory() as folder:
        outcomes = kills.run(count, seed, Path(folder), print_text)
    equal = sum(not outcome.differing for outcome in outcomes)
    halves = sum(outcome.partial for outcome in outcomes)
    print_text(f"{equal} of {count} resumed runs end bitwise equal; {halves} kills left a half-written checkpoint")
    write_json(json, [asdict(outcome) for outcome in outcomes])
    raise typer.Exit(int(equal < count))


@app.command("recall-curve")
def of_recall_curve(
    runs: Annotated[list[Path], typer.Argument(help="Finished runs of a hybrid, such as several seeds.")],
    gaps: Annotated[str, typer.Option(help="Gaps in chunks, separated by commas.")] = recall_curve.GAPS,
    documents: Annotated[int, typer.Option(min=1, help="Documents at each gap.")] = 8,
    causes: Annotated[bool, typer.Option(help="Also with each cause of forgetting taken away.")] = True,
    checkpoint: Annotated[str, typer.Option(metavar="best|last|step-N")] = "last",
    plot: Annotated[Path | None, typer.Option(help="Where the picture goes.")] = None,
    json: JsonOption = None,
) -> None:
    """Measure recall of trained hybrids over long gaps.

    The gaps are far beyond those trained on; each cause of forgetting is taken away in turn, to show what limits it.
    """
    require_folder_of(json)
    require_folder_of(plot, "--plot")
    asked = recall_curve.chunks_of(gaps)
    curve = recall_curve.measured(runs, asked, documents, causes=causes, checkpoint=checkpoint, report=print_text)
    print_table(("gap, chunks", "tokens", *curve.recall), curve.rows(asked))
    print_text(f"{curve.tokens_a_second:,.0f} tokens per CPU second (median)")
    if plot is not None:
        title = f"{curve.name}: answers right, {len(runs)} seeds × {documents} documents"
        draw_recall(plot, curve.recall, curve.chunk, title=title)
    write_json(json, {"chunk": curve.chunk, "documents": documents, "recall": curve.recall})
