"""Training an experiment into a run folder, and checking a run: the way from a spec to its verdict."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cortexzoo.harness.checking.circumstances import circumstances
from cortexzoo.harness.checking.effort import PROFILES, Profile
from cortexzoo.harness.checking.judge import Watch, bound_of, judge_all
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import VERDICT, Certificate
from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.aim_sync import open_sink
from cortexzoo.harness.runs.curves import draw_curves
from cortexzoo.harness.runs.distributed import agree_on_folder, part, together_or_not
from cortexzoo.harness.runs.interventions import NONE, Interventions
from cortexzoo.harness.runs.manifest import command_line, manifest
from cortexzoo.harness.runs.memory import require_memory
from cortexzoo.harness.runs.run_folder import (
    CHECKPOINTS,
    CURVES,
    MANIFEST,
    REFUSED,
    SUMMARY,
    Run,
    RunFolderError,
)
from cortexzoo.harness.runs.testing import on_the_test_part
from cortexzoo.harness.tracking.aim.sink import REPOSITORY, AimSink
from cortexzoo.harness.tracking.base import CompositeRecorder, guarded
from cortexzoo.harness.tracking.deadlines import OPENING
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.suite import PropertyName
from cortexzoo.zoo.build import build_trainer, load_data
from cortexzoo.zoo.costs import trained_parameters
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.errors import TrainingError, TrainingStopped
from cortexzoo.zoo.training.loop import TrainingLoop

Warn = Callable[[str], None]


def train_run(
    experiment: ExperimentSpec,
    runs: Path,
    *,
    aim: bool,
    progress: bool,
    warn: Warn,
    began: Callable[[Run], None] = lambda _: None,
    interventions: Interventions = NONE,
    force: bool = False,
) -> Run:
    """Train `experiment` into a new folder under `runs`: records, checkpoints, summary, curves.

    `began` is called with the run once everything is ready to train. A run with interventions is never taken for a run
    of its experiment.
    Raises `RunFolderError`, `DataError` or `SetupError` before anything is trained, and then leaves nothing behind, the
    last also where the predicted memory is more than there is, unless with `force`;
    `RunStopped` or `TrainingError` later, when what was recorded and saved so far stays.
    """
    with ExitStack() as undo:
        with together_or_not():
            if not force:
                require_memory(experiment)
            run = Run.create(runs, experiment)
            undo.callback(run.discard)
            recorder = open_records(run, warn, undo)
        agree_on_folder(run.path)
        trainer = trainer_in(run.path, experiment, recorder, progress)
        with together_or_not():
            interventions.apply(trainer)
            interventions.record(run, recorder)
            content = manifest(
                experiment, run_id=run.path.name, command=command_line(), data_sha256=trainer.objective.sha256
            )
            if interventions != NONE:
                content["tampered_with"] = interventions.as_json()
            run.write_json(MANIFEST, content)
        agree_on_folder(run.path)
        undo.pop_all()
    train_in(run, experiment, trainer, recorder, content, aim=aim, warn=warn, began=began)
    return run


def help_to_train(
    experiment: ExperimentSpec,
    interventions: Interventions = NONE,
    prepare: Callable[[TrainingLoop, Path], None] = lambda trainer, folder: None,
) -> None:
    """Train along in a process that is not the first: its rows of every batch, no records. Raises as `train_run`.

    `prepare` gets the trainer and the run's folder before the first step.
    """
    folder = agree_on_folder(None)
    if folder is None:
        return
    trainer = trainer_in(folder, experiment)
    with together_or_not():
        interventions.apply(trainer)
        prepare(trainer, folder)
    if agree_on_folder(None) is not None:
        trainer.run()
        part()


def open_records(run: Run, warn: Warn, undo: ExitStack) -> CompositeRecorder:
    """The recorder of a run, which `undo` closes. Raises `RunStopped` when nothing can be written."""
    recorder = CompositeRecorder(JsonlSink(run.path), warn=warn)
    undo.callback(recorder.close)
    return recorder


def trainer_in(
    folder: Path, experiment: ExperimentSpec, recorder: CompositeRecorder | None = None, progress: bool = False
) -> TrainingLoop:
    """A trainer that keeps checkpoints and refused batches in a run's folder. Every process must call it.

    Raises `DataError`, `SetupError`, `BackboneError`.
    """
    return build_trainer(
        experiment,
        recorder=recorder,
        folder=folder / CHECKPOINTS,
        refused_batches=folder / REFUSED,
        progress=progress,
    )


def train_in(
    run: Run,
    experiment: ExperimentSpec,
    trainer: TrainingLoop,
    recorder: CompositeRecorder,
    content: Mapping[str, Any],
    *,
    aim: bool,
    warn: Warn,
    began: Callable[[Run], None],
) -> None:
    """Take the steps that are left to `trainer`, write the summary, draw the curves; close `recorder` however it ends.

    `content` is the run's manifest; an Aim run that it names is continued, else a new one is begun.
    Raises `RunFolderError` when another process trains the run, `RunStopped`, `TrainingError`.
    """
    try:
        with run.held():
            known = content.get("aim_run")
            sink = recorder.attach(AimSink.name, lambda: open_sink(run, experiment, known)) if aim else None
            if sink is not None:
                run.write_json(MANIFEST, {**content, "aim_run": sink.run_hash})
            began(run)
            summary = _trained(run, experiment, trainer)
            part()
    finally:
        recorder.close()
    if sink is not None and sink not in recorder.working:
        run.write_json(MANIFEST, content)
    title = f"{experiment.name} · seed {experiment.seed} · {summary['steps_taken']} steps"
    bound = bound_of("bounded_loss_ratio", experiment.suite)
    draw_curves(run.path / CURVES, run.metrics(), summary, title=title, bound=bound)
    _tell_aim(run, summary, warn=warn)


def check_run(
    run: Run,
    *,
    warn: Warn,
    checkpoint: str = "best",
    profile: Profile = PROFILES["dev"],
    budget: float | None = None,
    started: Callable[[PropertyName], None] = lambda _: None,
    watch: Watch = lambda _: None,
) -> Certificate:
    """Try every property of the run's suite on its trained model; write `verdict.json` and complete `summary.json`.

    `profile` says how thoroughly, `budget` within how many seconds if not the profile's own.

    Raises `RunFolderError` when the run is incomplete or its text has changed, `DataError` when the text is gone.
    """
    experiment, summary = run.spec, run.summary
    certificate = judge_all(
        subject_of(run, checkpoint),
        experiment.suite,
        {
            "experiment": experiment.name,
            "run": run.path.name,
            "spec_hash": experiment.hash(),
            "suite": experiment.suite.name,
            "seed": experiment.seed,
            "checkpoint": checkpoint,
            "profile": profile.name,
            **circumstances(),
        },
        started=started,
        effort=profile.effort(budget),
        watch=watch,
    )
    run.write_json(VERDICT, certificate.as_json())
    summary |= {
        "verdict": certificate.outcome,
        "verdicts": {judgement.name: judgement.verdict for judgement in certificate.judgements},
        "margins": {j.name: j.margin for j in certificate.judgements if j.margin is not None},
    }
    run.write_json(SUMMARY, summary)
    _tell_aim(run, summary, warn=warn, report=certificate.in_words())
    return certificate


def subject_of(run: Run, checkpoint: str = "best") -> Subject:
    """The trained model of a run with its memory, held-out text and record."""
    data = load_data(run.spec)
    if data.sha256 != (trained_on := run.manifest.get("data_sha256")):
        raise RunFolderError(
            f"{run.path}: the content of {run.spec.data.name} is not the one it was trained on "
            f"(sha256 {data.sha256[:12]}…, then {str(trained_on)[:12]}…): train again"
        )
    model, state = run.load_model(checkpoint)
    text = torch.tensor(data.held_out_tokens(), dtype=torch.long)  # a copy: the text cannot be written to
    task = data.task if isinstance(data, TaskData) else None
    return Subject(run.spec, model, state, text, run.metrics(), run.summary, task)


def _trained(run: Run, experiment: ExperimentSpec, trainer: TrainingLoop) -> dict[str, Any]:
    """Train, and write the summary however training ends."""
    fixed = {
        "experiment": experiment.name,
        "seed": experiment.seed,
        "spec_hash": experiment.hash(),
        "parameters": trained_parameters(trainer.model),
        "swing_window": experiment.recipe.monitor.swing_window,
    }
    try:
        result = trainer.run()
    except (TrainingError, RunStopped) as problem:
        gave_up = {"gave_up_at": problem.step} if isinstance(problem, TrainingStopped) else {}
        with suppress(RunStopped):
            run.write_json(SUMMARY, {"status": "failed", "cause": str(problem), **gave_up, **fixed})
        raise
    summary = {"status": result.stopped or "finished", **fixed, **asdict(result)}
    if not result.stopped:
        summary |= on_the_test_part(run, trainer.objective)
    run.write_json(SUMMARY, summary)
    return summary


def _tell_aim(run: Run, summary: Mapping[str, Any], *, warn: Warn, report: str = "") -> None:
    """Add the outcome to the run's Aim run, if it has one and the repository is still there."""
    runs, run_hash = run.path.parent.parent, run.manifest.get("aim_run")
    if run_hash is None or not (runs / REPOSITORY).is_dir():
        return

    def write() -> None:
        sink = AimSink(runs, experiment=str(summary["experiment"]), run_hash=run_hash)
        sink.outcome(summary, report=report, picture=run.path / CURVES)
        sink.close()

    guarded(AimSink.name, OPENING, write, warn)
