"""Where the metrics, events and outcome of a run go."""

from typing import TYPE_CHECKING, Literal, get_args

from cortexzoo.specs.entry_points import entry_points

TrackerName = Literal["jsonl", "aim", "wandb", "tensorboard"]
"""jsonl: the run folder itself, which is always written. Each other name is a module of `harness/tracking`, or that of
a plugin."""
SHIPPED: tuple[str, ...] = get_args(TrackerName)
if not TYPE_CHECKING:
    TrackerName = Literal[(*SHIPPED, *sorted(set(entry_points("trackers")) - set(SHIPPED)))]
