"""What a training run came to."""

from dataclasses import dataclass
from typing import Literal

StopReason = Literal["interrupted", "terminated"]


@dataclass(frozen=True)
class TrainingResult:
    """Losses are in nats a byte; None: never measured, since training was stopped before the first validation."""

    steps_taken: int
    """Steps that the final weights have behind them."""
    steps_refused: int
    steps_undone: int
    """Steps that were taken and then taken back by a rollback."""
    loss_spikes: int
    rollbacks: int
    validation_loss: float | None
    """After the last validation."""
    best_validation_loss: float | None
    best_step: int | None
    unigram_loss: float
    bigram_loss: float
    loss_ratio: float
    """Largest upward swing of the probe loss after warmup; 1: it never rose, infinity: it was not finite."""
    raw_loss_ratio: float
    tokens_per_second: float
    peak_memory_bytes: int
    gate_shares: dict[str, float]
    """Mean share of each live source over the last validation."""
    seconds: float
    """Wall-clock time of the whole run, validation and saving included."""
    stopped: StopReason | None
    """None: every step of the recipe was attempted."""
