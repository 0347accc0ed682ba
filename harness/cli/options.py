"""Arguments and options that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from specs.kinds import KINDS, Kind

SpecArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A shipped spec (see `cortexzoo list`) or a path ending in .yaml.")
]
KindArgument = Annotated[Kind | None, typer.Argument(metavar="[KIND]", help=f"One of {', '.join(KINDS)}.")]
KindOption = Annotated[
    Kind | None, typer.Option("--kind", help="What is meant by a name that several kinds share; else the experiment.")
]
VariantOption = Annotated[str | None, typer.Option("--variant", metavar="NAME|FILE", help="Use this variant.")]
RecipeOption = Annotated[str | None, typer.Option("--recipe", metavar="NAME|FILE", help="Use this recipe.")]
DataOption = Annotated[str | None, typer.Option("--data", metavar="NAME|FILE", help="Use this data.")]
SuiteOption = Annotated[str | None, typer.Option("--suite", metavar="NAME|FILE", help="Hold it to this suite.")]
SeedOption = Annotated[str | None, typer.Option("--seed", metavar="N", help="Short for --set seed=N.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change one value, as in --set recipe.steps=100. Repeatable."),
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write what the table shows as JSON.")
]
JobsOption = Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Runs at the same time, a thread each.")]


def overrides(
    *,
    variant: str | None = None,
    recipe: str | None = None,
    data: str | None = None,
    suite: str | None = None,
    seed: str | None = None,
    sets: Sequence[str] | None = None,
) -> list[str]:
    """The overrides of a command line for `specs.load`: `--recipe X` and the like come before every `--set`."""
    shorts = {"variant": variant, "recipe": recipe, "data": data, "suite": suite, "seed": seed}
    return [*(f"{key}={value}" for key, value in shorts.items() if value is not None), *(sets or ())]
