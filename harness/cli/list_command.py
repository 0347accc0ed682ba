"""The command that lists the shipped specs."""

from cortexzoo.harness.cli.options import JsonOption, KindArgument
from cortexzoo.harness.cli.output import print_table, write_json
from cortexzoo.specs.kinds import KINDS
from cortexzoo.specs.loading.shipped import shipped_description, shipped_names


def list_specs(kind: KindArgument = None, json_file: JsonOption = None) -> None:
    """List the shipped specs.

    Example: cortexzoo list recipe
    """
    rows: list[dict[str, str]] = [
        {"kind": each, "name": name, "description": shipped_description(each, name)}
        for each in ([kind] if kind else reversed(KINDS))
        for name in shipped_names(each)
    ]
    print_table(
        ("kind", "name", "description"), [(r["kind"], r["name"], _first_sentence(r["description"])) for r in rows]
    )
    write_json(json_file, rows)


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].removesuffix(".")
