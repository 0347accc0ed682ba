"""What many sleeps in a row do to a trained run: every kind, with its gate and without, and training in their place."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter
from torch import Tensor

from cortexzoo.harness.runs.colours import BLUE, DARK_GREY, GREEN, RED
from cortexzoo.harness.runs.curves import STYLE
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, Run
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.objective import Recall, Stage
from cortexzoo.specs.sleep import DREAMS, AcceptAlways, AcceptHeldOut, Dreaming, ReplaySleep
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step, find_policy
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.reservoir import Reservoir
from cortexzoo.zoo.training.sleep.score import Score

MARKS = (1, 5, 20, 100, 200)
"""After so many sleeps a number stands in the table."""
DECADE = 10.0
"""A loss that rises above so many times is drawn on a logarithmic scale."""
AWAKE = "awake"
"""The control: as many updates in the same way, on training examples that come next in place of dreams."""
KINDS = (*DREAMS, AWAKE)
COLOURS = dict(zip(KINDS, (RED, BLUE, GREEN, DARK_GREY), strict=True))


@dataclass
class Track:
    """One kind's sleeps: `scores[n]` is what the model that stands after n sleeps reaches; 0: before the first."""

    kind: str
    gated: bool
    scores: list[Score] = field(default_factory=list)
    accepted: int = 0
    updates_taken: int = 0
    updates_refused: int = 0
    frozen: int = 0
    """Tensors that no sleep may change, such as a base's."""
    frozen_changed: int = 0
    """Of these, how many have other bits after the last sleep."""

    @property
    def label(self) -> str:
        """`noise, gated`."""
        return f"{self.kind}, {'gated' if self.gated else 'no gate'}"


@dataclass(frozen=True)
class Setting:
    """What the sleeps of a study share."""

    changes: Mapping[str, Any] = field(default_factory=dict)
    """Values of the sleep's spec."""
    sequences: int = 32
    """Held-out sequences that are scored; of a task, documents of each gap."""
    gaps: tuple[int, ...] = ()
    """Of a task: the gaps that are scored and, in a replay, dreamt of; none: those that were trained on."""
    checkpoint: str = "best"


def follow(
    run: Run, kind: str, gated: bool, sleeps: int, setting: Setting, slept: Callable[[int], None] = lambda _: None
) -> Track:
    """Let the run's model sleep `sleeps` times in a row, with no training in between; `slept` is called after each.

    What stands is scored after every sleep: where one was undone, the score before it. Raises `CheckpointError`,
    `DataError`.
    """
    trainer = sleeper(run, kind, gated, setting)
    sleep = find_policy(trainer.policies, Sleep)
    assert sleep is not None
    frozen = {name: tensor.clone() for name, tensor in _frozen(trainer)}
    standing = sleep.score(trainer)
    track = Track(kind, gated, [standing])
    for number in range(1, sleeps + 1):
        if kind == AWAKE:
            sleep.reservoir = Reservoir(sleep.spec.reservoir)
            _look(trainer, sleep, (number - 1) * sleep.spec.reservoir)
        done = sleep.sleep(trainer, standing)
        assert done is not None, "this trainer never receives a stop request"
        standing = done.after if done.accepted else standing
        track.scores.append(standing)
        track.accepted += done.accepted
        track.updates_taken += done.updates_taken
        track.updates_refused += done.updates_refused
        slept(number)
    track.frozen = len(frozen)
    track.frozen_changed = sum(not torch.equal(tensor, frozen[name]) for name, tensor in _frozen(trainer))
    return track


def sleeper(run: Run, kind: str, gated: bool, setting: Setting) -> TrainingLoop:
    """A trainer with the run's weights and memory, whose reservoir has seen training examples and that never trains.

    Raises `DataError` where gaps are asked for and the run's data has none, or they are out of reach.
    """
    spec = _spec(kind, gated, setting)
    trainer = build_trainer(_with_sleep(run.spec, spec, setting))
    trainer.load(run.path / CHECKPOINTS / setting.checkpoint, changed=True)
    sleep = find_policy(trainer.policies, Sleep)
    assert sleep is not None
    fresh = Sleep(spec, run.spec.seed, sleep.score)
    sleep.load_state(trainer, fresh.state_dict(), sleep.tensors())
    _look(trainer, sleep, 0)
    return trainer


def _spec(kind: str, gated: bool, setting: Setting) -> Dreaming:
    acceptance = AcceptHeldOut() if gated else AcceptAlways()
    if kind != AWAKE:
        return DREAMS[kind](**setting.changes, acceptance=acceptance)
    spec = ReplaySleep(**setting.changes, acceptance=acceptance)
    return spec.model_copy(update={"reservoir": spec.steps * spec.batch_size})


def _look(trainer: TrainingLoop, sleep: Sleep, passed: int) -> None:
    """Offer the reservoir the examples of the steps that would come next, behind so many."""
    first = trainer.position + 1 + passed
    for number in range(first, first + sleep.spec.reservoir):  # each step has at least one example
        examples = trainer.objective.examples(number)
        sleep.keep_examples(
            trainer, Step(number, tokens=examples.tokens, scored=examples.scored, places=examples.places)
        )


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
        parts = [f"{ratio:.3f} × {'with' if gated else 'without'} the gate" for gated, ratio in worst.items()]
        lines.append(f"{kind}: the highest held-out loss of any moment is {' and '.join(parts)}.")
    if all(track.frozen and not track.frozen_changed for track in tracks):
        lines.append("The base is the same in every bit.")
    if changed := [track.label for track in tracks if track.frozen_changed]:
        lines.append(f"Frozen weights were changed by {', '.join(changed)}.")
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
            "frozen": track.frozen,
            "frozen_changed": track.frozen_changed,
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
        if max(_ratio(track, number) for track in tracks for number in range(len(track.scores))) > DECADE:
            panels[0].set_yscale("log")
            panels[0].yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panels[0].axhline(AcceptHeldOut().max_loss_ratio, color=DARK_GREY, linewidth=0.8, linestyle=":")
        panels[0].legend(fontsize=8)
        if recalls:
            panels[1].set_title("recall")
        figure.supxlabel("sleeps in a row, no training in between", fontsize=9)
        figure.savefig(path, dpi=90)


def _frozen(trainer: TrainingLoop) -> list[tuple[str, Tensor]]:
    """What no sleep may change: weights that are not trained, and a base that is not."""
    weights = [(name, weight.detach()) for name, weight in trainer.model.named_parameters() if not weight.requires_grad]
    if isinstance(trainer.model, Hybrid) and trainer.model.has_frozen_base:
        weights += [(f"base {name}", tensor) for name, tensor in trainer.model.base.network.state_dict().items()]
    return weights


def _with_sleep(experiment: ExperimentSpec, spec: Dreaming, setting: Setting) -> ExperimentSpec:
    recipe, objective = experiment.recipe, experiment.recipe.objective
    if setting.gaps:
        if not isinstance(objective, Recall):
            raise DataError(f"--gaps: only a task has gaps, and {experiment.name} trains on text")
        stage = Stage(gaps=setting.gaps, tokens_per_step=objective.stages[0].tokens_per_step)
        objective = objective.model_copy(update={"stages": (stage,)})
    update = {
        "objective": objective,
        "sleep": spec,
        "monitor": recipe.monitor.model_copy(update={"validation_sequences": setting.sequences}),
    }
    return experiment.model_copy(update={"recipe": recipe.model_copy(update=update)})


def _ratio(track: Track, number: int) -> float:
    return track.scores[number].loss / track.scores[0].loss


def _share(score: Score) -> str:
    return "–" if score.recall is None else f"{score.recall:.3f}"
