"""Arguments and options that several commands share."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.specs.kinds import KINDS, Kind
from cortexzoo.specs.tracker import TrackerName

SpecArgument = Annotated[
    str, typer.Argument(metavar="NAME|FILE", help="A shipped spec (see `cortexzoo list`) or a path ending in .yaml.")
]
KindArgument = Annotated[Kind | None, typer.Argument(metavar="[KIND]", help=f"One of {', '.join(KINDS)}.")]
KindOption = Annotated[
    Kind | None, typer.Option("--kind", help="The kind, where several kinds share the name; default: experiment.")
]
VariantOption = Annotated[str | None, typer.Option("--variant", metavar="NAME|FILE", help="Use this variant.")]
RecipeOption = Annotated[str | None, typer.Option("--recipe", metavar="NAME|FILE", help="Use this recipe.")]
DataOption = Annotated[str | None, typer.Option("--data", metavar="NAME|FILE", help="Use this data.")]
SuiteOption = Annotated[str | None, typer.Option("--suite", metavar="NAME|FILE", help="Check against this suite.")]
SeedOption = Annotated[str | None, typer.Option("--seed", metavar="N", help="Short for --set seed=N.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, or `latest`: the newest run in runs/ (or DIR/latest).")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change one value, as in --set recipe.steps=100. Repeatable."),
]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON.")]
JobsOption = Annotated[
    int, typer.Option("--jobs", metavar="N", min=1, help="Number of runs at a time, one thread each.")
]

RUNS = Path("runs")
RunsOption = Annotated[Path, typer.Option("--runs", metavar="DIR", help="The folder of all runs.")]
TrackersOption = Annotated[
    str | None,
    typer.Option(
        "--trackers",
        metavar="NAME,…",
        help=f"Track with these: {', '.join(get_args(TrackerName))}; jsonl is always included. Default: the spec's.",
    ),
]


@dataclass(frozen=True)
class Overrides:
    """The overrides of a spec's values on a command line: the options of a command that is `with_overrides`."""

    variant: VariantOption = None
    recipe: RecipeOption = None
    data: DataOption = None
    suite: SuiteOption = None
    seed: SeedOption = None
    sets: SetOption = None
    trackers: TrackersOption = None

    def changes(self) -> list[str]:
        """The overrides for `cortexzoo.specs.load`: `--recipe X` and the like come before every `--set`."""
        shorts = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "sets"}
        if self.trackers is not None:
            shorts["trackers"] = f"[{self.trackers}]"
        return [*(f"{key}={value}" for key, value in shorts.items() if value is not None), *(self.sets or ())]


def with_overrides(command: Callable[..., None]) -> Callable[..., None]:
    """The command with every option of `Overrides` in place of its parameter `given: Overrides`."""
    signature, hints = inspect.signature(command), get_type_hints(Overrides, include_extras=True)
    options = [
        inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints[field.name])
        for field in fields(Overrides)
    ]
    parameters = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in signature.parameters.values()
        for option in (options if parameter.name == "given" else [parameter])
    ]

    @functools.wraps(command)
    def expanded(**values: Any) -> None:
        given = Overrides(**{field.name: values.pop(field.name) for field in fields(Overrides)})
        command(given=given, **values)

    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return expanded


def require_checkpoint(name: str) -> None:
    if name not in ("best", "last"):
        raise BadInput(f"--checkpoint: must be best or last, got {name!r}")
