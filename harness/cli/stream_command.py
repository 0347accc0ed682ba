"""The command that reads a long text through a trained model's memory. Everything heavy is imported inside it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cortexzoo.harness.cli.devices import DeviceOption, require_device
from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.options import RUNS, JsonOption, RunArgument, require_checkpoint
from cortexzoo.harness.cli.output import print_table, standard_error, without_foreign_warnings, write_json

if TYPE_CHECKING:
    from cortexzoo.harness.runs.streaming import Reading

COLUMNS = ("tokens", "nats a token", "tokens a second", "resident MB", "memory norm")


def stream(
    run: RunArgument,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="The text to read, of any length.")] = None,
    tokens: Annotated[
        int | None, typer.Option("--tokens", metavar="N", min=1, help="Read N random tokens instead of a file.")
    ] = None,
    session: Annotated[
        Path | None,
        typer.Option("--session", metavar="DIR", help="Start from the session saved here, if any, and save it here."),
    ] = None,
    every: Annotated[int, typer.Option("--every", metavar="N", min=1, help="Report after every N tokens.")] = 100_000,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="best|last", help="Which checkpoint of the run.")
    ] = "best",
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the random tokens.")] = 0,
    device: DeviceOption = "cpu",
    json_file: JsonOption = None,
) -> None:
    """Read a text of any length through a trained model's memory.

    Reports the loss so far, throughput, resident memory and the norm of the memory. With --session the memory is saved
    and loaded, so a text can be read in several calls. The result is the same bit for bit where each call but the last
    ends with a whole piece of 4096 tokens.

    Example: cortexzoo stream runs/cortex-v2-hybrid/20250101-120000-000-abcd --tokens 1000000
    """
    from rich.status import Status

    from cortexzoo.harness.runs.find import run_path
    from cortexzoo.harness.runs.prompt import Writing
    from cortexzoo.harness.runs.run_folder import Run
    from cortexzoo.harness.runs.streaming import SESSION, Stream, drawn_tokens, readings

    without_foreign_warnings()
    require_checkpoint(checkpoint)
    if (file is None) == (tokens is None):
        raise BadInput("FILE or --tokens N: exactly one of them is required")
    there = require_device(device)
    opened = Run.open(run_path(run, RUNS))
    if file is not None:
        pieces = Writing.of_run(opened).pieces(file, None, "FILE")
    else:
        pieces = drawn_tokens(tokens or 0, opened.spec.variant.vocab_size, seed)
    reader = Stream.of_run(opened, checkpoint, there)
    if session is not None and (session / f"{SESSION}.json").is_file():
        reader.restore(session)
    found: list[Reading] = []
    with Status("reading", console=standard_error()) as status:
        for reading in readings(reader, pieces, every):
            found.append(reading)
            status.update(f"reading: {', '.join(map(' '.join, zip(_cells(reading), COLUMNS, strict=True)))}")
    if session is not None:
        reader.save(session)
    print_table(COLUMNS, [_cells(reading) for reading in found])
    write_json(json_file, [reading.as_json() for reading in found])


def _cells(reading: "Reading") -> tuple[str, ...]:
    return (
        f"{reading.tokens:,}",
        f"{reading.nats:.4f}",
        f"{reading.tokens_per_second:,.0f}",
        f"{reading.resident_bytes / 2**20:,.0f}",
        f"{reading.state_norm:.4g}",
    )
