"""Checkpoints of a training: policies' states that are something else are refused, and what fails leaves nothing."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.witness import Record, brief, on_a_tiny_model, trainer_of
from cortexzoo.zoo.checkpoints import Storage
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.training.loop import TrainingLoop

TOO_LARGE = 2**70
STEPS = 2


def accepted(what: str, action: Callable[[], object]) -> list[str]:
    """What is wrong unless an action ends with a `CheckpointError`."""
    try:
        action()
    except CheckpointError:
        return []
    except Exception as problem:
        return [f"{what}: raises {type(problem).__name__} instead of CheckpointError"]
    return [f"{what}, and is accepted"]


def equal(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules have the same numbers."""
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


class _Altering(Storage):
    """Writes the state of one policy with another value, which its sum covers: as another program would."""

    def __init__(self, policy: str, key: str, value: Any) -> None:
        self.policy, self.key, self.value = policy, key, value

    def write_files(self, folder: Path, tensors: Any, texts: Mapping[str, Mapping[str, Any]]) -> None:
        """As before, with that value; None: without the key."""
        changed = copy.deepcopy({name: dict(content) for name, content in texts.items()})
        state = changed["trainer"]["policies"][self.policy]
        if self.value is None:
            del state[self.key]
        else:
            state[self.key] = self.value
        super().write_files(folder, tensors, changed)


def of_policies(subject: Subject, place: Path) -> list[str]:
    """A policy's number, list or mapping that is missing or something else is refused."""
    experiment = brief(on_a_tiny_model(subject.experiment), STEPS)

    def trained() -> TrainingLoop:
        return trainer_of(experiment, Record())

    trainer, wrong = trained(), []
    trainer.run()
    for policy in trainer.policies:
        fresh = next(own for own in trained().policies if own.name == policy.name).state_dict()
        for key, own in policy.state_dict().items():
            if own is None or fresh.get(key) is None:
                continue
            others: list[Any] = [None, "text"]
            if isinstance(own, int | float) and not isinstance(own, bool):
                others += [TOO_LARGE, True]
            for value in others:
                if isinstance(value, str) and isinstance(own, str):
                    continue
                trainer.storage = _Altering(policy.name, key, value)
                trainer.save(place / "last")
                how = "missing" if value is None else repr(value)
                refusing = trained()
                before = copy.deepcopy(refusing.model)
                wrong += accepted(f"{policy.name}.{key} is {how}", partial(refusing.load, place / "last"))
                if not equal(refusing.model, before):
                    wrong.append(f"{policy.name}.{key} is {how}, and weights are taken over before it is refused")
    return wrong


class _Full(Storage):
    """A disk that is full at one of the operations, once some of it is done."""

    def __init__(self, at: str) -> None:
        self.at = at

    def begin(self, folder: Path) -> None:
        """As before, then a full disk."""
        super().begin(folder)
        self._fail("begin")

    def write_files(self, folder: Path, tensors: Any, texts: Mapping[str, Mapping[str, Any]]) -> None:
        """The first half."""
        if self.at == "write_files":
            tensors = dict(list(tensors.items())[: len(tensors) // 2])
        super().write_files(folder, tensors, texts)
        self._fail("write_files")

    def publish(self, folder: Path, keep: Path | None = None) -> None:
        """Nothing, on a full disk."""
        self._fail("publish")
        super().publish(folder, keep)

    def _fail(self, operation: str) -> None:
        if self.at == operation:
            raise OSError(28, "No space left on device")


def not_written(subject: Subject, place: Path) -> list[str]:
    """A checkpoint that cannot be written is named in an error; what was there before stays, and nothing else."""
    experiment, wrong = brief(on_a_tiny_model(subject.experiment), STEPS), []
    trainer = trainer_of(experiment, Record())
    trainer.save(place / "last")
    start = copy.deepcopy(trainer.model)
    trainer.run()
    for folder in (place / "last", place / "other"):
        for at in ("begin", "write_files", "publish"):
            trainer.storage = _Full(at)
            wrong += accepted(f"the disk is full at {at}", partial(trainer.save, folder))
            if left := sorted({path.name for path in place.iterdir()} - {"last"}):
                wrong.append(f"where the disk is full at {at}, {left[0]} is left")
            found = trainer_of(experiment, Record())
            found.load(place / "last")
            if not equal(found.model, start):
                wrong.append(f"where the disk is full at {at}, the checkpoint from before is another")
    trainer.storage = Storage()
    trainer.save(place / "last")
    found = trainer_of(experiment, Record())
    found.load(place / "last")
    return wrong if equal(found.model, trainer.model) else [*wrong, "afterwards nothing is written"]
