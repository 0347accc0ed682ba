"""Faults of the machine: the process is killed, a checkpoint is cut short, the disk is full."""

import errno
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from cortexzoo.specs.fault import FullDisk, Kill, TruncatedCheckpoint
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.training.faults.base import MISSED, InjectedFault, SpecT
from cortexzoo.zoo.training.policies.base import Step

if TYPE_CHECKING:
    from cortexzoo.zoo.training.loop import Trainer

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""Where there is no SIGKILL, SIGTERM ends a process without asking it."""

Tensors: TypeAlias = Mapping[str, checkpoints.TensorFile]
Texts: TypeAlias = Mapping[str, Mapping[str, Any]]


class WriteFiles(Protocol):
    """The type of `checkpoints.write_files`."""

    def __call__(self, folder: Path, tensors: Tensors, texts: Texts) -> None: ...


class KilledInStep(InjectedFault[Kill]):
    """Dies between forward and backward pass."""

    def loss_known(self, trainer: "Trainer", step: Step) -> None:
        if self.here:
            die()


class UnwrittenCheckpoint(InjectedFault[SpecT]):
    """From its step on, checkpoints are begun, and something happens before they are written to the end."""

    def __init__(self, label: str, spec: SpecT, happens: Callable[[], None]) -> None:
        super().__init__(label, spec)
        self.happens = happens
        self._intact: WriteFiles | None = None

    def batch_ready(self, trainer: "Trainer", step: Step) -> None:
        super().batch_ready(trainer, step)
        if self.here:
            self._intact = checkpoints.write_files
            checkpoints.write_files = self._write_some

    def close(self) -> None:
        if self._intact is not None:
            checkpoints.write_files = self._intact
            self._intact = None

    def _write_some(self, folder: Path, tensors: Tensors, texts: Texts) -> None:
        """The first file whole, the second in part."""
        assert self._intact is not None
        first, second, *_ = [*tensors, *texts]
        self._intact(folder, {first: tensors[first]}, {})
        (checkpoints.partial_folder(folder) / f"{second}.safetensors").write_bytes(b"\0" * 100)
        self.happens()


class CutCheckpoint(InjectedFault[TruncatedCheckpoint]):
    """Halves the largest file of the last checkpoint and dies."""

    def batch_ready(self, trainer: "Trainer", step: Step) -> None:
        super().batch_ready(trainer, step)
        if not self.here:
            return
        keeper = trainer.built_in.checkpoints
        saved = [] if keeper is None else list((keeper.folder / "last").glob("*.safetensors"))
        if not saved:
            self.tell(trainer, step, MISSED, reason="there is no checkpoint yet")
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
