"""The drill. Everything heavy is imported inside the command."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT
from cortexzoo.harness.cli.options import (
    RUNS,
    JobsOption,
    JsonOption,
    Overrides,
    RecipeOption,
    RunsOption,
    SeedOption,
    SetOption,
    SpecArgument,
)
from cortexzoo.harness.cli.output import (
    print_table,
    print_text,
    require_folder_of,
    without_foreign_warnings,
    write_json,
)
from cortexzoo.specs import load

if TYPE_CHECKING:
    from cortexzoo.harness.studies.drill_run import DrillResult


def drill(
    spec: SpecArgument,
    recipe: RecipeOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    faults: Annotated[
        str, typer.Option("--faults", metavar="NAME|FILE", help="The faults to inject; see `cortexzoo list faults`.")
    ] = "every-fault",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="FAULT", help="Only the fault of this name. Repeatable.")
    ] = None,
    guards: Annotated[
        Literal["on", "off"],
        typer.Option("--guards", metavar="on|off", help="off: no gates, clipping, spike detection or recovery."),
    ] = "on",
    runs: RunsOption = RUNS,
    jobs: JobsOption = 2,
    json_file: JsonOption = None,
) -> None:
    """Inject each fault into a short run and judge the response.

    Exit code 0: every response was the expected one; 1: at least one was not. With --guards off each fault must do the
    expected harm instead.

    Example: cortexzoo drill cortexgpt-stable --recipe robust
    """
    from cortexzoo.harness.cli.study_progress import runs_progress
    from cortexzoo.harness.studies.drill import CONTROL, as_json, chosen, drilled, judged
    from cortexzoo.harness.studies.drill import drill as run_all

    without_foreign_warnings()
    require_folder_of(json_file)
    wanted = chosen(load(faults, "faults"), only or ())
    guarded = guards == "on"
    experiment = drilled(spec, Overrides(recipe=recipe, seed=seed).changes(), sets or (), guards=guarded)
    outcomes = {}
    with runs_progress("drill") as done:
        for name, outcome in run_all(experiment, wanted, runs / "drills", guards=guarded, jobs=jobs):
            outcomes[name] = outcome
            done(len(outcomes), len(wanted) + 1)
    control = outcomes[CONTROL]
    rows = judged(wanted, outcomes, experiment, guards=guarded)
    declared = "expected" if guarded else "must harm"
    print_table(
        ("fault", declared, "response", "steps lost", "final loss", "against control", "finite", "verdict"),
        [
            (CONTROL, "", control.acted, str(control.steps_lost), _final(control), "", _yes(control.finite), ""),
            *(
                (
                    row.name,
                    row.expected if guarded else _yes(row.fault.harms),
                    row.outcome.acted,
                    str(row.outcome.steps_lost),
                    _final(row.outcome),
                    row.against(control),
                    _yes(row.outcome.finite),
                    row.verdict if not row.reason else f"{row.verdict}: {row.reason}",
                )
                for row in rows
            ),
        ],
    )
    failed = [row.name for row in rows if row.verdict == "not met"]
    skipped = sum(row.verdict == "skipped" for row in rows)
    print_text(
        f"\n{len(rows) - len(failed) - skipped} of {len(rows)} faults handled as expected"
        + (f", {skipped} not applicable" if skipped else "")
        + (f"; not as expected: {', '.join(failed)}" if failed else "")
    )
    write_json(json_file, as_json(rows, control))
    raise typer.Exit(UNEXPECTED_VERDICT if failed else OK)


def _final(outcome: "DrillResult") -> str:
    return "–" if outcome.final_loss is None else f"{outcome.final_loss:.3f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
