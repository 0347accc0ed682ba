"""The command that finds which values of a spec flip a verdict."""

import difflib
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import OK, BadInput
from cortexzoo.harness.cli.options import RUNS, JsonOption, RunsOption, SetOption
from cortexzoo.harness.cli.output import (
    print_text,
    require_folder_of,
    standard_error,
    without_foreign_warnings,
    write_json,
)


def bisect(
    good: Annotated[str, typer.Argument(metavar="GOOD", help="The experiment (name or file) that has the property.")],
    bad: Annotated[str, typer.Argument(metavar="BAD", help="The one that has not.")],
    property_name: Annotated[
        str, typer.Option("--property", metavar="NAME", help="The property that GOOD has and BAD has not.")
    ],
    sets: SetOption = None,
    bad_sets: Annotated[
        list[str] | None,
        typer.Option("--set-bad", metavar="PATH=VALUE", help="Change one value of BAD only. Repeatable."),
    ] = None,
    runs: RunsOption = RUNS,
    json_file: JsonOption = None,
) -> None:
    """Find the smallest set of spec values that flips a verdict.

    Takes over values of BAD into GOOD, ever fewer, trains each combination and checks the one property. Of what is
    found no value can be left out. Finished runs in --runs are reused, so an interrupted search continues. --set
    changes both, as in --set recipe.steps=100.

    Example: cortexzoo bisect cortexgpt-stable cortexgpt-stable --property bounded_loss_ratio --set recipe.steps=60
    --set-bad recipe.optimizer.learning_rate=1.0 --set-bad seed=3
    """
    from cortexzoo.harness.checking.properties import REGISTRY
    from cortexzoo.harness.studies.bisection import Asked, parts, smallest
    from cortexzoo.specs import load_experiment

    without_foreign_warnings()
    require_folder_of(json_file)
    name = next((known for known in REGISTRY if known == property_name), None)
    if name is None:
        nearest = difflib.get_close_matches(property_name, REGISTRY, n=1)
        raise BadInput(
            f"--property {property_name}: no such property" + (f": did you mean {nearest[0]}?" if nearest else "")
        )
    first = load_experiment(good, list(sets or ()))
    second = load_experiment(bad, [*(sets or ()), *(bad_sets or ())])
    differing = parts(first, second)
    if not differing:
        raise BadInput(f"bisect {good} {bad}: no value differs that a training depends on")
    console = standard_error()
    asked = Asked(name, runs, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))
    console.print(f"{len(differing)} values differ; first GOOD, then BAD", highlight=False)
    for which, wanted, experiment in (("GOOD", "good", first), ("BAD", "bad", second)):
        if (answer := asked.of(experiment)) != wanted:
            told = asked.last.reason if asked.last is not None else "it cannot be trained"
            verdict = {"good": "passes", "bad": "fails", "neither": "is not decided"}[answer]
            raise BadInput(f"{which} {experiment.name}: {name} {verdict} ({told}): GOOD must pass, and BAD must fail")
    found = smallest(differing, lambda chosen: asked.with_parts(first, chosen))
    print_text(
        f"{name} fails with {len(found)} of the {len(differing)} values that differ ({asked.count} trainings checked):"
    )
    for part in found:
        print_text(f"  {part}")
    content = {
        "property": name,
        "differing": [str(part) for part in differing],
        "found": [str(part) for part in found],
        "checked": asked.count,
    }
    write_json(json_file, content)
    raise typer.Exit(OK)
