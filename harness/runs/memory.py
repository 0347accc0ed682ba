"""Whether a training fits into the memory of this machine, before it takes any of it."""

import os
from contextlib import suppress
from pathlib import Path

from cortexzoo.harness.runs.costs import Costs, in_bytes
from cortexzoo.harness.tracking.base import Warn
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.own_variant import HuggingFaceSpec, ModuleSpec
from cortexzoo.zoo.errors import CostsUnknown, SetupError

COUNTED = 8192
"""Tokens of a row. To count a pass takes time with its length, so that longer rows are extrapolated."""
_PREDICTED: dict[tuple[object, ...], int] = {}
GROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def require_memory(experiment: ExperimentSpec, warn: Warn) -> None:
    """Raises `SetupError` when the memory that the specs predict is more than the device has in all.

    Where nothing can be predicted, `warn` gets a line.
    """
    try:
        wanted, there = _predicted_once(experiment), memory_of_device()
    except CostsUnknown as unknown:
        warn(f"{unknown}; whether they fit into memory was not checked")
        return
    if wanted > there:
        raise SetupError(
            f"{experiment.name}: training takes about {in_bytes(wanted)} of memory, this machine has "
            f"{in_bytes(there)}: "
            "make the model, recipe.batch_size or recipe.sequence_length smaller (cortexzoo show lists what takes how "
            "much), or use --force to train anyway"
        )


def _predicted_once(experiment: ExperimentSpec) -> int:
    """`predicted_memory`, counted once in a process for all seeds and recipes that train alike in memory.

    It takes up to some seconds, as long as a short training. What may be written in code of the user's is counted
    anew: own modules, models of Hugging Face, and variants of plugins.
    """
    variant, recipe = experiment.variant, experiment.recipe
    if isinstance(variant, ModuleSpec | HuggingFaceSpec) or not type(variant).__module__.startswith("cortexzoo."):
        return predicted_memory(experiment)
    rows = (recipe.batch_size, recipe.sequence_length, recipe.objective.canonical_json())
    known = (variant.canonical_json(), *rows)
    if known not in _PREDICTED:
        _PREDICTED[known] = predicted_memory(experiment)
    return _PREDICTED[known]


def predicted_memory(experiment: ExperimentSpec) -> int:
    """Bytes. Rows longer than `COUNTED` are taken to need as much a token as the second half of one so long does.

    That is exact for activations that grow with length, and too little for those that grow with its square.
    """
    variant, recipe = experiment.variant, experiment.recipe
    costs = Costs.of(variant, recipe, COUNTED)
    more = costs.whole_length - costs.length
    if more == 0:
        return costs.memory.total
    half = Costs.of(variant, recipe, COUNTED // 2)
    grown = costs.batch.activation_bytes - half.batch.activation_bytes
    return costs.memory.total + grown * more // (costs.length - half.length)


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
