"""A checkpoint of one number of processes, taken over by another."""

from typing import Any

import torch
from torch import Tensor

from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.streams import Stream
from cortexzoo.zoo.training.ranks import Ranks, batch_dimensions

BEGINS_ANEW = frozenset({"recovery"})
"""Policies whose tensors are of a process's own rows: with other rows there is nothing to return to."""


def of_rank(name: str, rank: int) -> str:
    """The file of a process."""
    return name if rank == 0 else f"{name}.rank-{rank}"


def own_memory(
    model: MemoryLanguageModel[Any], reader: CheckpointReader, saved_by: int, ranks: Ranks
) -> dict[str, Tensor]:
    """This process's rows of the memory that `saved_by` processes left behind; the rest is the first one's."""
    parts = [reader.tensors(of_rank("memory", rank)) for rank in range(saved_by)]
    if saved_by == ranks.count == 1:
        return parts[0]
    dimensions = batch_dimensions(model, parts[0])
    return {
        name: torch.cat([part[name] for part in parts], dimensions[name])
        .chunk(ranks.count, dimensions[name])[ranks.rank]
        .clone()
        if name in dimensions
        else tensor
        for name, tensor in parts[0].items()
    }


def own_random_state(reader: CheckpointReader, saved_by: int, seed: int, rank: int) -> dict[str, Tensor]:
    """That of the process with the same number, or for one that was not there that of the run's start."""
    if rank < saved_by:
        return reader.tensors(of_rank("rng", rank))
    begun = torch.Generator().manual_seed(int(Stream.DROPOUT.seeds(seed, rank).generate_state(1)[0]))
    return {**reader.tensors("rng"), "cpu": begun.get_state()}
