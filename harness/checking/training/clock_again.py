"""Tokens a second by a clock that is scripted, and the peak of memory against what the system says."""

import time
from typing import Any, cast
from unittest.mock import patch

import psutil
import torch

from cortexzoo.zoo.training.policies.base import Step, Trainer
from cortexzoo.zoo.training.policies.measuring import telemetry
from cortexzoo.zoo.training.recorder import SLEEP_SECONDS, TOKENS_PER_SECOND

ROWS, LENGTH = 3, 8
STEPS = ((10.0, 12.0, 0.0), (12.0, 42.0, 26.0), (50.0, 51.0, 0.5))
"""When each begins, when it is over, and how long of that it slept."""


def by_the_clock(trainer: Trainer) -> dict[str, tuple[float, float]]:
    """What is reported, and what should be."""
    told, pairs, whole = telemetry.Telemetry(), {}, 0.0
    tokens = torch.zeros(2, ROWS, LENGTH + 1, dtype=torch.long)
    read = 2 * ROWS * LENGTH
    for number, (began, over, slept) in enumerate(STEPS, start=1):
        step = Step(number, tokens=tokens, metrics={SLEEP_SECONDS: slept} if slept else {})
        for now, tell in ((began, told.batch_ready), (over, told.step_taken)):
            with patch.object(time, "perf_counter", return_value=now):
                tell(trainer, step)
        whole += over - began - slept
        pairs[f"tokens a second of step {number}"] = step.metrics[TOKENS_PER_SECOND], read / (over - began - slept)
    pairs["tokens a second of all steps"] = told.results()["tokens_per_second"], len(STEPS) * read / whole
    peak, now = telemetry.peak_memory_bytes(torch.device("cpu")), psutil.Process().memory_info().rss
    is_likely = now / 2 <= peak <= psutil.virtual_memory().total
    return pairs | {"the peak of memory in bytes": (float(peak), float(peak if is_likely else cast(Any, now)))}
