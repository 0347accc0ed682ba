"""The command that writes token files from a corpus of any size. Everything heavy is imported inside it."""

from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.output import print_table, print_text, standard_error, without_foreign_warnings

SPEC = """\
kind: data
family: prepared
name: {name}
path: {folder}
documents: carry  # or reset: no sequence runs from one document into the next
"""


def prepare(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write: a new or an empty folder.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE…", help="Text, .jsonl, .parquet, also .gz or .zst; globs; or hf:NAME[:SPLIT], a data set."
        ),
    ] = None,
    tokenizer: Annotated[
        str,
        typer.Option(
            "--tokenizer",
            metavar="bytes|bpe:N|FILE",
            help="bytes, a BPE of N tokens trained on the corpus, or a tokenizer.json.",
        ),
    ] = "bytes",
    field: Annotated[str, typer.Option("--field", metavar="NAME", help="The field or column with the text.")] = "text",
    separator: Annotated[
        str,
        typer.Option(
            "--separator",
            metavar="TEXT",
            help="What ends each document; may be a special token.",
            show_default="a line break",
        ),
    ] = "\n",
    validation: Annotated[float, typer.Option("--validation", min=0.0001, max=0.9, help="Share of the tokens.")] = 0.1,
    test: Annotated[float, typer.Option("--test", min=0.0001, max=0.9, help="Share of the tokens, at the end.")] = 0.1,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Pass over rows that cannot be used, instead of ending with an error.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the files in DIR with their sums, and write nothing.")
    ] = False,
) -> None:
    """Write token files from a corpus of any size, to train on without loading it.

    The corpus is read once, a piece at a time. Training uses DIR through data of the family prepared.

    Example: cortexzoo prepare my-corpus "texts/*.jsonl.gz" --tokenizer bpe:4096
    """
    from rich.status import Status

    from cortexzoo.zoo.data.preparing import Corpus
    from cortexzoo.zoo.data.preparing import prepare as write
    from cortexzoo.zoo.data.token_files import TokenFolder

    without_foreign_warnings()
    if verify:
        TokenFolder.open(folder).verify()
        print_text(f"{folder}: every file is as it was written")
        return
    if not sources:
        raise BadInput("FILE…: at least one file or data set is required")
    if validation + test >= 1:
        raise BadInput(f"--validation and --test must leave something to train on, got {validation} and {test}")
    file, size = _tokenizer(tokenizer)
    corpus = Corpus(tuple(sources), field, separator.encode(), validation, test, skip_bad)
    with Status("reading", console=standard_error()) as status:
        about = write(corpus, folder, file, size, lambda done: status.update(f"read {done / 1e6:,.0f} MB"))
    rows = [
        (name, f"{part['documents']:,}", f"{part['tokens'][1] - part['tokens'][0]:,}", f"{part['bytes']:,}")
        for name, part in about["parts"].items()
    ]
    print_table(("part", "documents", "tokens", "bytes"), rows)
    if about["skipped"]:
        print_text(f"{about['skipped']:,} rows were passed over")
    spec = folder.with_name(f"{folder.name}.yaml")
    if not spec.exists():
        name = "".join(c if c.isalnum() and c.isascii() else "-" for c in folder.name.lower()).strip("-") or "corpus"
        spec.write_text(SPEC.format(name=name, folder=folder.name), encoding="utf-8")
        print_text(f"wrote {folder}, and {spec} to train on it: cortexzoo train EXPERIMENT --data {spec}")


def _tokenizer(named: str) -> tuple[Path | None, int | None]:
    """A file, or the size of a BPE to train; neither for bytes."""
    if named == "bytes":
        return None, None
    if not named.startswith("bpe:"):
        return Path(named), None
    size = named.removeprefix("bpe:")
    if not size.isdigit() or not 257 <= int(size[:9]) <= 1_000_000:
        raise BadInput(f"--tokenizer bpe:N: N must be a number from 257 to 1000000, got {size}")
    return None, int(size)
