"""What a training run came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

RecallByGap: TypeAlias = Mapping[str, Mapping[int, float]]
"""Task → gap → share of whole answers that are right."""
RecallByFiller: TypeAlias = Mapping[str, Mapping[int, Mapping[str, float]]]
"""Task → gap → kind of filler → share of whole answers that are right."""
StopReason = Literal["interrupted", "terminated"]


@dataclass(frozen=True)
class TrainingResult:
    """Losses are in nats a byte of a text, or an answer token of a task.

    None: never measured, since training was stopped before the first validation.
    """

    steps_taken: int
    """Steps that the final weights have behind them."""
    steps_refused: int
    steps_undone: int
    """Steps that were taken and then taken back by a rollback."""
    loss_spikes: int
    validation_loss: float | None
    """After the last validation."""
    best_validation_loss: float | None
    best_step: int | None
    loss_ratio: float
    """Largest upward swing of the probe loss after warmup; 1: it never rose, infinity: it was not finite."""
    raw_loss_ratio: float
    tokens_per_second: float
    peak_memory_bytes: int
    gate_shares: dict[str, float]
    """Mean share of each live source over the last validation."""
    seconds: float
    """Wall-clock time of the whole run, with validation, saving and what is measured at the end."""
    stopped: StopReason | None
    """None: every step of the recipe was attempted."""
    rollbacks: int = 0
    unigram_loss: float | None = None
    bigram_loss: float | None = None
    ngram_loss: float | None = None
    """What counting reaches on the same validation text; None: the data is no text."""
    counted_bytes: int | None = None
    """How much of the training part was counted; None: all of it."""
    bytes_per_token: float | None = None
    """Of the training text; None: a token is a byte, or the data is no text."""
    chance: Mapping[str, float] | None = None
    """Task → share of answers that the best guess without the facts gets right; None: the data is no task."""
    recall: RecallByGap | None = None
    recall_memory_off: RecallByGap | None = None
    """With the memory that crosses chunks switched off."""
    recall_by_filler: RecallByFiller | None = None
    """`recall` for each filler on its own; None: all documents have the same."""
    recall_base: RecallByGap | None = None
    """The frozen base alone."""
    perplexity: float | None = None
    """Of held-out plain text, after training on a task; None: there is no frozen base, or no text in its tokens."""
    base_perplexity: float | None = None
    """Of the same text, by the base alone, before training."""
    hidden_kl: float | None = None
    """KL(base ‖ model) on that text, nats a token."""
    earlier_loss_before: float | None = None
    """Test part of the earlier text, when training went over to the later one; None: there was only one text."""
    earlier_loss: float | None = None
    """The same at the end."""
    later_loss: float | None = None
    """Test part of the later text, at the end, with the same weights."""
    replayed_windows: int | None = None
    """Windows of the earlier text that are kept, each of `recipe.sequence_length` + 1 bytes."""
