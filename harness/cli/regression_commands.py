"""The command that compares the verdicts of the shipped experiments with the committed ones."""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="With --write: measure the bands of the numbers anew.")
    ] = 1,
) -> None:
    """Compare the shipped verdicts with the committed ones.

    Trains and checks the shipped experiments. A training is kept in the cache folder and reused as long as its spec and
    the code of the zoo are unchanged. Exit code 0: no spec and no verdict changed; 1: something did, or, with
    --write, a written verdict is not as its suite expects. A number that left its band, which `--write --seeds 5`
    measures, is a warning: it is printed, and changes no exit code.

    Example: cortexzoo regression cortexgpt-stable
    """
    from cortexzoo.harness.regression.regression import COMMITTED, Checked, Committed, check_all
    from cortexzoo.harness.runs.cache import cache

    without_foreign_warnings()
    if seeds > 1 and not write:
        raise BadInput("--seeds: is for --write; without it the verdicts of one seed are compared")
    known = _known(names)
    experiments = [load_experiment(name, [f"seed={seed}"] if seed else []) for name in known for seed in range(seeds)]
    committed = {name: Committed.read(name, COMMITTED) for name in known if not write}
    folder = cache()
    results: dict[str, list[Checked]] = {name: [] for name in known}
    with _announced(experiments, folder, jobs):
        for checked in check_all(experiments, folder, jobs):
            results[checked.experiment.name].append(checked)
    changed = 0
    for name, of_seeds in results.items():
        ordered = sorted(of_seeds, key=lambda checked: checked.experiment.seed)
        changed += _written(ordered) if write else _compared(ordered[0], committed[name])
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

    missing: list[ExperimentSpec] = []
    of_name: dict[str, list[ExperimentSpec]] = {}
    for experiment in experiments:
        if run := find_trained(experiment, folder):
            print_text(f"{experiment.name}: trained already ({run.path})")
        else:
            of_name.setdefault(experiment.name, []).append(experiment)
    for seeds in of_name.values():
        again = f", with each of {len(seeds)} seeds" if len(seeds) > 1 else ""
        print_text(work_ahead(seeds[0]) + again)
        for experiment in seeds:
            if begun := next(unfinished_runs(folder, training_of(experiment)), None):
                print_text(f"{experiment.name}: resumes an interrupted training ({begun.path})")
            else:
                missing.append(experiment)
    print_text(f"then the properties, one to two minutes each; {min(jobs, len(experiments))} at a time")
    if not missing:
        yield
        return
    with steps_progress("training", StepsTaken(folder, [training_of(experiment) for experiment in missing])):
        yield


def _compared(result: "Checked", then: "Committed") -> bool:
    """Print the changes of one experiment; return whether there are any."""
    from cortexzoo.harness.regression.regression import changes, drifts

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
    if drifted := drifts(then, result.certificate):
        print_text(f"{name}: warning: {len(drifted)} numbers left their bands")
        rows = [(drift.name, f"{drift.observed:.4g}", str(drift.band)) for drift in drifted]
        print_table(("property", "now", "band"), rows)
    if changed := is_another or bool(found):
        print_text(f"if this is intended: cortexzoo regression {name} --write")
    return changed


def _written(results: "Sequence[Checked]") -> bool:
    """Write the verdicts of one experiment and bands over its seeds; return whether one of the first is unexpected."""
    from cortexzoo.harness.regression.regression import COMMITTED, Committed, CommittedError
    from cortexzoo.harness.runs.cache import training_of

    name = results[0].experiment.name
    if gave_up := next((result.gave_up for result in results if result.certificate is None), None):
        print_text(f"{name}: training stopped, nothing is written: {gave_up}")
        return True
    first, *others = [result.certificate for result in results if result.certificate is not None]
    experiment = results[0].experiment
    made = Committed.of(experiment.hash(), first, others, training_of(experiment).hash())
    if not others:
        with suppress(CommittedError):
            made = made.with_bands_of(Committed.read(name, COMMITTED))
    print_text(f"{name}: written to {made.write(name, COMMITTED)}, {len(made.bands)} numbers with a band")
    if unexpected := first.unexpected:
        listed = ", ".join(f"{j.name} is {j.verdict} instead of {j.expected}" for j in unexpected)
        print_text(f"{name}: unexpected: {listed}")
    return bool(unexpected)
