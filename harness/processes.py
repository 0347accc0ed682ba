"""One run, several processes, as torchrun starts them: the first keeps the run folder, the others only train."""

import os
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

    PartialState(cpu=not torch.accelerator.is_available())
    told = [None if folder is None else str(folder)]
    broadcast_object_list(told, from_process=0)
    return None if told[0] is None else Path(told[0])
