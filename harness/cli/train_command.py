"""The command that trains. Everything heavy is imported inside functions."""

from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import OK, BadInput, lines_and_code
from cortexzoo.harness.cli.options import (
    RUNS,
    JsonOption,
    Overrides,
    RunsOption,
    with_overrides,
)
from cortexzoo.harness.cli.output import require_folder_of, without_foreign_warnings
from cortexzoo.harness.cli.run_commands import checked, resumed, trained, unchecked
from cortexzoo.harness.runs.distributed import is_first, process_count
from cortexzoo.specs import ExperimentSpec, FaultsSpec, SpecError, load, load_experiment

LAST, OLDER = "last", "step-"


@with_overrides
def train(
    spec: Annotated[
        str | None,
        typer.Argument(metavar="[NAME|FILE]", help="An experiment; may be left out with --resume."),
    ] = None,
    *,
    given: Overrides,
    runs: RunsOption = RUNS,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Check the properties of the suite afterwards.")
    ] = True,
    json_file: JsonOption = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Resume this run; `latest` is the newest.")
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option("--checkpoint", metavar="last|step-00000100", help="With --resume: the checkpoint to start from."),
    ] = LAST,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="With --resume: continue with a spec that differs from the run's.")
    ] = False,
    inject: Annotated[
        str | None,
        typer.Option("--inject", metavar="NAME|FILE", help="Inject these faults (see `cortexzoo list faults`)."),
    ] = None,
    on_alert: Annotated[
        str | None,
        typer.Option("--on-alert", metavar="COMMAND", help="Start this program at each alert of the recipe."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train even if the predicted memory is more than this machine has.")
    ] = False,
) -> None:
    """Train an experiment, draw its curves and check its properties.

    A run that was stopped or killed continues with --resume RUN, with the same result as an uninterrupted one.
    Exit code 0: all verdicts as expected; 1: at least one is not.

    Example: cortexzoo train cortexgpt-stable --set recipe.steps=100
    Example: cortexzoo train --resume latest
    """
    from cortexzoo.harness.runs.find import run_path

    without_foreign_warnings()
    require_folder_of(json_file)
    if resume is None:
        if spec is None:
            raise BadInput("train needs an experiment (see `cortexzoo list experiment`) or --resume RUN")
        if allow_changes or checkpoint != LAST:
            raise BadInput(f"{'--allow-changes' if allow_changes else '--checkpoint'} requires --resume RUN")
        experiment = load_experiment(spec, given.changes())
        path = None
    else:
        path = run_path(resume, runs)
        experiment = _resumed_spec(spec, path, given)
        _require_resumable(path, runs, checkpoint, inject)
    command = _alert_command(on_alert, experiment)
    faults = None if inject is None else load(inject, "faults")
    if not is_first():
        raise typer.Exit(_helped(experiment, faults, None if resume is None else checkpoint, allow_changes))
    if path is None:
        run = trained(experiment, runs, faults=faults, force=force, on_alert=command)
    else:
        run = resumed(experiment, path, checkpoint, allow_changes=allow_changes, on_alert=command)
    check = check and process_count() == 1  # the other processes have ended, and checking takes one
    raise typer.Exit(checked(run, "best", json_file) if check else unchecked(run, json_file))


def _alert_command(text: str | None, experiment: ExperimentSpec) -> list[str]:
    """Raises `BadInput` for a command that cannot be started, or never would be."""
    if text is None:
        return []
    from cortexzoo.harness.tracking.alerts import parse_command

    if not experiment.recipe.alerts:
        raise BadInput("--on-alert: the recipe has no alerts: --set 'recipe.alerts=[{when: loss_spikes > 3}]'")
    return parse_command(text)


def _resumed_spec(spec: str | None, path: Path, given: Overrides) -> ExperimentSpec:
    """The run's own spec, unless the command names one; overrides apply to either."""
    from cortexzoo.harness.runs.run_folder import SPEC, Run

    if spec is not None:
        return load_experiment(spec, given.changes())
    run = Run.open(path)
    return load_experiment(run.path / SPEC, given.changes()) if given.changes() else run.spec


def _require_resumable(path: Path, runs: Path, checkpoint: str, inject: str | None) -> None:
    if inject is not None:
        raise BadInput(f"--inject {inject} cannot be combined with --resume: faults are injected into new runs only")
    if not (checkpoint == LAST or checkpoint.startswith(OLDER)):
        raise BadInput(f"--checkpoint: must be last or step- and eight digits with --resume, got {checkpoint!r}")
    if runs not in (RUNS, path.parent.parent):
        raise BadInput(f"--runs {runs}: a resumed run stays in {path.parent.parent}: remove --runs")


def _helped(
    experiment: ExperimentSpec, faults: FaultsSpec | None, resumed_from: str | None, allow_changes: bool
) -> int:
    """Train together with the first process, which prints everything."""
    from cortexzoo.harness.runs.interventions import Interventions
    from cortexzoo.harness.runs.resume import help_to_resume
    from cortexzoo.harness.runs.run_folder import RunFolderError
    from cortexzoo.harness.runs.train import help_to_train
    from cortexzoo.zoo.errors import TrainingError

    try:
        if resumed_from is None:
            help_to_train(experiment, Interventions(faults))
        else:
            help_to_resume(experiment, resumed_from, allow_changes)
    except (TrainingError, RunFolderError, SpecError) as error:
        described = lines_and_code(error)
        assert described is not None
        return described[1]
    return OK
