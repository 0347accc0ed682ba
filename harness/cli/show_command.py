"""The command that shows one spec, value by value."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cortexzoo.harness.cli.errors import BadInput, print_errors
from cortexzoo.harness.cli.options import RUNS, JsonOption, KindOption, Overrides, SpecArgument, with_overrides
from cortexzoo.harness.cli.output import console, print_table, write_json
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.loading.load import LoadedSpec, identity, load_with_origins
from cortexzoo.specs.loading.origins import ValueOrigin
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.variant import VariantSpec

if TYPE_CHECKING:
    from cortexzoo.harness.runs.costs import Costs


@with_overrides
def show(
    spec: SpecArgument,
    kind: KindOption = None,
    *,
    given: Overrides,
    measure: Annotated[
        bool, typer.Option("--measure", help="Train a few steps, keep nothing, and estimate how long all of them take.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Show every value of a spec and where it comes from, or a run.

    A value comes from a line of a file, an override, or a default with its source. For an experiment or a variant the
    cost of training is shown too: parameters, memories, operations and bytes. Of a run, its state, result and verdict
    are shown; its spec is a file in its folder.

    Example: cortexzoo show cortexgpt-stable --set recipe.steps=100
    Example: cortexzoo show latest
    """
    if (run := _run(spec)) is not None:
        if given.changes() or kind is not None or measure:
            raise BadInput(f"{spec} is a run: only --json can be combined with it")
        from cortexzoo.harness.cli.run_table import show_run

        show_run(run, json_file)
        return
    loaded = load_with_origins(spec, kind, given.changes())
    if measure and not isinstance(loaded.spec, ExperimentSpec):
        raise BadInput(f"--measure: only an experiment can be trained, got the {loaded.kind} {loaded.spec.name}")
    costs = _costs(loaded)
    out = console()
    out.print(_headline(loaded, costs), markup=False)
    if loaded.spec.description:
        out.print(loaded.spec.description, markup=False)
    out.print()
    rows = [(path, _as_yaml(origin.value), str(origin)) for path, origin in loaded.origins.items()]
    print_table(("path", "value", "comes from"), rows)
    content = {**identity(loaded), "values": {p: _as_json(o) for p, o in loaded.origins.items()}}
    if costs is not None:
        from cortexzoo.harness.cli.cost_tables import print_costs

        print_costs(costs)
        content["costs"] = costs.as_json()
    if measure and isinstance(loaded.spec, ExperimentSpec):
        from cortexzoo.harness.cli.cost_tables import print_measured

        content["measured"] = print_measured(loaded.spec)
    write_json(json_file, content)


def _run(target: str) -> Path | None:
    """The folder, where the target names a run."""
    if Path(target).name != "latest" and not (Path(target) / "spec.yaml").is_file():
        return None
    from cortexzoo.harness.runs.find import run_path

    return run_path(target, RUNS)


def _costs(loaded: LoadedSpec) -> "Costs | None":
    """Of an experiment with its recipe, of a variant with the batches of a recipe with every default."""
    if isinstance(loaded.spec, ExperimentSpec):
        variant, recipe = loaded.spec.variant, loaded.spec.recipe
    elif loaded.kind == "variant":
        variant, recipe = cast(VariantSpec, loaded.spec), RecipeSpec(name="default")
    else:
        return None
    from cortexzoo.harness.runs.costs import Costs
    from cortexzoo.zoo.errors import CostsUnknown

    try:
        return Costs.of(variant, recipe)
    except CostsUnknown as unknown:
        print_errors([str(unknown)])
        return None


def _headline(loaded: LoadedSpec, costs: "Costs | None") -> str:
    parts = [f"{loaded.kind} {loaded.spec.name}", f"hash {loaded.spec.hash()}"]
    if costs is not None:
        parts.append(f"{costs.batch.trained_parameters:,} parameters")
    return " · ".join(parts)


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_json(origin: ValueOrigin) -> dict[str, Any]:
    source = {"kind": origin.source.kind, "where": origin.source.where} if origin.source else None
    return {"value": origin.value, "written": str(origin.place) if origin.place else None, "source": source}
