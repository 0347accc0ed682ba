"""Commands that train, check and use a model. Everything heavy is imported inside them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cortexzoo.harness.checking.effort import PROFILES, ProfileName
from cortexzoo.harness.cli.errors import INTERRUPTED, OK, UNEXPECTED_VERDICT, BadInput, lines_and_code, tell
from cortexzoo.harness.cli.options import (
    RUNS,
    AimOption,
    JsonOption,
    Overrides,
    RunsOption,
    SpecArgument,
    with_overrides,
)
from cortexzoo.harness.cli.output import require_folder_of, say, without_foreign_warnings, write_json
from cortexzoo.harness.cli.progress import checking_progress
from cortexzoo.harness.cli.verdicts import tell_verdicts
from cortexzoo.harness.parallel.distributed import is_first, process_count
from cortexzoo.specs import ExperimentSpec, FaultsSpec, SpecError, load, load_experiment
from cortexzoo.specs.objective import Recall
from cortexzoo.specs.task import TaskSpec

if TYPE_CHECKING:
    from cortexzoo.harness.runs.run_folder import Run

LAST, OLDER = "last", "step-"
TERMINATED = 143


@with_overrides
def train(
    spec: SpecArgument,
    *,
    given: Overrides,
    runs: RunsOption = RUNS,
    aim: AimOption = True,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Try the suite's properties afterwards.")] = True,
    json_file: JsonOption = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with this run instead of beginning a new one.")
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="last|step-N", help="With --resume: where the run goes on.")
    ] = "last",
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="With --resume: go on although the spec is another one by now.")
    ] = False,
    inject: Annotated[
        str | None,
        typer.Option("--inject", metavar="NAME|FILE", help="Let these faults strike (see `cortexzoo list faults`)."),
    ] = None,
) -> None:
    """Train an experiment, draw its curves, and say which properties the trained model has.

    A run that was stopped or killed goes on with --resume, and ends as if it had never been.
    Ends with 0 when every verdict is the one that the suite expects, with 1 when one is not.

    Example: cortexzoo train cortexgpt-stable --set recipe.steps=100
    """
    without_foreign_warnings()
    require_folder_of(json_file)
    experiment = load_experiment(spec, given.changes())
    faults = None if inject is None else load(inject, "faults")
    if resume is None and (allow_changes or checkpoint != LAST):
        raise BadInput(f"{'--allow-changes' if allow_changes else '--checkpoint'}: only goes with --resume RUN")
    if resume is not None:
        if faults is not None:
            raise BadInput(f"--inject {inject}: faults strike a new run only: leave --resume out")
        if not (checkpoint == LAST or checkpoint.startswith(OLDER)):
            raise BadInput(f"--checkpoint: a run goes on from last or step-N, got {checkpoint!r}")
        if runs not in (RUNS, resume.parent.parent):
            raise BadInput(f"--runs {runs}: a resumed run stays where it is, in {resume.parent.parent}: leave it out")
    if not is_first():
        raise typer.Exit(_helped(experiment, faults, None if resume is None else checkpoint, allow_changes))
    if resume is None:
        run = trained(experiment, runs, aim=aim, faults=faults)
    else:
        run = _resume(experiment, resume, checkpoint, aim=aim, allow_changes=allow_changes)
    check = check and process_count() == 1  # the others are gone, and checking takes one process
    raise typer.Exit(checked(run, "best", json_file) if check else _unchecked(run, json_file))


def trained(experiment: ExperimentSpec, runs: Path, *, aim: bool, faults: FaultsSpec | None = None) -> "Run":
    """Train and tell in words what came out. Ends the command when training was interrupted."""
    from cortexzoo.harness.runs.interventions import Interventions
    from cortexzoo.harness.runs.train import train_run

    def began(run: "Run") -> None:
        _announce(experiment, f"run folder: {run.path}")

    run = train_run(
        experiment,
        runs,
        aim=aim,
        progress=True,
        warn=lambda line: tell([line]),
        began=began,
        interventions=Interventions(faults),
    )
    if faults is not None:
        struck = [event["detail"]["fault"] for event in run.events() if event["kind"] == "fault_injected"]
        say(f"{len(struck)} faults struck: {', '.join(struck)}; what came of them: {run.path}/events.jsonl")
    return _told(run)


def _helped(
    experiment: ExperimentSpec, faults: FaultsSpec | None, resumed_from: str | None, allow_changes: bool
) -> int:
    """Train along with the first process, which says what there is to say."""
    from cortexzoo.harness.runs.interventions import Interventions
    from cortexzoo.harness.runs.resume import help_to_resume
    from cortexzoo.harness.runs.run_folder import RunFolderError
    from cortexzoo.harness.runs.train import help_to_train
    from cortexzoo.zoo.training.errors import TrainingError

    try:
        if resumed_from is None:
            help_to_train(experiment, Interventions(faults))
        else:
            help_to_resume(experiment, resumed_from, allow_changes)
    except (TrainingError, RunFolderError, SpecError) as error:
        told = lines_and_code(error)
        assert told is not None
        return told[1]
    return OK


def _resume(experiment: ExperimentSpec, path: Path, checkpoint: str, *, aim: bool, allow_changes: bool) -> "Run":
    """As `trained`, for a run that goes on."""
    from cortexzoo.harness.runs.resume import resume_run

    def began(run: "Run") -> None:
        _announce(experiment, f"goes on at step {run.manifest['resumed'][-1]['from_step']}: {run.path}")

    run = resume_run(
        path,
        experiment,
        checkpoint=checkpoint,
        allow_changes=allow_changes,
        aim=aim,
        progress=True,
        warn=lambda line: tell([line]),
        began=began,
    )
    return _told(run)


def _announce(experiment: ExperimentSpec, place: str) -> None:
    """What is about to be trained, before the first step."""
    say(_intention(experiment))
    tell(_doubts(experiment))
    say(place)


def _told(run: "Run") -> "Run":
    """Say what training came to. Ends the command when it was interrupted."""
    summary = run.summary
    if stopped := summary["stopped"]:
        steps = summary["steps_taken"]
        tell([f"{stopped} after step {steps}: it is saved; go on with the same command and --resume {run.path}"])
        raise typer.Exit(INTERRUPTED if stopped == "interrupted" else TERMINATED)
    say(_result(summary))
    say(f"curves: {run.path}/curves.png")
    return run


def checked(
    run: "Run",
    checkpoint: str,
    json_file: Path | None,
    profile: ProfileName = "dev",
    budget: float | None = None,
) -> int:
    from cortexzoo.harness.runs.train import check_run
    from cortexzoo.harness.tracking.jsonl import to_json_value

    with checking_progress(len(run.spec.suite.properties)) as progress:
        certificate = check_run(
            run,
            checkpoint=checkpoint,
            profile=PROFILES[profile],
            budget=budget,
            warn=lambda line: tell([line]),
            started=progress.started,
            watch=progress.tried,
        )
    tell_verdicts(certificate)
    say(f'next: cortexzoo generate {run.path} --prompt "The "')
    report = {"folder": str(run.path), **certificate.as_json(), "summary": run.summary}
    write_json(json_file, to_json_value(report))
    return UNEXPECTED_VERDICT if certificate.unexpected else OK


def _unchecked(run: "Run", json_file: Path | None) -> int:
    from cortexzoo.harness.tracking.jsonl import to_json_value

    say(f"next: cortexzoo check {run.path}")
    write_json(json_file, to_json_value({"folder": str(run.path), "summary": run.summary}))
    return OK


def _doubts(experiment: ExperimentSpec) -> list[str]:
    """What is allowed but hardly meant."""
    objective = experiment.recipe.objective
    if isinstance(objective, Recall) and objective.bptt_chunks == 1:
        return ["recipe.objective.bptt_chunks is 1: no answer teaches what an earlier chunk should write"]
    return []


def _intention(experiment: ExperimentSpec) -> str:
    from cortexzoo.specs.parameters import parameter_count

    recipe = experiment.recipe
    size = f"{parameter_count(experiment.variant):,} parameters"
    rows = recipe.batch_size * recipe.accumulation
    if isinstance(recipe.objective, Recall) and isinstance(experiment.data, TaskSpec):
        longest = max(gap for stage in recipe.objective.stages for gap in stage.gaps)
        unit = experiment.data.gap_unit[:-1] if longest == 1 else experiment.data.gap_unit
        work = f"{recipe.steps} steps of up to {rows} documents with gaps up to {longest} {unit}"
    else:
        work = f"{recipe.steps} steps of {rows} × {recipe.sequence_length} bytes"
    return f"{experiment.name}: {size}, {work}, recipe {recipe.name}, seed {experiment.seed}"


def _result(summary: dict[str, Any]) -> str:
    """The held-out loss in words, against what counting reaches; of a task, what was recalled over which gap."""
    loss, bigram, unigram = (summary.get(key) for key in ("best_validation_loss", "bigram_loss", "unigram_loss"))
    speed = f"{summary['tokens_per_second']:,.0f} tokens a second, {summary['seconds']:.0f} s in all"
    if summary.get("recall"):
        return f"{_recalled(summary)} ({speed})"
    if loss is None:
        return "the held-out loss was never measured"
    if bigram is None or unigram is None:
        return f"held out: {loss:.3f} nats a token ({speed})"
    standing = (
        "below both" if loss < min(bigram, unigram) else "above bigram counts" if loss < unigram else "above both"
    )
    return (
        f"held out: {loss:.3f} nats a byte; counting bigrams reaches {bigram:.3f}, counting bytes {unigram:.3f}: "
        f"{standing} ({speed})"
    )


def _recalled(summary: dict[str, Any]) -> str:
    """Right answers by gap, beside those of the controls."""
    (task, by_gap), *_ = summary["recall"].items()
    recalled = ", ".join(f"{share:.1%} at {gap}" for gap, share in by_gap.items())
    controls = {"memory off": summary["recall_memory_off"], "base alone": summary["recall_base"]}
    beside = [f"{name} {max(found[task].values()):.1%}" for name, found in controls.items() if found]
    chance = f"chance {summary['chance'][task]:.2g}"
    text = ""
    if summary.get("perplexity") is not None:
        text = f"; plain text: perplexity {summary['perplexity']:.2f}, the base's {summary['base_perplexity']:.2f}"
    return f"answers right by gap: {recalled}; at most {', '.join([*beside, chance])}{text}"
