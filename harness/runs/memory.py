"""Whether a training fits into the memory of this machine, before it takes any of it."""

import os
from contextlib import suppress
from pathlib import Path

from cortexzoo.harness.runs.costs import Costs, in_bytes
from cortexzoo.specs import ExperimentSpec
from cortexzoo.zoo.errors import SetupError

GROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def require_memory(experiment: ExperimentSpec) -> None:
    """Raises `SetupError` when the memory that the specs predict is more than the device has in all."""
    wanted, there = Costs.of(experiment.variant, experiment.recipe).memory.total, memory_of_device()
    if wanted > there:
        raise SetupError(
            f"{experiment.name}: training takes about {in_bytes(wanted)} of memory, this machine has "
            f"{in_bytes(there)}: "
            "make the model, recipe.batch_size or recipe.sequence_length smaller (cortexzoo show lists what takes how "
            "much), or use --force to train anyway"
        )


def memory_of_device() -> int:
    """Bytes in all: of the GPU that trains, else of the machine, its control group or the limit of this process."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    return min(_limits())


def _limits() -> list[int]:
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in GROUP_LIMITS:
        with suppress(OSError, ValueError):
            found.append(int(file.read_text()))
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return [*found, limit] if limit != resource.RLIM_INFINITY else found
