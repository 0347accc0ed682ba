"""Commands that train, check and use a model. Everything heavy is imported inside them."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.errors import FINE, INTERRUPTED, UNEXPECTED_VERDICT, BadInput, tell
from harness.cli.options import (
    DataOption,
    JsonOption,
    RecipeOption,
    SeedOption,
    SetOption,
    SpecArgument,
    SuiteOption,
    VariantOption,
    overrides,
)
from harness.cli.output import console, write_json
from specs import ExperimentSpec, load_experiment, shipped_names

if TYPE_CHECKING:
    from harness.run_folder import Run

RUNS = Path("runs")
TERMINATED = 143
REASONS_BESIDE = 130
"""A terminal at least this wide shows the reasons as a column of the table."""

RunsOption = Annotated[Path, typer.Option("--runs", metavar="DIR", help="The folder that holds all runs.")]
AimOption = Annotated[bool, typer.Option("--aim/--no-aim", help="Also track with Aim, in the folder of all runs.")]


def train(
    spec: SpecArgument,
    variant: VariantOption = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    suite: SuiteOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    runs: RunsOption = RUNS,
    aim: AimOption = True,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Try the suite's properties afterwards.")] = True,
    json_file: JsonOption = None,
) -> None:
    """Train an experiment, draw its curves, and say which properties the trained model has.

    Ends with 0 when every verdict is the one that the suite expects, with 1 when one is not.

    Example: cortexzoo train cortexgpt-stable --set recipe.steps=100
    """
    _without_foreign_warnings()
    _require_folder_of(json_file)
    changes = overrides(variant=variant, recipe=recipe, data=data, suite=suite, seed=seed, sets=sets)
    run = _train(load_experiment(spec, changes), runs, aim=aim)
    raise typer.Exit(_check(run, "best", json_file) if check else _unchecked(run, json_file))


def check(
    target: Annotated[str, typer.Argument(metavar="RUN|NAME|FILE", help="A run folder, or an experiment.")],
    variant: VariantOption = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    suite: SuiteOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    runs: RunsOption = RUNS,
    aim: AimOption = True,
    checkpoint: Annotated[str, typer.Option("--checkpoint", metavar="best|last")] = "best",
    json_file: JsonOption = None,
) -> None:
    """Try the properties again: on a run, or on an experiment's newest finished run (trained first if there is none).

    Ends with 0 when every verdict is the one that the suite expects, with 1 when one is not.

    Example: cortexzoo check cortexgpt-stable
    """
    from harness.run_folder import Run, finished_runs

    _without_foreign_warnings()
    _require_folder_of(json_file)
    _require_checkpoint(checkpoint)
    changes = overrides(variant=variant, recipe=recipe, data=data, suite=suite, seed=seed, sets=sets)
    if _names_a_run(target):
        if changes:
            raise BadInput(f"{target}: a run is checked as it was trained: leave out {changes[0]}, or train again")
        run = Run.open(target)
    else:
        experiment = load_experiment(target, changes)
        found = next(finished_runs(runs, experiment), None)
        if found is None:
            _say(
                f"no finished run of {experiment.name} with spec hash {experiment.hash()} in {runs}: training it first"
            )
        run = found or _train(experiment, runs, aim=aim)
    raise typer.Exit(_check(run, checkpoint, json_file))


def generate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")],
    prompt: Annotated[str, typer.Option("--prompt", metavar="TEXT", help="What the text begins with.")],
    tokens: Annotated[int, typer.Option("--tokens", metavar="N", min=1, help="New bytes.")] = 200,
    temperature: Annotated[float, typer.Option("--temperature", min=0, help="0: always the likeliest byte.")] = 0.8,
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, help="Choose among so many likeliest bytes.")] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0)] = 0,
    checkpoint: Annotated[str, typer.Option("--checkpoint", metavar="best|last")] = "best",
) -> None:
    """Continue a text with a trained model and the long-term memory that it was trained with.

    Example: cortexzoo generate runs/cortexgpt-stable/20250101-120000-000-abcd --prompt "The class "
    """
    import torch

    from harness.run_folder import Run
    from zoo.generation import generate as generate_tokens

    _without_foreign_warnings()
    _require_checkpoint(checkpoint)
    content = os.fsencode(prompt)
    if not content:
        raise BadInput("--prompt: must hold at least one byte, got none")
    model, state = Run.open(run).load_model(checkpoint)
    if max(content) >= model.vocab_size:
        raise BadInput(f"--prompt: holds byte {max(content)}, but the model knows only {model.vocab_size} bytes")
    with torch.no_grad():
        start = model.between_batches(state, 1)
    continuation = generate_tokens(
        model, torch.tensor([list(content)]), tokens, temperature=temperature, top_k=top_k, seed=seed, state=start
    )
    print((content + bytes(continuation[0].tolist())).decode("utf-8", errors="replace"))


def _train(experiment: ExperimentSpec, runs: Path, *, aim: bool) -> "Run":
    """Train and tell in words what came out. Ends the command when training was interrupted."""
    from harness.runner import train_run

    def began(run: "Run") -> None:
        _say(_intention(experiment))
        _say(f"run folder: {run.path}")

    run = train_run(experiment, runs, aim=aim, progress=True, warn=lambda line: tell([line]), began=began)
    summary = run.summary
    if stopped := summary["stopped"]:
        tell([f"{stopped} after step {summary['steps_taken']}: it is saved in {run.path / 'checkpoints' / 'last'}"])
        raise typer.Exit(INTERRUPTED if stopped == "interrupted" else TERMINATED)
    _say(_result(summary))
    _say(f"curves: {run.path}/curves.png")
    return run


def _check(run: "Run", checkpoint: str, json_file: Path | None) -> int:
    from rich.status import Status

    from harness.runner import check_run
    from harness.tracking.jsonl import to_json_value
    from harness.verdict_table import reasons, verdict_table

    out = console()
    with Status("checking", console=_standard_error()) as status:
        certificate = check_run(
            run,
            checkpoint=checkpoint,
            warn=lambda line: tell([line]),
            started=lambda name: status.update(f"checking {name}"),
        )
    beside = out.width >= REASONS_BESIDE
    out.print(verdict_table(certificate, with_reasons=beside))
    if not beside:
        out.print()
        out.print(reasons(certificate))
    out.print()
    _say(certificate.in_words())
    _say(f'next: cortexzoo generate {run.path} --prompt "The "')
    report = {"folder": str(run.path), **certificate.as_json(), "summary": run.summary}
    write_json(json_file, to_json_value(report))
    return UNEXPECTED_VERDICT if certificate.surprises else FINE


def _unchecked(run: "Run", json_file: Path | None) -> int:
    from harness.tracking.jsonl import to_json_value

    _say(f"next: cortexzoo check {run.path}")
    write_json(json_file, to_json_value({"folder": str(run.path), "summary": run.summary}))
    return FINE


def _intention(experiment: ExperimentSpec) -> str:
    from specs.parameters import parameter_count

    recipe = experiment.recipe
    size = f"{parameter_count(experiment.variant):,} parameters"
    work = f"{recipe.steps} steps of {recipe.batch_size * recipe.accumulation} × {recipe.sequence_length} bytes"
    return f"{experiment.name}: {size}, {work}, recipe {recipe.name}, seed {experiment.seed}"


def _result(summary: dict[str, Any]) -> str:
    """The held-out loss in words, against what counting reaches."""
    loss, bigram, unigram = summary["best_validation_loss"], summary["bigram_loss"], summary["unigram_loss"]
    if loss is None:
        return "the held-out loss was never measured"
    standing = (
        "below both" if loss < min(bigram, unigram) else "above bigram counts" if loss < unigram else "above both"
    )
    speed = f"{summary['tokens_per_second']:,.0f} bytes a second, {summary['seconds']:.0f} s in all"
    return (
        f"held out: {loss:.3f} nats a byte; counting bigrams reaches {bigram:.3f}, counting bytes {unigram:.3f}: "
        f"{standing} ({speed})"
    )


def _names_a_run(target: str) -> bool:
    if target.endswith((".yaml", ".yml")) or target in shipped_names("experiment"):
        return False
    return os.sep in target or Path(target).is_dir()


def _require_checkpoint(name: str) -> None:
    if name not in ("best", "last"):
        raise BadInput(f"--checkpoint: must be best or last, got {name!r}")


def _require_folder_of(file: Path | None) -> None:
    """Before minutes of training, not after."""
    if file is not None and not file.parent.is_dir():
        raise BadInput(f"--json {file}: there is no folder {file.parent}")


def _without_foreign_warnings() -> None:
    """Warnings of libraries are for developers; what a user must know is printed as a line of its own."""
    warnings.simplefilter("ignore")


def _standard_error() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def _say(line: str) -> None:
    print(line, flush=True)
