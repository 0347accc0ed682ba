"""Resuming a run that was stopped or killed, so that it ends as if it had not been."""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.distributed import agree_on_folder, together_or_not
from cortexzoo.harness.runs.manifest import Changed, changed_circumstances, command_line, in_words_now, manifest
from cortexzoo.harness.runs.options import DEFAULTS, RunOptions
from cortexzoo.harness.runs.own_code import keep_code
from cortexzoo.harness.runs.room import require_room
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, MANIFEST, SPEC, SUMMARY, Run, RunFolderError
from cortexzoo.harness.runs.spec_changes import differences, in_words
from cortexzoo.harness.runs.train import help_to_train, open_records, train_in, trainer_in
from cortexzoo.harness.tracking.jsonl import EVENTS, METRICS, RECORDS, cut_after, require_whole
from cortexzoo.specs import ExperimentSpec
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.checkpointing import BEST, LAST, OLDER


def resume_run(
    path: str | Path,
    experiment: ExperimentSpec,
    *,
    checkpoint: str = LAST,
    allow_changes: bool = False,
    options: RunOptions = DEFAULTS,
) -> Run:
    """Resume the run in `path` from one of its checkpoints; one that has none yet starts again at step 0.

    What was recorded of later steps is dropped, for it is recorded again; but only once there is room for another
    checkpoint. An earlier checkpoint becomes the last. Raises `RunFolderError` when there is nothing
    to continue with: no run, no such checkpoint, a damaged one, records with gaps, a finished run, or a run of another
    spec without `allow_changes`; then the run is as it was. Else as `train_run`.
    """
    with ExitStack() as undo, ExitStack() as held:
        with together_or_not():
            run = Run.open(path)
            changes = _permitted_changes(run, experiment, checkpoint, allow_changes)
            content = run.read_json(MANIFEST) if os.path.lexists(run.path / MANIFEST) else {}
            recorder = open_records(run, options.warn, undo)
            held.enter_context(run.held())
        agree_on_folder(run.path)
        trainer = trainer_in(run.path, experiment, recorder, options.progress)
        with together_or_not():
            options.interventions.apply(trainer)
            options.interventions.record(run, recorder)
            _load(trainer, run.path, checkpoint, changed=bool(changes))
            _require_best(run.path / CHECKPOINTS / BEST)
            _require_records(run, trainer.position)
            require_room(run, run.path / CHECKPOINTS / checkpoint)
            now = changed_circumstances(content)
            if now:
                options.warn(
                    f"resumed with {in_words_now(now)}: numbers may differ in their last bits from a run in one piece"
                )
            content = _continued(content, run, experiment, trainer, now)
            run.write_json(MANIFEST, content)
            # From here on results are dropped. Killed between two of these steps, the run can still be resumed.
            if checkpoint != LAST:
                _set_back(run, checkpoint, trainer.position)
            (run.path / SUMMARY).unlink(missing_ok=True)
            (run.path / VERDICT).unlink(missing_ok=True)
            cut_after(_records(run), trainer.position)
            if changes:
                run.write_spec(SPEC, experiment)
                keep_code(run.path, experiment.variant)
        agree_on_folder(run.path)
        undo.pop_all()
    train_in(run, experiment, trainer, recorder, content, options)
    return run


def help_to_resume(experiment: ExperimentSpec, checkpoint: str, allow_changes: bool) -> None:
    """Resume together with the first process, in another process. Raises as `resume_run`."""

    def prepare(trainer: TrainingLoop, folder: Path) -> None:
        _load(trainer, folder, checkpoint, changed=allow_changes)

    help_to_train(experiment, prepare=prepare)


def _permitted_changes(
    run: Run, experiment: ExperimentSpec, checkpoint: str, allow_changes: bool
) -> dict[str, tuple[Any, Any]]:
    """What differs from the run's spec. Raises `RunFolderError` where that is not allowed, or nothing is left to do."""
    changes = differences(run.spec, experiment)
    if changes and not allow_changes:
        raise RunFolderError(
            f"{run.path}: was trained with another spec: {in_words(changes)} (--allow-changes uses the new one)"
        )
    if run.finished and not changes and checkpoint == LAST:
        raise RunFolderError(f"{run.path}: has taken all its {experiment.recipe.steps} steps, nothing is left to do")
    return changes


def _load(trainer: TrainingLoop, run: Path, checkpoint: str, changed: bool) -> None:
    """Every process must call it. Raises `RunFolderError`."""
    folder = run / CHECKPOINTS / checkpoint
    if checkpoint == LAST and not folder.exists() and not checkpoints.exists(folder):
        return
    others = sorted(path.name for path in folder.parent.glob(f"{OLDER}*") if path != folder)
    hint = f" (--checkpoint {others[-1]} is an earlier one)" if others else ""
    try:
        trainer.load(folder, changed)
    except CheckpointError as problem:
        raise RunFolderError(f"{problem}{hint}") from problem


def _require_best(folder: Path) -> None:
    """Raises `RunFolderError` for a damaged best checkpoint, which is read when training has finished."""
    if not checkpoints.exists(folder):
        return
    try:
        reader = checkpoints.CheckpointReader(folder)
        for file in reader.sums:
            reader.verified(file)
    except CheckpointError as problem:
        raise RunFolderError(f"{problem} (without {folder} the run can be resumed)") from problem


def _require_records(run: Run, step: int) -> None:
    """Raises `RunFolderError` when a step up to `step` was never recorded, or a record is damaged."""
    try:
        recorded = [line["step"] for line in run.metrics() if line["step"] <= step]
    except RunFolderError:
        if step == 0 and not (run.path / METRICS).exists():
            return
        raise
    # Each is above the one before, so the first that is not in its place comes after a gap.
    missing = next((place for place, found in enumerate(recorded, start=1) if place != found), len(recorded) + 1)
    if missing <= step:
        raise RunFolderError(f"{run.path / METRICS}: lacks step {missing}, which the checkpoint includes")
    try:
        require_whole(_records(run), step)
    except ValueError as problem:
        raise RunFolderError(str(problem)) from problem


def _records(run: Run) -> list[Path]:
    return [run.path / file for file in (METRICS, EVENTS, *RECORDS.values())]


def _set_back(run: Run, checkpoint: str, step: int) -> None:
    folder = run.path / CHECKPOINTS
    try:
        checkpoints.set_back(folder / LAST, folder / checkpoint, OLDER, step)
    except CheckpointError as problem:
        raise RunFolderError(str(problem)) from problem
    except OSError as problem:
        raise RunStopped(f"{folder / LAST}: cannot be written: {problem.strerror or problem}") from problem


def _continued(
    content: Mapping[str, Any], run: Run, experiment: ExperimentSpec, trainer: TrainingLoop, changed: Changed
) -> dict[str, Any]:
    """The manifest of a resumed run: the present circumstances, and every step from which it was resumed."""
    command = content.get("command", command_line())
    fresh = manifest(
        experiment,
        run_id=run.path.name,
        command=command,
        data_sha256=trainer.objective.sha256,
        tokenizer=trainer.objective.tokenizer,
    )
    this: dict[str, Any] = {"from_step": trainer.position, "command": command_line()}
    if changed:
        this["changed"] = {name: list(values) for name, values in changed.items()}
    resumed = [*content.get("resumed", []), this]
    return {**content, **fresh, "resumed": resumed}
