"""Commands that compare many runs: learning rates, ingredients. Everything heavy is imported inside them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.options import (
    RUNS,
    JobsOption,
    JsonOption,
    Overrides,
    RecipeOption,
    RunsOption,
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

if TYPE_CHECKING:
    from cortexzoo.harness.studies.frontier import Curve

SeedsOption = Annotated[int, typer.Option("--seeds", metavar="N", min=1, help="Seeds 0 … N − 1 of every run.")]


def frontier(
    specs: Annotated[list[str], typer.Argument(metavar="NAME|FILE…", help="Experiments whose variants are compared.")],
    recipes: Annotated[
        str, typer.Option("--recipes", metavar="A,B…", help="Recipes, separated by commas.")
    ] = "robust,phase-1,original",
    rates: Annotated[
        str, typer.Option("--rates", metavar="GRID", help="LOW..HIGH:COUNT on a logarithmic scale, or A,B,C.")
    ] = "1e-4..1e-1:7",
    seeds: SeedsOption = 3,
    sets: SetOption = None,
    runs: RunsOption = RUNS,
    jobs: JobsOption = 2,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="The file of the picture.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Find the learning rate at which training becomes unstable.

    Trains each variant with each recipe over a grid of learning rates. Finished runs in --runs are reused, so an
    interrupted sweep continues.

    Example: cortexzoo frontier cortexgpt-stable cortexgpt-original --seeds 1 --set recipe.steps=150
    """
    from cortexzoo.harness.cli.study_progress import runs_progress
    from cortexzoo.harness.studies.frontier import experiments, shares, sweep
    from cortexzoo.harness.studies.frontier_plot import draw_frontier
    from cortexzoo.harness.tracking.jsonl import to_json_value

    without_foreign_warnings()
    require_folder_of(json_file)
    picture = plot or runs / "frontier.png"
    _refuse_sets(sets, ("recipe", "seed", "recipe.optimizer.learning_rate"), "frontier sets it")
    grid = experiments(specs, _names(recipes, "--recipes"), parse_rates(rates), seeds, sets or ())
    with runs_progress("frontier") as done:
        curves = sweep(grid, runs, jobs, done)
    _print_points(curves)
    print()
    _print_frontiers(curves)
    if parts := shares(curves):
        start, end = parts.start, parts.end
        print_text(
            f"\nfrom {start.variant} with {start.recipe} ({start.best.final_loss:.3f}) to {end.variant} with "
            f"{end.recipe} ({end.best.final_loss:.3f}), each at its best rate: {parts.model:.3f} nats from the model, "
            f"{parts.recipe:.3f} from the recipe"
        )
    steps = next(iter(grid.values())).recipe.steps
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw_frontier(picture, curves, title=f"Learning-rate frontier, {steps} steps, {seeds} seed{'s' * (seeds > 1)}")
    print_text(f"picture: {picture}")
    content = {"seeds": seeds, "steps": steps, "curves": [curve.as_json() for curve in curves]}
    write_json(json_file, to_json_value(content))


def ablate(
    spec: SpecArgument,
    recipe: RecipeOption = None,
    seeds: SeedsOption = 3,
    sets: SetOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="PATH", help="Only ingredients at or below this path. Repeatable."),
    ] = None,
    runs: RunsOption = RUNS,
    jobs: JobsOption = 2,
    json_file: JsonOption = None,
) -> None:
    """Switch off each ingredient in turn and measure what it is worth.

    An ingredient is whatever in the spec has a neutral kind or value.

    Example: cortexzoo ablate cortexgpt-stable --seeds 1 --set recipe.steps=150 --only recipe
    """
    from cortexzoo.harness.cli.study_progress import runs_progress
    from cortexzoo.harness.studies.ablation import ablate as train_all
    from cortexzoo.harness.tracking.jsonl import to_json_value

    without_foreign_warnings()
    require_folder_of(json_file)
    _refuse_sets(sets, ("seed",), "ablate sets it")
    with runs_progress("ablate") as done:
        worths = train_all(spec, Overrides(recipe=recipe, sets=sets).changes(), seeds, runs, jobs, only or (), done)
    whole, *others = worths
    print_table(
        ("without", "held-out loss", "worth", "loss ratio", "smallest gate share", "stopped"),
        [
            (
                worth.label,
                _loss(worth.final_loss),
                "" if worth is whole else f"{worth.final_loss - whole.final_loss:+.3f}",
                f"{worth.loss_ratio:.2f}",
                f"{min(worth.gate_shares):.3f}" if worth.gate_shares else "–",
                str(sum(run.ended != "finished" for run in worth.runs) or ""),
            )
            for worth in (whole, *sorted(others, key=lambda worth: -worth.final_loss))
        ],
    )
    print_text("worth: how much the held-out loss rises without it, in nats a token")
    write_json(json_file, to_json_value({"seeds": seeds, "rows": [worth.as_json() for worth in worths]}))


def parse_rates(text: str) -> tuple[float, ...]:
    """The rates that `LOW..HIGH:COUNT` or `A,B,C` stands for. Raises `BadInput`."""
    from cortexzoo.harness.studies.frontier import rate_grid

    wanted = "--rates: must be LOW..HIGH:COUNT, as in 1e-4..1e-1:7, or rates separated by commas, all above 0"
    try:
        if match := re.fullmatch(r"(.+)\.\.(.+?)(?::(\d+))?", text):
            low, high, count = float(match[1]), float(match[2]), int(match[3] or 7)
            rates = rate_grid(low, high, count) if 0 < low < high and count > 1 else ()
        else:
            rates = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        rates = ()
    if not rates or not all(0 < rate < float("inf") for rate in rates):
        raise BadInput(f"{wanted}, got {text!r}")
    return rates


def _names(text: str, option: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise BadInput(f"{option}: must name at least one, separated by commas")
    return list(dict.fromkeys(names))


def _refuse_sets(sets: Sequence[str] | None, reserved: Sequence[str], why: str) -> None:
    for text in sets or ():
        path = text.partition("=")[0].strip()
        if path in reserved:
            raise BadInput(f"--set {text}: remove it: {why}")


def _print_points(curves: "Sequence[Curve]") -> None:
    rows = [
        (
            curve.variant,
            curve.recipe,
            f"{point.rate:g}",
            _loss(point.final_loss),
            f"{point.loss_ratio:.2f}",
            str(point.spikes),
            "; ".join(sorted({run.ended for run in point.runs} - {"finished"})),
        )
        for curve in curves
        for point in curve.points
    ]
    print_table(("variant", "recipe", "rate", "final loss", "loss ratio", "spikes", "stopped"), rows)


def _print_frontiers(curves: "Sequence[Curve]") -> None:
    rows = [
        (
            curve.variant,
            curve.recipe,
            _loss(curve.best.final_loss),
            f"{curve.best.rate:g}",
            "below the grid" if curve.stability_frontier is None else f"{curve.stability_frontier:g}",
            "–" if curve.learning_frontier is None else f"{curve.learning_frontier:g}",
            f"{curve.sensitivity:.3f}",
        )
        for curve in curves
    ]
    header = ("variant", "recipe", "best loss", "at rate", "stability frontier", "learning frontier", "LR sensitivity")
    print_table(header, rows)


def _loss(value: float) -> str:
    return f"{value:.3f}" if value < float("inf") else "not finite"
