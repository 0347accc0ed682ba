"""What a step used and what the memory did: readings of the model, memory sizes, throughput, peak memory."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import psutil
import torch
from torch import Tensor

from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.recorder import SLEEP_SECONDS, TOKENS_PER_SECOND


class Telemetry(Policy):
    """Adds the forward's readings, `train/<memory>_size` and tokens a second of the step, all processes together.

    The clock runs from the ready batch to the taken step, consolidation included; sleep, probing, validation and saving
    are left out.
    """

    name = "telemetry"

    def __init__(self) -> None:
        self.seconds = 0.0
        self.tokens = 0
        self._began = 0.0

    @property
    def tokens_per_second(self) -> float:
        """Mean over all steps so far; 0 before the first."""
        return self.tokens / self.seconds if self.seconds else 0.0

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        self._began = time.perf_counter()

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        assert step.tokens is not None
        seconds = time.perf_counter() - self._began - step.metrics.get(SLEEP_SECONDS, 0.0)
        tokens = step.tokens[..., 1:].numel() * trainer.ranks.count
        self.seconds += seconds
        self.tokens += tokens
        step.metrics[TOKENS_PER_SECOND] = tokens / seconds
        step.metrics.update(step.readings)
        step.metrics.update({f"train/{name}_size": size for name, size in trainer.memory.sizes().items()})

    def results(self) -> dict[str, Any]:
        return {"tokens_per_second": self.tokens_per_second}

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "tokens": self.tokens}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.seconds, self.tokens = values["seconds"], values["tokens"]


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory in use so far: by PyTorch on a CUDA device, else by this whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
