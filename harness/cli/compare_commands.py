"""Commands that compare runs, in the terminal and in a report. Everything heavy is imported inside them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cortexzoo.harness.cli.aim_commands import AIM_PORT, show_in_aim
from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT, BadInput
from cortexzoo.harness.cli.options import (
    RUNS,
    DataOption,
    JobsOption,
    JsonOption,
    Overrides,
    RecipeOption,
    RunsOption,
    SetOption,
)
from cortexzoo.harness.cli.output import (
    console,
    print_table,
    print_text,
    require_folder_of,
    standard_error,
    without_foreign_warnings,
    write_json,
)

if TYPE_CHECKING:
    from cortexzoo.harness.runs.run_folder import Run
    from cortexzoo.harness.studies.comparison.contenders import Contender
    from cortexzoo.harness.studies.comparison.result import Comparison
    from cortexzoo.harness.studies.sweep import SweepCell


def compare(
    targets: Annotated[
        list[str], typer.Argument(metavar="NAME|FILE|RUN…", help="Two or more experiments or finished runs.")
    ],
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="N", min=1, help="Seeds 0 … N − 1 of every experiment.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", min=1, help="Short for --set recipe.steps=N.")
    ] = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    sets: SetOption = None,
    jobs: JobsOption = 2,
    runs: RunsOption = RUNS,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Check the properties of runs without a verdict.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="The folder of the report; default: RUNS/comparisons/….")
    ] = None,
    allow_different: Annotated[
        bool, typer.Option("--allow-different", help="Compare even if data, steps or seeds differ.")
    ] = False,
    print_link: Annotated[
        bool, typer.Option("--print-link", help="Copy the runs into Aim and print a link to them.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--open", help="Copy the runs into Aim, start its server here and open it.")
    ] = False,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=1, max=65535, help="The port of Aim's server.")
    ] = AIM_PORT,
    json_file: JsonOption = None,
) -> None:
    """Compare experiments or runs, and write a report.

    Missing runs are trained on the same text in the same order for the same number of steps. Finished runs are reused
    and unfinished ones resumed, so an interrupted comparison continues. The report shows which is more stable, at what
    cost, and which spec values differ. Exit code 0: all verdicts as expected; 1: at least one is not.

    Example: cortexzoo compare cortexgpt-original cortexgpt-stable --seeds 3
    """
    from cortexzoo.harness.runs.find import is_latest, run_path
    from cortexzoo.harness.runs.manifest import command_line
    from cortexzoo.harness.studies.comparison.comparing import compared, folder_of
    from cortexzoo.harness.studies.comparison.contenders import contenders as take_part
    from cortexzoo.harness.studies.comparison.fairness import differences, require_equal
    from cortexzoo.harness.studies.comparison.report import write_report
    from cortexzoo.harness.tracking.aim.server import require_free
    from cortexzoo.harness.tracking.jsonl import to_json_value

    without_foreign_warnings()
    require_folder_of(json_file)
    if show:
        require_free(port)
    short = [f"recipe.steps={steps}"] if steps is not None else []
    named = [str(run_path(target, runs)) if is_latest(target) else target for target in targets]
    contenders = take_part(named, seeds, [*Overrides(recipe=recipe, data=data).changes(), *short, *(sets or ())])
    require_equal(differences(contenders), allow_different)
    made = _make(contenders, runs, jobs, check=check)
    comparison = compared(contenders, made, command=command_line(), allow_different=allow_different)
    _print(comparison)
    folder = out or folder_of(comparison, runs)
    report = write_report(comparison, folder)
    print_text(f"\nreport: {report}")
    write_json(json_file, to_json_value(comparison.as_json()))
    if print_link or show:
        show_in_aim(comparison, port, show=show)
    raise typer.Exit(UNEXPECTED_VERDICT if comparison.unexpected else OK)


def sweep(
    matrix: Annotated[str, typer.Argument(metavar="NAME|FILE", help="A matrix spec (see `cortexzoo list matrix`).")],
    jobs: JobsOption = 2,
    runs: RunsOption = RUNS,
    executor: Annotated[
        Literal["local", "slurm"] | None,
        typer.Option("--executor", help="Train each run as a job of submitit: on this machine, or by Slurm."),
    ] = None,
    job: Annotated[
        list[str] | None,
        typer.Option(
            "--job", metavar="KEY=VALUE", help="With --executor: an option of submitit, as in slurm_partition=gpu."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the runs without training them.")] = False,
    json_file: JsonOption = None,
) -> None:
    """Train every combination of a matrix and show one table.

    A matrix lists variants, recipes, seeds and other values. Finished runs in --runs are reused and unfinished ones
    resumed, so an interrupted sweep continues.

    Example: cortexzoo sweep variants-and-recipes --dry-run
    """
    from cortexzoo.harness.cli.progress import steps_progress
    from cortexzoo.harness.parallel.slurm import Scheduler, option
    from cortexzoo.harness.studies.comparison.making import not_ended
    from cortexzoo.harness.studies.comparison.measures import with_unit_of
    from cortexzoo.harness.studies.comparison.progress import StepsTaken
    from cortexzoo.harness.studies.sweep import SHOWN, load_matrix
    from cortexzoo.harness.studies.sweep import sweep as train_all
    from cortexzoo.harness.tracking.jsonl import to_json_value

    without_foreign_warnings()
    require_folder_of(json_file)
    spec, cells = load_matrix(matrix)
    axes = [path for path, _ in cells[0].coordinates]
    experiments = [experiment for cell in cells for experiment in cell.experiments]
    if job and executor is None:
        raise BadInput(f"--job {job[0]}: requires --executor")
    scheduler = None if executor is None else Scheduler(executor, dict(option(text) for text in job or ()))
    left = not_ended(experiments, runs)
    taken = StepsTaken(runs, left)
    print_text(
        f"{spec.name}: {len(cells)} combinations × {len(spec.seeds)} seeds, {_to_train(len(left), taken.to_go_on)}"
    )
    if dry_run:
        print_table((*axes, "spec hashes"), [_dry(cell) for cell in cells])
        return
    with steps_progress("sweep", taken) as done:
        rows = train_all(cells, runs, jobs, done, scheduler)
    records = [record for row in rows for record in row.records]
    shown = [with_unit_of(records, measure) for measure in SHOWN]
    columns = (*axes, *(f"{measure.name} ({measure.unit})" if measure.unit else measure.name for measure in shown))
    print_table(columns, [(*(value for _, value in row.cell.coordinates), *row.texts()) for row in rows])
    write_json(json_file, to_json_value({"matrix": spec.name, "rows": [row.as_json() for row in rows]}))


def _to_train(count: int, begun: int) -> str:
    """`3 runs to train, 1 of them from its checkpoint`."""
    text = f"{count} run{'s' * (count != 1)} to train"
    return f"{text}, {begun} of them from {'its' if begun == 1 else 'their'} checkpoint" if begun else text


def _dry(cell: "SweepCell") -> tuple[str, ...]:
    hashes = [experiment.hash() for experiment in cell.experiments]
    return (*(value for _, value in cell.coordinates), " ".join(hashes))


def _make(contenders: "Sequence[Contender]", runs: Path, jobs: int, *, check: bool) -> "list[list[Run]]":
    """Train and check what is missing, with one progress display."""
    from rich.status import Status

    from cortexzoo.harness.cli.progress import steps_progress
    from cortexzoo.harness.studies.comparison.making import check_missing, missing, trained_runs, unchecked
    from cortexzoo.harness.studies.comparison.progress import StepsTaken

    left = missing(contenders, runs)
    if left:
        taken = StepsTaken(runs, left)
        print_text(f"{_to_train(len(left), taken.to_go_on)}, {jobs} at a time")
        with steps_progress("training", taken) as done:
            made = trained_runs(contenders, runs, jobs, done)
    else:
        made = trained_runs(contenders, runs, jobs, lambda _: None)
    everything = [run for side in made for run in side]
    if check and (count := len(unchecked(everything))):
        with Status(f"checking {count} runs", console=standard_error()) as status:
            check_missing(everything, jobs, status.update)
    return made


def _print(comparison: "Comparison") -> None:
    from cortexzoo.harness.studies.comparison.tables import difference_rows, measure_rows, verdict_rows

    labels = [result.label for result in comparison.contenders]
    out = console()
    print_table(("", *labels, ""), measure_rows(comparison))
    if comparison.properties:
        out.print()
        print_table(("property", *labels), verdict_rows(comparison))
    out.print()
    print_table(("spec value", *labels), difference_rows(comparison))
    out.print()
    for line in comparison.in_words():
        print_text(line)
