"""The command that continues a text with a trained model. Everything heavy is imported inside it."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from cortexzoo.harness.cli.devices import DeviceOption, require_device
from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.options import RUNS, RunArgument, require_checkpoint
from cortexzoo.harness.cli.output import print_text, without_foreign_warnings


def generate(
    run: RunArgument,
    prompt: Annotated[
        str | None, typer.Option("--prompt", metavar="TEXT", help="The text to continue; follows the file's text.")
    ] = None,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompt-file", metavar="FILE", help="A text of any length to read first.")
    ] = None,
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=1, help="Number of new tokens (mostly bytes).")
    ] = 200,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0: always the most likely token.")] = 0.8,
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, help="Sample from the N most likely tokens.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the random numbers.")] = 0,
    write: Annotated[
        bool, typer.Option("--write", help="Consolidate what is read before the last piece into long-term memory.")
    ] = False,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="best|last", help="Which checkpoint of the run.")
    ] = "best",
    device: DeviceOption = "cpu",
) -> None:
    """Continue a text with a trained model.

    The model starts with the long-term memory of its training. A file is read in pieces, so memory use does not depend
    on its length unless the model's own memory grows. The output is the prompt and its continuation, without the file.

    Example: cortexzoo generate runs/cortexgpt-stable/20250101-120000-000-abcd --prompt "The class "
    """
    import torch

    from cortexzoo.harness.runs.find import run_path
    from cortexzoo.harness.runs.prompt import Writing
    from cortexzoo.harness.runs.run_folder import Run
    from cortexzoo.zoo.generation import generate as generate_tokens
    from cortexzoo.zoo.generation import read_all_but_the_last

    without_foreign_warnings()
    require_checkpoint(checkpoint)
    if prompt is None and prompt_file is None:
        raise BadInput("--prompt TEXT or --prompt-file FILE: at least one of them is required")
    there = require_device(device)
    opened = Run.open(run_path(run, RUNS))
    writing = Writing.of_run(opened)
    pieces = writing.pieces(prompt_file, prompt)
    first = next(pieces)  # an unreadable file is reported before the model is loaded
    model, state = opened.load_model(checkpoint, there)
    with torch.no_grad():
        start = model.between_batches(state, 1)
    last, start = read_all_but_the_last(model, (piece.to(there) for piece in chain([first], pieces)), start)
    if write and start is not None:
        with torch.no_grad():
            start = model.consolidate(start)
    continuation = generate_tokens(
        model, last, tokens, temperature=temperature, top_k=top_k, seed=seed, state=start, vocab_size=writing.size
    )
    print_text(writing.show(prompt or "", continuation[0].tolist()))
