"""Faults of the machine: the process is killed, a checkpoint is cut short, the disk is full."""

import errno
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cortexzoo.specs.fault import FullDisk, Kill, TruncatedCheckpoint
from cortexzoo.zoo.checkpoints import Storage, TensorFile, partial_folder
from cortexzoo.zoo.training.faults.base import MISSED, InjectedFault, SpecT
from cortexzoo.zoo.training.policies.base import Step, Trainer
from cortexzoo.zoo.training.policies.checkpointing import LAST, KeepCheckpoints

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""Where there is no SIGKILL, SIGTERM ends a process without asking it."""


class KilledInStep(InjectedFault[Kill]):
    """Dies between forward and backward pass."""

    def loss_known(self, trainer: Trainer, step: Step) -> None:
        if self.here:
            die()


class InterruptedStorage(Storage):
    """Writes the first file of a checkpoint whole and the second in part; then something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self.happens = happens

    def write_files(
        self, folder: Path, tensors: Mapping[str, TensorFile], texts: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Never returns a whole checkpoint."""
        first, second, *_ = [*tensors, *texts]
        super().write_files(folder, {first: tensors[first]}, {})
        (partial_folder(folder) / f"{second}.safetensors").write_bytes(b"\0" * 100)
        self.happens()


class UnwrittenCheckpoint(InjectedFault[SpecT]):
    """From its step on, checkpoints are begun, and something happens before they are written to the end."""

    def __init__(self, label: str, spec: SpecT, happens: Callable[[], None]) -> None:
        super().__init__(label, spec)
        self.happens = happens

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        super().batch_ready(trainer, step)
        if self.here:
            trainer.storage = InterruptedStorage(self.happens)


class CutCheckpoint(InjectedFault[TruncatedCheckpoint]):
    """Halves the largest file of the last checkpoint and dies."""

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        super().batch_ready(trainer, step)
        if not self.here:
            return
        keepers = [policy for policy in trainer.policies if isinstance(policy, KeepCheckpoints)]
        saved = [file for keeper in keepers for file in (keeper.folder / LAST).glob("*.safetensors")]
        if not saved:
            self.record(trainer, step, MISSED, reason="there is no checkpoint yet")
            return
        if trainer.ranks.is_main:
            largest = max(saved, key=lambda file: file.stat().st_size)
            os.truncate(largest, largest.stat().st_size // 2)
        trainer.ranks.wait()
        die()


def die() -> None:
    """End this process without a chance to clean up."""
    os.kill(os.getpid(), KILL)


def no_space() -> None:
    """Raise what the operating system raises when a disk is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def killed_in_save(label: str, spec: Kill) -> UnwrittenCheckpoint[Kill]:
    """Dies while a checkpoint is written."""
    return UnwrittenCheckpoint(label, spec, die)


def full_disk(label: str, spec: FullDisk) -> UnwrittenCheckpoint[FullDisk]:
    """No checkpoint finds space any more."""
    return UnwrittenCheckpoint(label, spec, no_space)
