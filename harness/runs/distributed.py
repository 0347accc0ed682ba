"""One run, several processes, as torchrun starts them: the first keeps the run folder, the others only train."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def process_count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process writes the run folder and prints."""
    return int(os.environ.get("RANK", "0")) == 0


def agree_on_folder(folder: Path | None) -> Path | None:
    """The first process's `folder`, on every process; None: it has none, and there is nothing to train."""
    if process_count() == 1:
        return folder
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=not torch.accelerator.is_available())
    shared: list[str | None] = [None if folder is None else str(folder)]
    broadcast_object_list(shared, from_process=0)
    if shared[0] is None:
        part()
        return None
    return Path(shared[0])


def part() -> None:
    """Leave the group of processes, together with all others: a process that just ended could be torn out of it."""
    if process_count() > 1:
        from cortexzoo.zoo.training.ranks import leave_group

        leave_group()


@contextmanager
def together_or_not() -> Iterator[None]:
    """When the block fails, no process continues: they agree that there is no folder."""
    try:
        yield
    except Exception:
        agree_on_folder(None)
        raise
