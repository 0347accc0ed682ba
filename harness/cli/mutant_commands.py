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
    limit: Annotated[
        float,
        typer.Option(
            "--seconds",
            metavar="S",
            min=1,
            help="With --generated: CPU seconds in which properties are tried on a change.",
        ),
    ] = 60.0,
    tests: Annotated[
        Path | None,
        typer.Option(
            "--tests", metavar="DIR", help="With --generated: also try the tests in DIR on what no property catches."
        ),
    ] = None,
) -> None:
    """Plant known defects and show which property catches each.

    Each mutant is a healthy model with one defect. Exit code 0: every mutant is caught; 1: one survives, or,
    with --generated, nothing reaches it.

    With --generated each is one small change to the source of zoo: a flipped comparison, a dropped term, a skipped
    statement. Only the properties that reach the changed line are tried, the quickest first, for --seconds a change;
    with --tests, on what they do not catch, the unit tests that reach it, for 60 s. Which properties reach the lines of
    the sample is measured first. An interrupted campaign continues where it was; results lie in RUNS/generated-mutants.

    Example: cortexzoo mutants --only mask-after-exp
    """
    os.environ["CORTEXZOO_KERNELS"] = "0"  # the defects are in the source, which a compiled kernel would stand in for
    if generated:
        if only or list_only:
            raise BadInput("--generated takes its own changes: leave out --only and --list, or choose with --seed")
        _generated(count, seed, jobs, limit, runs, tests, json_file)
    if tests is not None:
        raise BadInput("--tests goes with --generated: properties alone are asked of the written mutants")
    from rich.progress import Progress

    from cortexzoo.harness.checking.mutants.library import MUTANTS
    from cortexzoo.harness.regression.mutation_score import as_json, score

    without_foreign_warnings()
    require_folder_of(json_file)
    names = {name for mutant in MUTANTS for name in (mutant.name, mutant.host)}
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


def _generated(
    count: int, seed: int, jobs: int, limit: float, runs: Path, tests: Path | None, json_file: Path | None
) -> NoReturn:
    from rich.progress import Progress

    from cortexzoo.harness.checking.mutants.generated import sample
    from cortexzoo.harness.regression.equivalent import reason_of
    from cortexzoo.harness.regression.generated_score import as_json, campaign, place_of
    from cortexzoo.harness.regression.generated_tests import campaign_of_tests, missing_packages

    without_foreign_warnings()
    require_folder_of(json_file)
    if tests is not None and not tests.is_dir():
        raise BadInput(f"--tests {tests}: no such folder; in a checkout of cortexzoo it is tests")
    if tests is not None and (missing := missing_packages()):
        raise BadInput(f"--tests needs {', '.join(missing)}: install cortexzoo[dev]")
    drawn = sample(count, seed)
    sites = [site for site in drawn if reason_of(site) is None]
    equivalent = {site.name: reason for site in drawn if (reason := reason_of(site))}
    folder = runs / "generated-mutants"
    with Progress(console=standard_error()) as progress:
        bars = {stage: progress.add_task(stage, total=None) for stage in ("reach", "properties")}
        results = campaign(
            sites, folder, runs, jobs, limit,
            lambda stage, done, total: progress.update(bars[stage], completed=done, total=total),
        )  # fmt: skip
        missed = [site for site, result in zip(sites, results, strict=True) if not result.is_caught]
        tested = {}
        if tests is not None and missed:
            task = progress.add_task("tests", total=len(missed))
            found = campaign_of_tests(
                missed, place_of(folder), tests, jobs, lambda done: progress.update(task, completed=done)
            )
            tested = {result.site: result for result in found}
    rows: list[tuple[str, str, str]] = [
        (r.site, r.fate, r.by or (f"{t.fate}: {t.by}" if (t := tested.get(r.site)) else "")) for r in results
    ]
    rows += [(name, "equivalent", reason) for name, reason in equivalent.items()]
    print_table(("change", "fate", "caught by"), rows)
    by_property = len(results) - len(missed)
    reached = [result for result in results if result.fate != "not reached"]
    print_text(f"{len(equivalent)} of {len(drawn)} changes are equivalent and not counted")
    print_text(f"by properties alone: {by_property} of {len(results)} caught ({_share(by_property, len(results))})")
    print_text(f"of the {len(reached)} that a property reaches: {_share(by_property, len(reached))}")
    caught = by_property + sum(result.is_caught for result in tested.values())
    if tests is not None:
        print_text(f"with the tests in {tests}: {caught} of {len(results)} caught ({_share(caught, len(results))})")
    write_json(json_file, as_json(count, seed, results, tested, equivalent))
    raise typer.Exit(OK if caught == len(results) else UNEXPECTED_VERDICT)


def _share(part: int, whole: int) -> str:
    return f"{part / max(1, whole):.1%}"
