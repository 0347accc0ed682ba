"""Everything that a GPU can show, in one run.

Needs the checkout and, where they are missing, the packages accelerate, faiss-cpu, fla-core, jaxtyping, platformdirs,
psutil, pydantic, rich, ruamel.yaml, safetensors, transformers and typer. First what is measured with nothing beside it:
the card's own rates, the ops against their naive twins in float64 and against fla-core's kernels, and training steps;
then, side by side in processes of their own, every shipped experiment with its checks, a run that is killed and
resumed, and one process under torchrun, with DDP and with FSDP2.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from cortexzoo.harness.bench.gpu import card, ops, steps, trainings
from cortexzoo.harness.bench.gpu.row import Row

MOST_SECONDS = 400.0
MARKS = ("<!-- begin gpu -->", "<!-- end gpu -->")
"""Between them a page has the tables."""
EMPTY_PAGE = "\n".join(("# On a GPU", "", *MARKS, ""))


def is_there() -> bool:
    """Whether torch sees a card."""
    return torch.cuda.is_available()


def rows(seconds: float, logs: Path | None = None, short: bool = False) -> Iterator[Row]:
    """All that is tried, one after the other; `seconds` limits each training. Outputs of trainings stay in `logs`."""
    rates = card.rates()
    yield from card.rows(rates)
    yield from ops.rows(rates)
    yield from steps.rows()
    with tempfile.TemporaryDirectory() as folder:
        yield from trainings.rows(logs or Path(folder), seconds, short)


def tables(rows: Sequence[Row]) -> list[str]:
    """The rows as Markdown, a table a section."""
    lines = []
    for section in dict.fromkeys(row.section for row in rows):
        lines += ["", f"### {section.capitalize()}", "", "| what | seen | bound | |", "|---|---|---|---|"]
        marks = {True: "within", False: "**not within**", None: ""}
        lines += [
            f"| {row.what} | {row.seen.replace('|', '/')} | {row.bound} | {marks[row.fine]} |"
            for row in rows
            if row.section == section
        ]
    return lines[1:]
