"""One run, several processes, as torchrun starts them: the first keeps the run folder, the others only train."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def process_count() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) == 0


def agree_on_folder(folder: Path | None) -> Path | None:
    """The first process's `folder`, on every process; None: it has none, and there is nothing to train."""
    if process_count() == 1:
        return folder
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    state = PartialState(cpu=not torch.accelerator.is_available())
    told: list[str | None] = [None if folder is None else str(folder)]
    broadcast_object_list(told, from_process=0)
    if told[0] is None:
        # A process that just ends would be torn out of the group by the others, with an abort instead of its exit code.
        state.destroy_process_group()
        return None
    return Path(told[0])


@contextmanager
def together_or_not() -> Iterator[None]:
    """When the block fails, no process goes on: where it would have agreed on a folder, there is none."""
    try:
        yield
    except Exception:
        agree_on_folder(None)
        raise
