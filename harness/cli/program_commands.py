"""`cortexzoo study NAME`, and what `cortexzoo bench` has besides benchmarks: programs with options of their own."""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.output import print_table, without_foreign_warnings


@dataclass(frozen=True, slots=True)
class Program:
    """A module with a typer `app` that has the program as a command, and the first line of its help."""

    module: str
    """In `cortexzoo.harness`."""
    summary: str


BENCH_PROGRAMS = {
    "corpus-memory": Program("cli.bench_programs", "Measure the memory of training on a corpus of gigabytes."),
    "flakiness": Program("cli.bench_programs", "Check a run with many seeds of the search."),
    "gpu": Program("cli.bench_programs", "Run everything that needs a GPU, and write a page about it."),
    "kills": Program("cli.bench_programs", "Kill training at random moments, resume it, and compare."),
    "long-life": Program("cli.long_programs", "Train, check, sleep and compare in one process for a long time."),
    "long-record": Program("cli.long_programs", "Read a run of a million steps with monitor and compare."),
    "recall-curve": Program("cli.bench_programs", "Measure recall of trained hybrids over long gaps."),
}
STUDIES = {
    "almanac": Program("cli.study_programs", "Facts that were never trained on, answered 10,000 bytes later."),
    "architectures": Program("cli.architecture_study", "Tiny models of transformers, checked one after the other."),
    "consolidation": Program("cli.study_programs", "Measure what CortexGPT answers of a day before and after it."),
    "continual": Program("cli.study_programs", "Measure what is forgotten of a text while another is learned."),
    "detection": Program("cli.detection_study", "Modules with a known defect, and healthy ones: caught, accused."),
    "distractors": Program("cli.study_programs", "Measure recall of hybrids with each filler in the gap; capacity."),
    "facts": Program("cli.study_programs", "Measure how many facts remain after each kind of sleep."),
    "learning": Program("cli.study_programs", "Train every variant with several seeds; compare with n-gram counts."),
    "recall": Program("cli.study_programs", "Measure recall of hybrids over gaps, against controls."),
    "sleep": Program("cli.study_programs", "Let a trained run sleep many times in a row, with every kind of dreams."),
    "tasks": Program("cli.study_programs", "Train a small hybrid on every task that is not plain pairs."),
    "worth": Program("cli.study_programs", "Measure what each memory of cortexgpt-stable is worth; write the record."),
    "swings": Program("cli.study_programs", "Measure how much the loss of each recipe swings."),
}
NameArgument = Annotated[
    str | None, typer.Argument(metavar="[NAME]", help="Which; without it, all are listed.", show_default=False)
]


def bench_program(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of the programs.", show_default=False)],
) -> None:
    """Run a measurement that has options of its own: `cortexzoo bench NAME --help` shows them.

    Example: cortexzoo bench kills --kills 5
    """
    _run("bench", BENCH_PROGRAMS, name, context.args)


def study(
    context: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One of the studies.", show_default=False)
    ] = None,
) -> None:
    """Repeat a study of the documentation.

    Missing runs are trained, and the table is printed. Without NAME, the studies are listed; `cortexzoo study NAME
    --help` shows the options of one.

    Example: cortexzoo study learning --seeds 3
    """
    _run("study", STUDIES, name, context.args)


def _run(command: str, programs: dict[str, Program], name: str | None, arguments: list[str]) -> None:
    if name is None:
        print_table(("name", "what it does"), [(each, program.summary) for each, program in programs.items()])
        return
    if name not in programs:
        near = get_close_matches(name, programs, n=1)
        hint = f"did you mean {near[0]}?" if near else f"must be one of {', '.join(programs)}"
        raise BadInput(f"cortexzoo {command} {name}: no such {command}: {hint}")
    without_foreign_warnings()
    app = import_module(f"cortexzoo.harness.{programs[name].module}").app
    code = app([name, *arguments], prog_name=f"cortexzoo {command}", standalone_mode=False)
    raise typer.Exit(code if isinstance(code, int) else 0)
