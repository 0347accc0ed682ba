"""The command that attacks the others with hostile input, and count what got through."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cortexzoo.harness.cli.check_commands import parse_time
from cortexzoo.harness.cli.errors import INTERRUPTED, OK, UNEXPECTED_VERDICT, BadInput
from cortexzoo.harness.cli.options import RUNS, JsonOption, RunsOption
from cortexzoo.harness.cli.output import (
    print_table,
    print_text,
    require_folder_of,
    standard_error,
    without_foreign_warnings,
    write_json,
)
from cortexzoo.harness.cli.running import exit_code
from cortexzoo.specs.plain_text import one_line

if TYPE_CHECKING:
    from cortexzoo.harness.fuzzing.campaign import Command, Report

SHOWN = 10
LONGEST_ROW = 160
IN_PROCESSES = ("specs", "checkpoints")
EVERY = 60.0
"""Seconds between two lines of progress where there is no terminal."""


def fuzz(
    context: typer.Context,
    campaign: Annotated[
        Literal["specs", "edges", "checkpoints", "modules", "kills", "disk"],
        typer.Argument(
            help="specs: mutated spec files and overrides; edges: valid specs at the edges of their ranges; "
            "checkpoints: damaged run folders; modules: hostile modules; "
            "kills: training that is killed in its system calls; disk: disks and limits that fail."
        ),
    ],
    cases: Annotated[int, typer.Option("--cases", metavar="N", min=1, help="The number of cases.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="Equal seeds give equal cases.")] = 0,
    runs: RunsOption = RUNS,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="RUN", help="With checkpoints: the finished and checked run that is damaged."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="TIME", help="End after this time, as in 60s or 30m.")
    ] = None,
    processes: Annotated[
        bool,
        typer.Option("--processes", help="With specs and checkpoints: each command in a process of its own."),
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Attack the commands with hostile input and count what breaks.

    The commands run in this process, which saves the imports, or with `--processes` as users start them; the
    other campaigns have processes of their own. Every case must end with a documented exit code, in bounded
    time, with a few plain lines and no traceback. Exit code 0: all do; 1: at least one does not. An interrupted
    campaign prints what it has found.

    Example: cortexzoo fuzz specs --cases 1000 --seed 0
    Example: cortexzoo fuzz checkpoints --run runs/cortexgpt-stable/20250101-120000-000-abcd --cases 100
    """
    from cortexzoo.harness.fuzzing import disk, edge_specs, kills, module_attacks, run_damage, spec_mutations
    from cortexzoo.harness.fuzzing.campaign import Rules, attacked, in_a_process_of_its_own

    without_foreign_warnings()
    require_folder_of(json_file)
    if processes and campaign not in IN_PROCESSES:
        raise BadInput(f"--processes: is for specs and checkpoints; {campaign} has processes of its own already")
    seconds = inf if budget is None else parse_time(budget)
    with tempfile.TemporaryDirectory() as name, _progress(cases) as show:
        folder, watch = Path(name), _Watch(seconds, show)
        entry = in_a_process_of_its_own if processes else _entry(context)
        try:
            if campaign == "specs":
                lines = spec_mutations.cases(seed, cases, folder)
                attacked(campaign, seed, lines, entry, Rules(), warm=spec_mutations.WARM, watch=watch)
            elif campaign == "edges":
                edge_specs.attacked(seed, cases, folder, entry, watch)
            elif campaign == "modules":
                module_attacks.attacked(seed, cases, folder, entry, watch)
            elif campaign == "kills":
                kills.attacked(seed, cases, folder, watch)
            elif campaign == "disk":
                disk.attacked(seed, cases, folder, entry, watch)
            else:
                run_damage.attacked(seed, cases, _finished(run, runs), folder, entry, watch)
        except _TimeIsUp:
            pass
        except KeyboardInterrupt:
            if watch.report is not None:
                _reported(watch.report, json_file)
            raise
    if watch.report is None:
        raise BadInput("--budget: too short for the first case")
    raise typer.Exit(_reported(watch.report, json_file))


class _TimeIsUp(Exception):
    """The budget is spent."""


class _Watch:
    """Sees the report after each case, shows it, and ends the campaign in time."""

    def __init__(self, seconds: float, show: "Callable[[Report], None]") -> None:
        self.report: Report | None = None
        self._end, self._show = time.monotonic() + seconds, show

    def __call__(self, report: "Report") -> None:
        self.report = report
        self._show(report)
        if time.monotonic() > self._end:
            raise _TimeIsUp


def _finished(run: Path | None, runs: Path) -> Path:
    from cortexzoo.harness.checking.verdict import VERDICT
    from cortexzoo.harness.runs.find import run_path
    from cortexzoo.harness.runs.run_folder import Run

    path = run_path(run or Path("latest"), runs)
    if not Run.open(path).finished:
        raise BadInput(f"{path}: has not finished: name a finished run with --run")
    if not (path / VERDICT).exists():
        raise BadInput(f"{path}: has no verdict, which `compare` needs: run `cortexzoo check {path}` first")
    return path


def _entry(context: typer.Context) -> "Command":
    """The program's own way from a command line to an exit code."""
    command = context.find_root().command

    def call(arguments: Sequence[str]) -> int:
        code = exit_code(command, arguments, lambda: False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        return code

    return call


@contextmanager
def _progress(cases: int) -> "Iterator[Callable[[Report], None]]":
    """A bar in a terminal, elsewhere a line now and then."""
    from rich.progress import Progress

    console = standard_error()
    shown = time.monotonic()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("attacking", total=cases)

        def show(report: "Report") -> None:
            nonlocal shown
            got_through = f"{len(report.failures)} got through"
            progress.update(task, completed=report.cases, description=f"attacking, {got_through}")
            if not console.is_terminal and time.monotonic() - shown > EVERY:
                shown = time.monotonic()
                console.print(f"{report.name}: {report.cases} of {cases} cases, {got_through}")

        yield show


def _reported(report: "Report", json_file: Path | None) -> int:
    """The counts, the first failures, and the exit code."""
    codes = ", ".join(f"{count} with {code}" for code, count in sorted(report.codes.items()))
    print_text(
        f"{report.name}: {report.cases} cases, seed {report.seed}; ended {codes}; slowest {report.slowest:.1f} s"
    )
    rows = [
        (str(failure["case"]), "; ".join(failure["breaches"]), one_line(" ".join(failure["arguments"]), LONGEST_ROW))
        for failure in report.failures[:SHOWN]
    ]
    if rows:
        print_table(("case", "breach", "command"), rows)
    print_text(f"{len(report.failures)} of {report.cases} broke a rule")
    write_json(json_file, report.as_json())
    return UNEXPECTED_VERDICT if report.failures else OK
