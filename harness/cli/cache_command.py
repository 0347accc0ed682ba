"""The command that lists and bounds the cache folder."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import OK, BadInput
from cortexzoo.harness.cli.options import JsonOption
from cortexzoo.harness.cli.output import (
    print_table,
    print_text,
    require_folder_of,
    without_foreign_warnings,
    write_json,
)
from cortexzoo.harness.errors import FAILED

UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def cache(
    show: Annotated[bool, typer.Option("--list", help="List what is kept; the default.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove trainings of other code, then the oldest above --max-size.")
    ] = False,
    most: Annotated[str, typer.Option("--max-size", metavar="SIZE", help="As in 500MB or 20GB.")] = "20GB",
    verify: Annotated[bool, typer.Option("--verify", help="Compute the sums of all checkpoints and kernels.")] = False,
    json_file: JsonOption = None,
) -> None:
    """List, verify or bound what is kept in the cache folder.

    It has bases, tokenizers and trainings, which can be made again; CORTEXZOO_CACHE names another folder. Nothing
    in it is executed, but a kernel that CORTEXZOO_KERNELS=1 built. Exit code 3: a checkpoint or kernel is damaged.

    Example: cortexzoo cache --prune --max-size 5GB
    """
    from cortexzoo.harness.runs.cache_contents import kept, remove, state_of, to_prune
    from cortexzoo.harness.runs.costs import in_bytes
    from cortexzoo.zoo.cache import cache_folder

    without_foreign_warnings()
    require_folder_of(json_file)
    if show and prune:
        raise BadInput("--list: cannot be combined with --prune")
    limit = _bytes(most)
    entries = kept()
    if prune:
        for entry in to_prune(entries, limit):
            print_text(f"{entry.path}: {'removed' if remove(entry) else 'kept: it is in use'}, {in_bytes(entry.size)}")
        entries = kept()
    states = {e.path: state_of(e) if verify else "" if e.current else "of other code" for e in entries}
    rows = [
        (str(e.path), e.kind, in_bytes(e.size), f"{datetime.fromtimestamp(e.used, UTC):%Y-%m-%d}", states[e.path])
        for e in entries
    ]
    if rows:
        print_table(("path", "kind", "size", "last written", ""), rows)
    print_text(f"{len(entries)} entries in {cache_folder()}, {in_bytes(sum(e.size for e in entries))}")
    content = [{"path": str(e.path), "kind": e.kind, "bytes": e.size, "state": states[e.path] or None} for e in entries]
    write_json(json_file, content)
    raise typer.Exit(FAILED if "damaged" in states.values() else OK)


def _bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|TB)", text)
    if match is None:
        raise BadInput(f"--max-size: must be a size as in 500MB or 20GB, got {text!r}")
    return int(float(match[1]) * UNITS[match[2]])
