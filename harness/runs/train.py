"""Training an experiment into a run folder, and checking a run: the way from a spec to its verdict."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cortexzoo.harness.checking.circumstances import circumstances
from cortexzoo.harness.checking.effort import PROFILES, Profile
from cortexzoo.harness.checking.judge import Watch, judge_all
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import VERDICT, Certificate
from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.curves import draw_curves
from cortexzoo.harness.runs.distributed import agree_on_folder, part, together_or_not
from cortexzoo.harness.runs.freed_memory import freed_memory_stays
from cortexzoo.harness.runs.interventions import NONE, Interventions
from cortexzoo.harness.runs.manifest import command_line, manifest
from cortexzoo.harness.runs.memory import require_memory
from cortexzoo.harness.runs.options import DEFAULTS, RunOptions
from cortexzoo.harness.runs.other_load import OTHER_CORES, OtherLoad
from cortexzoo.harness.runs.own_code import keep_code
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
from cortexzoo.harness.runs.tokenizer import keep_tokenizer, kept_tokenizer
from cortexzoo.harness.tracking.alerts import Alerts
from cortexzoo.harness.tracking.base import CompositeRecorder, Sink, Warn
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.harness.tracking.opening import attach_trackers, report_outcome
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_trainer, load_data
from cortexzoo.zoo.costs import trained_parameters
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.errors import TrainingError, TrainingStopped
from cortexzoo.zoo.training.loop import TrainingLoop


def train_run(experiment: ExperimentSpec, runs: Path, options: RunOptions = DEFAULTS) -> Run:
    """Train `experiment` into a new folder under `runs`: records, checkpoints, summary, curves.

    A run with interventions is never taken for a run of its experiment.
    Raises `RunFolderError`, `DataError` or `SetupError` before anything is trained, and then leaves nothing behind, the
    last also where the predicted memory is more than there is, unless with `options.force`;
    `RunStopped` or `TrainingError` later, when what was recorded and saved so far stays.
    """
    interventions = options.interventions
    with ExitStack() as undo:
        with together_or_not():
            if not options.force:
                require_memory(experiment, options.warn)
            run = Run.create(runs, experiment)
            undo.callback(run.discard)
            recorder = open_records(run, options.warn, undo)
        agree_on_folder(run.path)
        trainer = trainer_in(run.path, experiment, recorder, options.progress)
        with together_or_not():
            interventions.apply(trainer)
            interventions.record(run, recorder)
            content = manifest(
                experiment,
                run_id=run.path.name,
                command=command_line(),
                data_sha256=trainer.objective.sha256,
                tokenizer=trainer.objective.tokenizer,
            )
            keep_tokenizer(run, trainer.objective.tokenizer)
            keep_code(run.path, experiment.variant)
            if interventions != NONE:
                content["tampered_with"] = interventions.as_json()
            run.write_json(MANIFEST, content)
        agree_on_folder(run.path)
        undo.pop_all()
    train_in(run, experiment, trainer, recorder, content, options)
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
        with freed_memory_stays():
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

    Raises `DataError`, `SetupError`, `BackboneError`, and `RunFolderError` where the run's tokenizer was changed.
    """
    return build_trainer(
        experiment,
        recorder=recorder,
        folder=folder / CHECKPOINTS,
        refused_batches=folder / REFUSED,
        progress=progress,
        tokenizer=kept_tokenizer(Run(folder)),
    )


def train_in(
    run: Run,
    experiment: ExperimentSpec,
    trainer: TrainingLoop,
    recorder: CompositeRecorder,
    content: Mapping[str, Any],
    options: RunOptions,
) -> None:
    """Take the steps that are left to `trainer`, write the summary, draw the curves; close `recorder` however it ends.

    `content` is the run's manifest; the identity of the run in each tracker is continued.
    Raises `RunFolderError` when another process trains the run, `RunStopped`, `TrainingError`.
    """
    try:
        with run.held():
            known = content.get("trackers", {})
            names = experiment.trackers if options.trackers is None else options.trackers
            sinks = attach_trackers(recorder, run.path, experiment, names, known)
            if sinks:
                run.write_json(MANIFEST, {**content, "trackers": {**known, **_identities(sinks.values())}})
            recorder.alerts, recorder.folder = Alerts(experiment.recipe.alerts, options.on_alert), str(run.path)
            for record in run.metrics() if experiment.recipe.alerts and trainer.position else ():
                recorder.alerts.see(record)
            options.began(run)
            summary = _trained(run, experiment, trainer, recorder)
            part()
            title = f"{experiment.name} · seed {experiment.seed} · {summary['steps_taken']} steps"
            bound = experiment.suite.properties.get("bounded_loss_ratio", Check()).bound_of("bounded_loss_ratio")
            draw_curves(run.path / CURVES, run.metrics(), summary, title=title, bound=bound)
            recorder.outcome(summary, report="", picture=run.path / CURVES)
    finally:
        recorder.close()
    if failed := [sink for sink in sinks.values() if sink not in recorder.working]:
        kept = {**known, **_identities(sinks.values())}
        for sink in failed:
            kept.pop(sink.name, None)
        run.write_json(MANIFEST, {**content, "trackers": kept})


def _identities(sinks: Iterable[Sink]) -> dict[str, str]:
    """What the manifest keeps, to find the run in each tracker again."""
    return {sink.name: sink.identity for sink in sinks if sink.identity is not None}


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

    `profile` gives the thoroughness, `budget` the seconds if they are not the profile's own.

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
    report_outcome(
        run.path,
        experiment,
        run.manifest.get("trackers", {}),
        summary,
        report=certificate.in_words(),
        picture=run.path / CURVES,
        warn=warn,
    )
    return certificate


def subject_of(run: Run, checkpoint: str = "best") -> Subject:
    """The trained model of a run with its memory, held-out text and record."""
    data = load_data(run.spec, kept_tokenizer(run))
    if data.sha256 != (trained_on := run.manifest.get("data_sha256")):
        raise RunFolderError(
            f"{run.path}: the content of {run.spec.data.name} differs from the one it was trained on "
            f"(sha256 {data.sha256[:12]}…, then {str(trained_on)[:12]}…): train again"
        )
    model, state = run.load_model(checkpoint)
    text = torch.from_numpy(data.held_out_tokens().astype(np.int64))  # a copy: the text cannot be written to
    about = (run.spec, model, state, text, run.metrics(), run.summary)
    return Subject(*about, data.task) if isinstance(data, TaskData) else Subject(*about, vocabulary=data.vocabulary)


def _trained(
    run: Run, experiment: ExperimentSpec, trainer: TrainingLoop, recorder: CompositeRecorder
) -> dict[str, Any]:
    """Train, and write the summary however training ends."""
    fixed = {
        "experiment": experiment.name,
        "seed": experiment.seed,
        "spec_hash": experiment.hash(),
        "parameters": trained_parameters(trainer.model),
        "swing_window": experiment.recipe.monitor.swing_window,
    }
    load = OtherLoad()
    try:
        with freed_memory_stays():
            result = trainer.run()
    except (TrainingError, RunStopped) as problem:
        gave_up = {"gave_up_at": problem.step} if isinstance(problem, TrainingStopped) else {}
        summary = {"status": "failed", "cause": str(problem), **gave_up, **fixed}
        with suppress(RunStopped):
            run.write_json(SUMMARY, summary)
        recorder.outcome(summary, report="", picture=run.path / CURVES)
        raise
    other = {OTHER_CORES: load.cores()}
    summary = {"status": result.stopped or "finished", **fixed, **asdict(result), **other}
    if not result.stopped:
        summary |= on_the_test_part(run, trainer.objective)
    run.write_json(SUMMARY, summary)
    return summary
