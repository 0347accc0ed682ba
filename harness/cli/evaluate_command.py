"""The command that measures a trained run on a held-out part of its text. Everything heavy is imported inside it."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cortexzoo.harness.cli.devices import DeviceOption, require_device
from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.options import RUNS, JsonOption, RunArgument, require_checkpoint
from cortexzoo.harness.cli.output import print_table, require_folder_of, without_foreign_warnings, write_json
from cortexzoo.specs.metrics import GATE_SHARE

if TYPE_CHECKING:
    import torch

    from cortexzoo.harness.runs.run_folder import Run

HeldOutPart = Literal["validation", "test"]


def evaluate(
    run: RunArgument,
    part: Annotated[HeldOutPart, typer.Option("--part", help="Of the text.")] = "validation",
    disable: Annotated[
        list[str] | None, typer.Option("--disable", metavar="MEMORY", help="Switch a memory off. Repeatable.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Consolidate while reading, so that what was read can be found.")
    ] = False,
    every: Annotated[
        int,
        typer.Option("--every", metavar="N", min=1, help="With --write: batches from one consolidation to the next."),
    ] = 8,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="best|last", help="Which checkpoint of the run.")
    ] = "best",
    tasks: Annotated[
        list[str] | None,
        typer.Option("--tasks", metavar="NAME", help="Tasks of lm-evaluation-harness instead. Repeatable."),
    ] = None,
    tasks_from: Annotated[
        Path | None,
        typer.Option(
            "--tasks-from", metavar="DIR", help="With --tasks: a folder of tasks of your own; their YAML is code."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="With --tasks: the first N documents of each.")
    ] = None,
    device: DeviceOption = "cpu",
    json_file: JsonOption = None,
) -> None:
    """Measure a trained run on a held-out part of its text, in nats a byte.

    Long-term memory is that of the checkpoint and stays as it is; with --write it takes in what was read, batch by
    batch. Nothing that is predicted has been read before.

    With --tasks it is measured on tasks of lm-evaluation-harness instead. Each document is read once, with its memory
    carried to its end, and begins with the memory of the checkpoint.

    Example: cortexzoo evaluate runs/cortexgpt-stable/20250101-120000-000-abcd --write
    """
    from cortexzoo.harness.runs.find import run_path
    from cortexzoo.harness.runs.run_folder import Run
    from cortexzoo.harness.runs.testing import measure_part
    from cortexzoo.harness.runs.tokenizer import kept_tokenizer
    from cortexzoo.zoo.build import load_data
    from cortexzoo.zoo.data.text import TextData

    without_foreign_warnings()
    require_folder_of(json_file)
    require_checkpoint(checkpoint)
    if tasks is None and (tasks_from is not None or limit is not None):
        raise BadInput(f"--{'limit' if tasks_from is None else 'tasks-from'} needs --tasks NAME")
    there = require_device(device)
    opened = Run.open(run_path(run, RUNS))
    if tasks is not None:
        if write or disable or part != "validation":
            raise BadInput("--tasks goes with neither --part, --disable nor --write")
        _on_tasks(opened, tasks, tasks_from, limit, checkpoint, there, json_file)
        return
    data = load_data(opened.spec, kept_tokenizer(opened))
    if not isinstance(data, TextData):
        raise BadInput(f"{run}: was trained on a task, and only a text has parts: see cortexzoo check")
    model, state = opened.load_model(checkpoint, there)
    if unknown := [name for name in disable or () if name not in model.switches]:
        has = ", ".join(model.switches) or "none"
        raise BadInput(f"--disable {unknown[0]}: {opened.spec.variant.name} has the memories: {has}")
    found = measure_part(
        data, opened.spec.recipe, model, state, part, disable or (), consolidate_every=every if write else None
    )
    counted = data.reference_losses(
        opened.spec.recipe.sequence_length, opened.spec.recipe.monitor.validation_sequences, part
    )
    shares = {name: value for name, value in found.readings.items() if name.startswith(GATE_SHARE)}
    rows = [
        ("loss, nats a byte", f"{found.loss_per_byte:.4f}"),
        *([] if data.byte_counts is None else [("loss, nats a token", f"{found.loss:.4f}")]),
        (f"counting {counted.ngram_order} bytes at a time", f"{counted.ngram:.4f}"),
        ("bytes predicted", f"{found.bytes:,.0f}"),
        *((name.removeprefix("memory/"), f"{value:.3f}") for name, value in shares.items()),
    ]
    print_table(("measured", "value"), rows)
    content = {
        "loss": found.loss_per_byte,
        "loss_per_token": found.loss,
        "ngram_loss": counted.ngram,
        "ngram_order": counted.ngram_order,
    }
    write_json(json_file, {**content, "bytes": round(found.bytes), "part": part, "write": write, "gate_shares": shares})


def _on_tasks(
    run: "Run",
    tasks: list[str],
    folder: Path | None,
    limit: int | None,
    checkpoint: str,
    device: "torch.device",
    json_file: Path | None,
) -> None:
    from cortexzoo.harness.runs.prompt import Writing
    from cortexzoo.specs.allowed_code import is_allowed
    from cortexzoo.zoo.models.network import hub_is_reachable

    if find_spec("lm_eval") is None:
        raise BadInput('--tasks needs lm-evaluation-harness: pip install "cortexzoo[evaluate]"')
    if folder is not None and not folder.is_dir():
        raise BadInput(f"--tasks-from {folder}: must be a folder with tasks as YAML")
    if folder is not None and not is_allowed(folder):
        raise BadInput(
            f"--tasks-from {folder}: such tasks can contain code, which runs with --allow-code only, or after "
            f"`cortexzoo allow-code {folder}`"
        )
    writing = Writing.of_run(run)
    if not hub_is_reachable():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read on import: no retries for half a minute
    from cortexzoo.harness.integrations.lm_evaluation import ReadingModel, evaluate_tasks

    found = evaluate_tasks(
        ReadingModel(*run.load_model(checkpoint, device), writing), tasks, folder=folder, limit=limit
    )
    rows = [(name, metric, f"{value:.4f}") for name, values in found.items() for metric, value in values.items()]
    print_table(("task", "metric", "value"), rows)
    write_json(json_file, {"tasks": found, "limit": limit})
