"""Commands around Aim, whose repository is made from the run folders. Everything heavy is imported inside them."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cortexzoo.harness.cli.errors import BAD_INPUT, OK, BadInput, print_errors
from cortexzoo.harness.cli.options import RUNS, RunsOption
from cortexzoo.harness.cli.output import print_text, standard_error, without_foreign_warnings

if TYPE_CHECKING:
    from cortexzoo.harness.studies.comparison.result import Comparison

AIM_PORT = 43800


def aim_sync(
    targets: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN…]", help="Run folders; default: all in --runs.")
    ] = None,
    runs: RunsOption = RUNS,
) -> None:
    """Copy runs into Aim from their folders.

    The folders are the source of truth: an Aim repository can be deleted at any time. A run that is up to date in Aim
    is skipped; one that has changed is written again.

    Example: cortexzoo aim-sync --runs runs
    """
    from rich.status import Status

    from cortexzoo.harness.runs.aim_sync import sync_all
    from cortexzoo.harness.runs.find import all_runs, run_path
    from cortexzoo.harness.runs.run_folder import Run

    without_foreign_warnings()
    wanted = [Run.open(run_path(target, runs)) for target in targets] if targets else list(all_runs(runs))
    if not wanted:
        raise BadInput(f"--runs {runs}: contains no run: `cortexzoo train NAME --runs {runs}` makes one")
    counts = {"written": 0, "up to date": 0}
    left_out: list[str] = []
    with Status("copying runs into Aim", console=standard_error()) as status:
        for run, outcome in sync_all(wanted):
            status.update(f"copying runs into Aim: {sum(counts.values())} of {len(wanted)}")
            if outcome in counts:
                counts[outcome] += 1
            else:
                left_out.append(f"{run.path}: {outcome}")
    print_text(f"Aim: {counts['written']} written, {counts['up to date']} up to date")
    print_errors(left_out)
    raise typer.Exit(BAD_INPUT if left_out and targets else OK)


def show_in_aim(comparison: "Comparison", port: int, *, show: bool) -> None:
    """Copy the runs into Aim; print the link, or serve it until Ctrl-C."""
    from cortexzoo.harness.runs.aim_sync import sync
    from cortexzoo.harness.runs.run_folder import Run
    from cortexzoo.harness.studies.comparison.comparing import telling_apart
    from cortexzoo.harness.tracking.aim.link import metrics_link
    from cortexzoo.harness.tracking.aim.server import HOST, command, serving

    found = [Run(record.path) for record in comparison.records]
    repositories = {run.path.resolve().parent.parent for run in found}
    if len(repositories) > 1:
        raise BadInput("the runs are in several folders; Aim shows one repository at a time")
    (runs,) = repositories
    for run in found:
        sync(run)
    hashes = [str(run.manifest["trackers"]["aim"]) for run in found]
    by = telling_apart([result.contender for result in comparison.contenders])
    if not show:
        print_text(f"\nstart Aim with: {command(runs, port)}")
        print_text(f"and open: {metrics_link(f'http://{HOST}:{port}', hashes, by=by)}")
        print_text("while it runs any web page can read the runs; --open starts it behind a guard with a token")
        return
    with serving(runs, port) as guard:
        link = guard.entrance(metrics_link(guard.address, hashes, by=by))
        print_text(f"\nAim is open until Ctrl-C: {link}")
        if not _opened(link):
            print_errors(["no browser found: open the link above"])
        _wait_for_ctrl_c()


def _opened(link: str) -> bool:
    try:
        return webbrowser.open(link)
    except webbrowser.Error:
        return False


def _wait_for_ctrl_c() -> None:
    import threading

    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print_text("closed")
