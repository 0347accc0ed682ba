"""Mistakes in a training: groups of parameters, processes, and checkpoints that count more steps than there are."""

import copy
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken, wrong_ends
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.roles import text_of_roles
from cortexzoo.harness.checking.training.witness import TINY, Record, brief, on_a_tiny_model, trainer_of
from cortexzoo.specs.guards import AGC, AdaGC, NormClipping
from cortexzoo.specs.parallel import FullySharded, OneProcess
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.checkpoints import Storage
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.optimizer import build_optimizer
from cortexzoo.zoo.training.parallel import spread_over

STEPS = 2
COUNTS = ("position", "taken", "refused")


def of_training(subject: Subject) -> Iterator[Attempt]:
    """Of the least transformer with the subject's recipe."""
    recipe = subject.experiment.recipe
    yield from _groups(recipe.optimizer)
    nothing: Any = None
    for parallel, clipping, count, what in (
        (OneProcess(), NormClipping(), 2, "a second process"),
        (FullySharded(), NormClipping(), 1, "shares for one process"),
        (FullySharded(), AGC(), 2, "shares with norms of units"),
        (FullySharded(), AdaGC(), 2, "shares with norms of each parameter"),
    ):
        ranks: Any = SimpleNamespace(count=count)
        asked = recipe.model_copy(update={"parallel": parallel, "clipping": clipping})
        yield mistaken(what, partial(spread_over, nothing, nothing, asked, ranks))


def _groups(optimizer: Any) -> Iterator[Attempt]:
    def built(groups: dict[str, list[nn.Parameter]]) -> None:
        model.parameter_groups = lambda: groups  # type: ignore[method-assign]
        build_optimizer(model, optimizer)

    model = build_model(TINY, 0)
    every = [parameter for parameter in model.parameters() if parameter.requires_grad]
    yield fits("all parameters in one group", partial(built, {"base": every}))
    yield fits("gates in a group of their own", partial(built, {"base": every[1:], "memory_gates": every[:1]}))
    yield mistaken("a parameter in two groups", partial(built, {"base": every, "memory_gates": every[:1]}))
    yield mistaken("a parameter twice in a group", partial(built, {"base": [*every, every[0]]}))
    yield mistaken("a parameter in no group", partial(built, {"base": every[1:]}))
    yield mistaken("a group that there is no rate for", partial(built, {"base": every[1:], "others": every[:1]}))


class _Counting(Storage):
    """Writes other counts of steps, which the sums cover: as another program would."""

    counts: Mapping[str, int]

    def write_files(self, folder: Path, tensors: Any, texts: Mapping[str, Mapping[str, Any]]) -> None:
        """As before, with those counts."""
        changed = copy.deepcopy({name: dict(content) for name, content in texts.items()})
        changed["trainer"] |= self.counts
        super().write_files(folder, tensors, changed)


def of_checkpoints(subject: Subject) -> Iterator[Attempt]:
    """Of a training that is over: counts of steps on their limits and beyond, another number of rows and of weights."""
    experiment = brief(on_a_tiny_model(subject.experiment), STEPS)
    yield Attempt("checkpoints that count steps", partial(_counted, experiment), True)


def _counted(experiment: Any) -> None:
    trainer = trainer_of(experiment, Record())
    trainer.run()
    trainer.storage = storage = _Counting()
    attempts = []
    with tempfile.TemporaryDirectory() as name:
        for number, (key, count, changed, refused) in enumerate(
            (key, count, changed, count < 0 or (count > STEPS and not changed))
            for key in COUNTS
            for count in (-1, 0, STEPS, STEPS + 1)
            for changed in (False, True)
        ):
            storage.counts, folder = {key: count}, Path(name) / str(number)
            trainer.save(folder)
            what = f"{key} {count} of {STEPS} steps{', for another experiment' if changed else ''}"
            taken = partial(_loaded, experiment, folder, changed)
            attempts.append(mistaken(what, taken) if refused else fits(what, taken))
        storage.counts = {}
        for number, (what, other, data) in enumerate(_others(experiment)):
            folder = Path(name) / f"other-{number}"
            trainer.save(folder)
            for changed, attempt in ((False, mistaken), (True, fits)):
                taken = partial(_loaded, other, folder, changed, data)
                attempts.append(attempt(f"{what}{', which may be' * changed}", taken))
        if wrong := wrong_ends(attempts):
            raise ValueError("; ".join(wrong[:3]))


def _others(experiment: Any) -> Iterator[tuple[str, Any, TextData]]:
    """Trainings with the same weights, and their texts."""
    text = text_of_roles(experiment.variant.vocab_size)
    yield "a checkpoint of another seed", experiment.model_copy(update={"seed": experiment.seed + 1}), text
    longer = experiment.recipe.model_copy(update={"steps": STEPS + 1})
    yield "a checkpoint of fewer steps", experiment.model_copy(update={"recipe": longer}), text
    yield "a checkpoint of another text", experiment, replace(text, sha256="another text of the harness")


def _loaded(experiment: Any, folder: Path, changed: bool, data: TextData | None = None) -> None:
    text = text_of_roles(experiment.variant.vocab_size) if data is None else data
    trainer = TrainingLoop(build_model(experiment.variant, 0), experiment, text, recorder=Record())
    before: dict[str, Tensor] = copy.deepcopy(trainer.model.state_dict())
    try:
        trainer.load(folder, changed)
    except Exception:
        if not all(torch.equal(before[name], tensor) for name, tensor in trainer.model.state_dict().items()):
            raise RuntimeError("weights are taken over before it is refused") from None
        raise
