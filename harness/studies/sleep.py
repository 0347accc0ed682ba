"""What many sleeps in a row do to a trained run: every kind, with its acceptance gate and without."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from harness.plots import STYLE
from harness.run_folder import CHECKPOINTS, Run
from specs import ExperimentSpec
from specs.guards import NoRecovery, NoSpikeDetection
from specs.sleep import AcceptAlways, AcceptHeldOut, Dreaming, GeneratedSleep, NoiseSleep, ReplaySleep
from zoo.build import build_trainer
from zoo.training.loop import Trainer
from zoo.training.policy import Policy, Step
from zoo.training.sleep.policy import Sleep
from zoo.training.sleep.score import Score

KINDS: dict[str, type[NoiseSleep | ReplaySleep | GeneratedSleep]] = {
    "noise": NoiseSleep,
    "replay": ReplaySleep,
    "generated": GeneratedSleep,
}
MARKS = (1, 5, 20, 100, 200)
"""After so many sleeps a number stands in the table."""
COLOURS = {"noise": "#C8423B", "replay": "#2F5D8C", "generated": "#55A868"}


@dataclass
class Track:
    """One kind's sleeps: `scores[n]` is what the model that stands after n sleeps reaches; 0: before the first."""

    kind: str
    gated: bool
    scores: list[Score] = field(default_factory=list)
    accepted: int = 0
    updates_taken: int = 0
    updates_refused: int = 0

    @property
    def label(self) -> str:
        """`noise, gated`."""
        return f"{self.kind}, {'gated' if self.gated else 'no gate'}"


class OnlyLooked(Policy):
    """Offers every batch to the reservoir and refuses the step: examples are seen, and nothing is trained."""

    name = "harness_only_looked"

    def __init__(self, sleep: Sleep) -> None:
        self.sleep = sleep

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        self.sleep.keep_examples(trainer, step)
        step.refuse("only looked at")


def follow(
    run: Run,
    kind: str,
    gated: bool,
    sleeps: int,
    changes: dict[str, Any],
    sequences: int,
    checkpoint: str = "best",
    slept: Callable[[int], None] = lambda _: None,
) -> Track:
    """Let the run's model sleep `sleeps` times in a row, with no training in between; `slept` hears of each.

    `changes` are values of the sleep's spec; `sequences` held-out sequences are scored. What stands is scored after
    every sleep: where one was undone, the score before it. Raises `CheckpointError`, `DataError`.
    """
    trainer = sleeper(run, kind, gated, changes, sequences, checkpoint)
    sleep = trainer.built_in.sleep
    assert sleep is not None
    standing = sleep.score(trainer)
    track = Track(kind, gated, [standing])
    for number in range(1, sleeps + 1):
        done = sleep.sleep(trainer, standing)
        assert done is not None, "nobody asks this trainer to stop"
        standing = done.after if done.accepted else standing
        track.scores.append(standing)
        track.accepted += done.accepted
        track.updates_taken += done.updates_taken
        track.updates_refused += done.updates_refused
        slept(number)
    return track


def sleeper(
    run: Run, kind: str, gated: bool, changes: dict[str, Any], sequences: int, checkpoint: str = "best"
) -> Trainer:
    """A trainer with the run's weights and memory, whose reservoir has seen training examples and that never trains."""
    spec: Dreaming = KINDS[kind](**changes, acceptance=AcceptHeldOut() if gated else AcceptAlways())
    trainer = build_trainer(_that_only_sleeps(run.spec, spec, sequences))
    trainer.load(run.path / CHECKPOINTS / checkpoint, changed=True)
    sleep = trainer.built_in.sleep
    assert sleep is not None
    sleep.load_state_dict(Sleep(spec, run.spec.seed, sleep.score).state_dict())
    trainer.policies.insert(0, OnlyLooked(sleep))
    trainer.run()
    return trainer


def table(tracks: Sequence[Track]) -> list[tuple[str, ...]]:
    """Header and rows: loss relative to before the first sleep, recall where it is measured, how many sleeps stayed."""
    longest = max(len(track.scores) - 1 for track in tracks)
    marks = [mark for mark in MARKS if mark <= longest]
    marks = marks if longest in marks or not longest else [*marks, longest]
    has_recall = any(track.scores[0].recall is not None for track in tracks)
    header = ["dreams", "loss", *(f"× after {mark}" for mark in marks)]
    header += ["recall", *(f"after {mark}" for mark in marks)] if has_recall else []
    rows = [(*header, "stayed", "updates", "refused")]
    for track in tracks:
        first = track.scores[0]
        cells = [track.label, f"{first.loss:.3f}"]
        cells += [f"{_ratio(track, mark):.3f}" for mark in marks]
        if has_recall:
            cells += [_share(first), *(_share(track.scores[mark]) for mark in marks)]
        rows.append((*cells, str(track.accepted), str(track.updates_taken), str(track.updates_refused)))
    return rows


def findings(tracks: Sequence[Track]) -> list[str]:
    """What the gate is worth: the largest rise of each kind with and without it."""
    lines = []
    for kind in dict.fromkeys(track.kind for track in tracks):
        worst = {t.gated: max(_ratio(t, n) for n in range(len(t.scores))) for t in tracks if t.kind == kind}
        told = [f"{ratio:.3f} × {'with' if gated else 'without'} the gate" for gated, ratio in worst.items()]
        lines.append(f"{kind}: the highest held-out loss of any moment is {' and '.join(told)}.")
    return lines


def as_json(tracks: Sequence[Track], circumstances: dict[str, Any]) -> str:
    """Every score of every track."""
    content = [
        {
            "dreams": track.kind,
            "gated": track.gated,
            "loss": [score.loss for score in track.scores],
            "recall": [score.recall for score in track.scores],
            "accepted": track.accepted,
            "updates_taken": track.updates_taken,
            "updates_refused": track.updates_refused,
        }
        for track in tracks
    ]
    return json.dumps({**circumstances, "tracks": content}, indent=1) + "\n"


def draw(tracks: Sequence[Track], path: Path) -> None:
    """Loss over sleeps, and recall beside it where it is measured: a thick line with the gate, a thin one without."""
    recalls = any(track.scores[0].recall is not None for track in tracks)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10 if recalls else 6, 3.2), layout="constrained")
        panels = list(figure.subplots(1, 2 if recalls else 1, squeeze=False)[0])
        for track in tracks:
            style = {"color": COLOURS[track.kind], "linewidth": 2.2 if track.gated else 0.9, "label": track.label}
            panels[0].plot([_ratio(track, number) for number in range(len(track.scores))], **style)
            if recalls:
                panels[1].plot([score.recall for score in track.scores], **style)
        panels[0].set_title("held-out loss, relative to before")
        panels[0].axhline(AcceptHeldOut().max_loss_ratio, color="#555555", linewidth=0.8, linestyle=":")
        panels[0].legend(fontsize=8)
        if recalls:
            panels[1].set_title("recall")
        figure.supxlabel("sleeps in a row, no training in between", fontsize=9)
        figure.savefig(path, dpi=90)


def _that_only_sleeps(experiment: ExperimentSpec, spec: Dreaming, sequences: int) -> ExperimentSpec:
    """With as many steps more as fill the reservoir, none of which will be due for a sleep or measured."""
    recipe = experiment.recipe
    steps = recipe.steps + math.ceil(spec.reservoir / (recipe.batch_size * recipe.accumulation))
    seldom = {"probe_every": steps + 1, "validate_every": steps + 1, "checkpoint_every": steps + 1}
    update = {
        "steps": steps,
        "sleep": spec.model_copy(update={"every": steps + 1}),
        "spikes": NoSpikeDetection(),
        "recovery": NoRecovery(),
        "monitor": recipe.monitor.model_copy(update={**seldom, "validation_sequences": sequences}),
    }
    return experiment.model_copy(update={"recipe": recipe.model_copy(update=update)})


def _ratio(track: Track, number: int) -> float:
    return track.scores[number].loss / track.scores[0].loss


def _share(score: Score) -> str:
    return "–" if score.recall is None else f"{score.recall:.3f}"
