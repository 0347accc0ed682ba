"""Where the metrics, events and outcome of a run go."""

from typing import Literal

TrackerName = Literal["jsonl", "aim", "wandb", "tensorboard"]
"""jsonl: the run folder itself, which is always written. Each other name is a module of `harness/tracking`."""
