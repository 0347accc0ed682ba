"""`cortexzoo study architectures`: tiny models of transformers, checked one after the other."""

from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.output import print_table, print_text

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def studies() -> None:
    """One study."""


@app.command("architectures")
def architectures(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME…]", help="Only these.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="CPU time a property and architecture.")] = 0.7,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and the search.")] = 0,
) -> None:
    """Check tiny random models of the architectures of transformers, and print what deviates with its reason."""
    from cortexzoo.harness.studies.architectures import ARCHITECTURES, checked, table

    if unknown := sorted(set(names or ()) - set(ARCHITECTURES)):
        raise BadInput(f"{unknown[0]}: no such architecture: must be one of {', '.join(ARCHITECTURES)}")
    found = {}
    for kind in names or ARCHITECTURES:
        found[kind] = checked(kind, seconds, seed)
        if not isinstance(judgements := found[kind], str):
            for judgement in judgements.values():
                if judgement.verdict not in ("pass", "skipped"):
                    print_text(f"{kind}: {judgement.name}: {judgement.reason}")
    header, *rows = table(found)
    print_table(header, rows)
