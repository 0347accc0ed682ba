"""Commands that only read and write specs: they answer at once."""

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from cortexzoo.harness.checking.schema import SCHEMA, certificate_is_fresh, write_schema
from cortexzoo.harness.cli.cost_tables import print_costs, print_measured
from cortexzoo.harness.cli.errors import BAD_INPUT, OK, UNEXPECTED_VERDICT, BadInput, tell
from cortexzoo.harness.cli.options import JsonOption, KindArgument, KindOption, Overrides, SpecArgument, with_overrides
from cortexzoo.harness.cli.output import console, print_table, write_json
from cortexzoo.harness.runs.costs import Costs
from cortexzoo.specs import ExperimentSpec, SpecError, VariantSpec, load, shipped_names
from cortexzoo.specs.kinds import KINDS
from cortexzoo.specs.loading.load import LoadedSpec, load_with_origins
from cortexzoo.specs.loading.origins import ValueOrigin
from cortexzoo.specs.loading.schema_export import SCHEMAS, schema_text, stale_schemas, write_schemas
from cortexzoo.specs.loading.starter import starter_text
from cortexzoo.specs.parameters import parameter_count
from cortexzoo.specs.recipe import RecipeSpec


def list_specs(kind: KindArgument = None, json_file: JsonOption = None) -> None:
    """List the shipped specs with what each is for.

    Example: cortexzoo list recipe
    """
    rows = [
        {"kind": each, "name": name, "description": load(name, each).description}
        for each in ([kind] if kind else reversed(KINDS))
        for name in shipped_names(each)
    ]
    print_table(
        ("kind", "name", "description"), [(r["kind"], r["name"], _first_sentence(r["description"])) for r in rows]
    )
    write_json(json_file, rows)


@with_overrides
def show(
    spec: SpecArgument,
    kind: KindOption = None,
    *,
    given: Overrides,
    measure: Annotated[
        bool, typer.Option("--measure", help="Train a few steps, leaving nothing behind, and say how long all take.")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Show every value of a spec and where it comes from: a line of a file, an override, or a default and its source.

    For an experiment or a variant also what it costs before anything trains: parameters, memories, operations, bytes.

    Example: cortexzoo show cortexgpt-stable --set recipe.steps=100
    """
    loaded = load_with_origins(spec, kind, given.changes())
    if measure and not isinstance(loaded.spec, ExperimentSpec):
        raise BadInput(f"--measure: only an experiment can be trained, got the {loaded.kind} {loaded.spec.name}")
    out = console()
    out.print(_headline(loaded), markup=False)
    if loaded.spec.description:
        out.print(loaded.spec.description, markup=False)
    out.print()
    rows = [(path, _as_yaml(origin.value), str(origin)) for path, origin in loaded.origins.items()]
    print_table(("path", "value", "comes from"), rows)
    content = {**_identity(loaded), "values": {p: _as_json(o) for p, o in loaded.origins.items()}}
    if (costs := _costs(loaded)) is not None:
        print_costs(costs)
        content["costs"] = costs.as_json()
    if measure and isinstance(loaded.spec, ExperimentSpec):
        content["measured"] = print_measured(loaded.spec)
    write_json(json_file, content)


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILES…", help="Spec files; shipped names will do as well.")],
    json_file: JsonOption = None,
) -> None:
    """Check spec files and name every mistake in them, with its line and column.

    Example: cortexzoo validate my-variant.yaml my-experiment.yaml
    """
    report: list[dict[str, Any]] = []
    for file in files:
        try:
            loaded = load_with_origins(file)
        except SpecError as error:
            tell(error.lines)
            report.append({"file": file, "valid": False, "problems": error.lines})
        else:
            report.append({"file": file, "valid": True, **_identity(loaded)})
    good = [entry for entry in report if entry["valid"]]
    if good:
        columns = ("file", "kind", "name", "hash")
        print_table(columns, [[entry[column] for column in columns] for entry in good])
    write_json(json_file, report)
    raise typer.Exit(OK if len(good) == len(report) else BAD_INPUT)


def schema(
    kind: KindArgument = None,
    write: Annotated[bool, typer.Option("--write", help="Write the schemas of all kinds beside the specs.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="End with 1 if a written schema is not what --write gives.")
    ] = False,
) -> None:
    """Print the JSON Schema of a kind of spec, for editors that complete and check YAML.

    Example: cortexzoo schema recipe > recipe.json
    """
    if [kind is not None, write, check].count(True) != 1:
        raise BadInput("schema takes a kind, or --write, or --check")
    if kind is not None:
        console().out(schema_text(kind), end="")
    elif write:
        try:
            write_schemas()
            write_schema()
        except OSError as error:
            raise BadInput(f"{SCHEMAS}: cannot be written: {error.strerror or error}") from error
    else:
        stale = stale_schemas() + ([] if certificate_is_fresh() else [f"harness/schema/{SCHEMA.name}"])
        tell([f"{file} is stale: run `cortexzoo schema --write`" for file in stale])
        raise typer.Exit(UNEXPECTED_VERDICT if stale else OK)


def new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; its stem becomes the spec's name.")],
    source: Annotated[str, typer.Option("--from", metavar="NAME", help="The shipped spec that it extends.")],
    kind: KindOption = None,
) -> None:
    """Write a spec file of your own that extends a shipped one, with every value there as a comment to change.

    Example: cortexzoo new my-recipe.yaml --from robust
    """
    text = starter_text(file, source, kind)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise BadInput(f"{file} exists already; it is left as it was") from error
    except OSError as error:
        raise BadInput(f"{file}: cannot be written: {error.strerror or error}") from error
    console().print(f"{file} written; `cortexzoo show {file}` shows what it says", markup=False)


def _costs(loaded: LoadedSpec) -> Costs | None:
    """Of an experiment with its recipe, of a variant with the batches of a recipe that says nothing else."""
    if isinstance(loaded.spec, ExperimentSpec):
        return Costs.of(loaded.spec.variant, loaded.spec.recipe)
    if loaded.kind == "variant":
        return Costs.of(cast(VariantSpec, loaded.spec), RecipeSpec(name="default"))
    return None


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].removesuffix(".")


def _identity(loaded: LoadedSpec) -> dict[str, str]:
    return {"kind": loaded.kind, "name": loaded.spec.name, "hash": loaded.spec.hash()}


def _headline(loaded: LoadedSpec) -> str:
    parts = [f"{loaded.kind} {loaded.spec.name}", f"hash {loaded.spec.hash()}"]
    if isinstance(loaded.spec, ExperimentSpec):
        parts.append(f"{parameter_count(loaded.spec.variant):,} parameters")
    elif loaded.kind == "variant":
        parts.append(f"{parameter_count(cast(VariantSpec, loaded.spec)):,} parameters")
    return " · ".join(parts)


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _as_json(origin: ValueOrigin) -> dict[str, Any]:
    source = {"kind": origin.source.kind, "where": origin.source.where} if origin.source else None
    return {"value": origin.value, "written": str(origin.place) if origin.place else None, "source": source}
