"""The command that plants defects and counts which are caught."""

import difflib
import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT, BadInput
from cortexzoo.harness.cli.options import RUNS, JsonOption, RunsOption
from cortexzoo.harness.cli.output import (
    print_table,
    print_text,
    require_folder_of,
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
    list_only: Annotated[bool, typer.Option("--list", help="Print the mutants and plant none.")] = False,
    generated: Annotated[
        bool, typer.Option("--generated", help="Change the source of zoo by machine instead of planting known defects.")
    ] = False,
    count: Annotated[
        int, typer.Option("--sample", metavar="N", min=1, help="With --generated: how many changes.")
    ] = 20,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=0, help="With --generated: which changes.")] = 0,
) -> None:
    """Plant known defects and show which property catches each.

    Each mutant is a healthy model with one defect. Exit code 0: every mutant is caught; 1: one survives.

    With --generated each is one small change to the source of zoo: a flipped comparison, a dropped term, a skipped
    statement. Only the properties that reach the changed line are tried, the quickest first, up to 60 s for each. An
    interrupted campaign continues where it was; results lie in RUNS/generated-mutants.

    Example: cortexzoo mutants --only mask-after-exp
    """
    os.environ["CORTEXZOO_KERNELS"] = "0"  # the defects are in the source, which a compiled kernel would stand in for
    if generated:
        if only or list_only:
            raise BadInput("--generated takes its own changes: leave out --only and --list, or choose with --seed")
        _generated(count, seed, jobs, runs, json_file)
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
    if list_only:
        print_table(("host", "mutant", "defect"), [(mutant.host, mutant.name, mutant.defect) for mutant in chosen])
        print_text(f"{len(chosen)} mutants")
        raise typer.Exit(OK)
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
        if failed := ", ".join(f"{j.name} ({j.verdict})" for j in healthy.judgements if j.verdict in ("fail", "error")):
            print_text(f"the healthy {host} fails: {failed}")
    if not only and result.idle:
        print_text(f"properties that catch nothing: {', '.join(result.idle)}")
    survivors = len(result.survivors)
    print_text(f"mutation score: {len(rows) - survivors} of {len(rows)} caught ({1 - survivors / len(rows):.0%})")
    write_json(json_file, as_json(result))
    raise typer.Exit(UNEXPECTED_VERDICT if survivors else OK)


def _generated(count: int, seed: int, jobs: int, runs: Path, json_file: Path | None) -> NoReturn:
    from dataclasses import asdict

    from rich.progress import Progress

    from cortexzoo.harness.checking.mutants.generated import sample
    from cortexzoo.harness.regression.generated_score import campaign

    without_foreign_warnings()
    require_folder_of(json_file)
    sites = sample(count, seed)
    with Progress(console=standard_error()) as progress:
        task = progress.add_task("mutants", total=len(sites))
        results = campaign(
            sites, runs / "generated-mutants", runs, jobs, lambda done: progress.update(task, completed=done)
        )
    alive = [result for result in results if result.fate in ("survives", "not reached")]
    print_table(("change", "fate", "caught by"), [(r.site, r.fate, r.by) for r in results])
    reached = [result for result in results if result.fate != "not reached"]
    caught = len(results) - len(alive)
    print_text(f"mutation score: {caught} of {len(results)} caught ({caught / len(results):.0%})")
    print_text(f"of the {len(reached)} that a property reaches: {caught / max(1, len(reached)):.0%}")
    write_json(json_file, {"sample": count, "seed": seed, "results": [asdict(result) for result in results]})
    raise typer.Exit(UNEXPECTED_VERDICT if alive else OK)
