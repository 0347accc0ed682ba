"""The command that plants defects and counts which are caught."""

import difflib
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT, BadInput
from cortexzoo.harness.cli.options import RUNS, JsonOption, RunsOption
from cortexzoo.harness.cli.output import (
    print_table,
    require_folder_of,
    say,
    standard_error,
    without_foreign_warnings,
    write_json,
)


def mutants(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this mutant, or host. Repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Number of processes, one thread each.")] = 2,
    runs: RunsOption = RUNS,
    json_file: JsonOption = None,
) -> None:
    """Plant known defects and show which property catches each.

    Each mutant is a healthy model with one defect. Exit code 0: every mutant is caught; 1: one survives.

    Example: cortexzoo mutants --only mask-after-exp
    """
    from rich.progress import Progress

    from cortexzoo.harness.checking.mutants.library import MUTANTS
    from cortexzoo.harness.regression.mutation_score import HOSTS, as_json, score

    without_foreign_warnings()
    require_folder_of(json_file)
    names = {*HOSTS, *(mutant.name for mutant in MUTANTS)}
    for wanted in only or ():
        if wanted not in names:
            nearest = difflib.get_close_matches(wanted, names, n=1)
            raise BadInput(
                f"--only {wanted}: no such mutant or host" + (f": did you mean {nearest[0]}?" if nearest else "")
            )
    chosen = [mutant for mutant in MUTANTS if not only or mutant.name in only or mutant.host in only]
    with Progress(console=standard_error()) as progress:
        task = progress.add_task("mutants", total=None)
        result = score(chosen, runs, jobs, lambda done, total: progress.update(task, completed=done, total=total))
    defects = {mutant.name: mutant.defect for mutant in chosen}
    rows = []
    for outcome in result.outcomes:
        caught = ", ".join(j.name + " (error)" * (j.verdict == "error") for j in result.caught_by(outcome))
        rows.append((outcome.host, outcome.mutant or "", defects[outcome.mutant or ""], caught or "survives"))
    print_table(("host", "mutant", "defect", "caught by"), rows)
    for host, healthy in result.healthy.items():
        if told := ", ".join(f"{j.name} ({j.verdict})" for j in healthy.judgements if j.verdict in ("fail", "error")):
            say(f"the healthy {host} fails: {told}")
    if not only and result.idle:
        say(f"properties that catch nothing: {', '.join(result.idle)}")
    survivors = len(result.survivors)
    say(f"mutation score: {len(rows) - survivors} of {len(rows)} caught ({1 - survivors / len(rows):.0%})")
    write_json(json_file, as_json(result))
    raise typer.Exit(UNEXPECTED_VERDICT if survivors else OK)
