"""Training and checking as commands do it: with progress, the result in words, and the table of verdicts."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cortexzoo.harness.checking.effort import PROFILES, ProfileName
from cortexzoo.harness.cli.errors import INTERRUPTED, OK, UNEXPECTED_VERDICT, print_errors
from cortexzoo.harness.cli.output import print_text, write_json
from cortexzoo.harness.cli.progress import checking_progress
from cortexzoo.harness.cli.training_words import intention, result
from cortexzoo.harness.cli.verdicts import print_verdicts
from cortexzoo.specs import ExperimentSpec, FaultsSpec
from cortexzoo.specs.doubts import doubts

if TYPE_CHECKING:
    from cortexzoo.harness.checking.verdict import Certificate
    from cortexzoo.harness.runs.run_folder import Run

TERMINATED = 143


def trained(
    experiment: ExperimentSpec,
    runs: Path,
    *,
    faults: FaultsSpec | None = None,
    force: bool = False,
    on_alert: Sequence[str] = (),
) -> "Run":
    """Train and print the result. Ends the command when training was interrupted."""
    from cortexzoo.harness.runs.interventions import Interventions
    from cortexzoo.harness.runs.options import RunOptions
    from cortexzoo.harness.runs.train import train_run

    def began(run: "Run") -> None:
        _announce(experiment, f"run folder: {run.path}")

    options = RunOptions(
        progress=True, warn=_warn, began=began, interventions=Interventions(faults), force=force, on_alert=on_alert
    )
    run = train_run(experiment, runs, options)
    if faults is not None:
        injected = [event["detail"]["fault"] for event in run.events() if event["kind"] == "fault_injected"]
        print_text(f"{len(injected)} faults injected: {', '.join(injected)}; consequences: {run.path}/events.jsonl")
    return _reported(run)


def resumed(
    experiment: ExperimentSpec, path: Path, checkpoint: str, *, allow_changes: bool, on_alert: Sequence[str] = ()
) -> "Run":
    """As `trained`, for a run that is resumed."""
    from cortexzoo.harness.runs.options import RunOptions
    from cortexzoo.harness.runs.resume import resume_run

    def began(run: "Run") -> None:
        _announce(experiment, f"resuming at step {run.manifest['resumed'][-1]['from_step']}: {run.path}")

    run = resume_run(
        path,
        experiment,
        checkpoint=checkpoint,
        allow_changes=allow_changes,
        options=RunOptions(progress=True, warn=_warn, began=began, on_alert=on_alert),
    )
    return _reported(run)


def _warn(line: str) -> None:
    print_errors([line])


def _announce(experiment: ExperimentSpec, place: str) -> None:
    """Print what is about to be trained, before the first step."""
    print_text(intention(experiment))
    print_errors(doubts(experiment))
    print_text(place)


def _reported(run: "Run") -> "Run":
    """Print the result of training. Ends the command when it was interrupted."""
    summary = run.summary
    if stopped := summary["stopped"]:
        steps = summary["steps_taken"]
        print_errors([f"{stopped} after step {steps}, saved; continue with: cortexzoo train --resume {run.path}"])
        raise typer.Exit(INTERRUPTED if stopped == "interrupted" else TERMINATED)
    print_text(result(summary))
    print_text(f"curves: {run.path}/curves.png")
    return run


def checked(
    run: "Run",
    checkpoint: str,
    json_file: Path | None,
    profile: ProfileName = "dev",
    budget: float | None = None,
    also: Callable[["Certificate"], None] = lambda _: None,
) -> int:
    """Check a run, print its verdicts, then do what is `also` wanted with them. Returns the exit code."""
    from cortexzoo.harness.runs.train import check_run
    from cortexzoo.harness.tracking.jsonl import to_json_value

    with checking_progress(len(run.spec.suite.properties)) as progress:
        certificate = check_run(
            run,
            checkpoint=checkpoint,
            profile=PROFILES[profile],
            budget=budget,
            warn=_warn,
            started=progress.started,
            watch=progress.tried,
        )
    print_verdicts(certificate)
    also(certificate)
    print_text(f'next: cortexzoo generate {run.path} --prompt "The "')
    report = {"folder": str(run.path), **certificate.as_json(), "summary": run.summary}
    write_json(json_file, to_json_value(report))
    return UNEXPECTED_VERDICT if certificate.unexpected else OK


def unchecked(run: "Run", json_file: Path | None) -> int:
    """Point to the check, without one. Returns the exit code."""
    from cortexzoo.harness.tracking.jsonl import to_json_value

    print_text(f"next: cortexzoo check {run.path}")
    write_json(json_file, to_json_value({"folder": str(run.path), "summary": run.summary}))
    return OK
