"""The command that compares the verdicts of the shipped experiments with the committed ones."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT, BadInput
from cortexzoo.harness.cli.output import print_table, print_text, without_foreign_warnings
from cortexzoo.harness.cli.progress import steps_progress
from cortexzoo.specs import ExperimentSpec, load_experiment, shipped_names

if TYPE_CHECKING:
    from cortexzoo.harness.regression.regression import Checked, Committed


def regression(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME…]", help="Shipped experiments; default: all.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Number of processes, one thread each.")] = 2,
    write: Annotated[bool, typer.Option("--write", help="Write the new verdicts, after an intended change.")] = False,
) -> None:
    """Compare the shipped verdicts with the committed ones.

    Trains and checks the shipped experiments. A training is kept in the cache folder and reused as long as its spec and
    the code of the zoo are unchanged. Only specs and verdicts are compared, not numbers or times. Exit code 0: nothing
    changed; 1: something did.

    Example: cortexzoo regression cortexgpt-stable
    """
    from cortexzoo.harness.regression.regression import COMMITTED, Committed, check_all
    from cortexzoo.harness.runs.cache import cache

    without_foreign_warnings()
    experiments = [load_experiment(name) for name in _known(names)]
    committed = {e.name: Committed.read(e.name, COMMITTED) for e in experiments if not write}
    folder = cache()
    with _announced(experiments, folder, jobs):
        results = {checked.experiment.name: checked for checked in check_all(experiments, folder, jobs)}
    changed = 0
    for name in (experiment.name for experiment in experiments):
        changed += _written(results[name]) if write else _compared(results[name], committed[name])
    if not write:
        print_text(f"{changed} of {len(experiments)} experiments changed" if changed else "nothing changed")
    raise typer.Exit(UNEXPECTED_VERDICT if changed else OK)


def _known(names: Sequence[str] | None) -> list[str]:
    shipped = shipped_names("experiment")
    for name in names or ():
        if name not in shipped:
            nearest = difflib.get_close_matches(name, shipped, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"there are {', '.join(shipped)}"
            raise BadInput(f"regression {name}: no such shipped experiment: {hint}")
    return list(dict.fromkeys(names or shipped))


@contextmanager
def _announced(experiments: Sequence[ExperimentSpec], folder: Path, jobs: int) -> Iterator[None]:
    """Print what must be trained and how long that takes, then show progress."""
    from cortexzoo.harness.runs.cache import find_trained, training_of, work_ahead
    from cortexzoo.harness.runs.find import unfinished_runs
    from cortexzoo.harness.studies.comparison.progress import StepsTaken

    missing = []
    for experiment in experiments:
        if run := find_trained(experiment, folder):
            print_text(f"{experiment.name}: trained already ({run.path})")
        else:
            print_text(work_ahead(experiment))
            if begun := next(unfinished_runs(folder, training_of(experiment)), None):
                print_text(f"{experiment.name}: resumes an interrupted training ({begun.path})")
            else:
                missing.append(experiment)
    print_text(f"then the properties, about a minute each; {min(jobs, len(experiments))} at a time")
    if not missing:
        yield
        return
    with steps_progress("training", StepsTaken(folder, [training_of(experiment) for experiment in missing])):
        yield


def _compared(result: "Checked", then: "Committed") -> bool:
    """Print the changes of one experiment; return whether there are any."""
    from cortexzoo.harness.regression.regression import changes

    name = result.experiment.name
    if result.certificate is None:
        print_text(f"{name}: training stopped: {result.gave_up}")
        return True
    if is_another := then.spec_hash != result.experiment.hash():
        print_text(
            f"{name}: the spec has changed: its certificate has spec hash {then.spec_hash}, the spec now "
            f"{result.experiment.hash()}"
        )
    found = changes(then, result.certificate)
    if found:
        print_text(f"{name}: {len(found)} of {len(result.certificate.judgements)} verdicts changed")
        print_table(
            ("property", "then", "now", "reason"),
            [(change.name, str(change.then or "–"), str(change.now or "–"), change.reason) for change in found],
        )
    else:
        print_text(f"{name}: {len(then.words)} verdicts as committed")
    if changed := is_another or bool(found):
        print_text(f"if this is intended: cortexzoo regression {name} --write")
    return changed


def _written(result: "Checked") -> bool:
    """Write the verdicts of one experiment; return whether any is unexpected."""
    name = result.experiment.name
    from cortexzoo.harness.regression.regression import COMMITTED

    if result.certificate is None:
        print_text(f"{name}: training stopped, nothing is written: {result.gave_up}")
        return True
    print_text(f"{name}: written to {result.committed.write(name, COMMITTED)}")
    if unexpected := result.certificate.unexpected:
        listed = ", ".join(f"{j.name} is {j.verdict} instead of {j.expected}" for j in unexpected)
        print_text(f"{name}: unexpected: {listed}")
    return bool(unexpected)
