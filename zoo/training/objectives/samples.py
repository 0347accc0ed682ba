"""One record for every document trained on: its questions, and how well they were answered."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.zoo.data.tasks.batch import Batch
from cortexzoo.zoo.ops.lookup import added_at
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


class SampleLog(Policy):
    """Reports each document's loss and share of right answer tokens, with the memory's telemetry, as an event `sample`.

    Loss and shares are the document's own, the telemetry is that of the step. Of several processes the first reports
    of its rows.
    """

    name = "samples"

    def __init__(self, accumulation: int) -> None:
        self.accumulation = accumulation
        self.gap = 0
        self._measured: dict[int, Tensor] = {}

    def begin(self, gap: int, batches: Sequence[Batch]) -> None:
        """The documents of the next step are made."""
        self.gap, self._measured = gap, {}

    def note(
        self,
        place: int,
        logits: Float[Tensor, "places vocab"],
        targets: Int[Tensor, " places"],
        scored: Bool[Tensor, "rows time"],
        piece: int | None,
    ) -> Float[Tensor, ""]:
        """Measure a micro-batch, the scored places of which come `piece` tokens at a time, row by row.

        Gives the share of its answer tokens that are right.
        """
        rows, time = scored.shape
        with torch.no_grad():
            losses = F.cross_entropy(logits.float(), targets, reduction="none")
            right = (logits.argmax(-1) == targets).float()
            every = torch.arange(rows, device=scored.device)[:, None].expand_as(scored)
            asked = torch.cat([every[:, part][scored[:, part]] for part in pieces_of(time, piece)])
            each = torch.stack([losses, right, torch.ones_like(right)], dim=1)
            self._measured[place % self.accumulation] = added_at(each.new_zeros(rows, 3), asked, each)
            return right.mean() if len(right) else right.new_zeros(())

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        telemetry = {name: value for name, value in step.readings.items() if name.startswith("memory/")}
        rows = torch.cat([self._measured[index] for index in sorted(self._measured)]).tolist()
        for number, (loss, right, tokens) in enumerate(rows):
            trainer.event(
                "sample",
                {
                    "document": number,
                    "gap": self.gap,
                    "loss": loss / max(tokens, 1.0),
                    "right": right / max(tokens, 1.0),
                    "answer_tokens": int(tokens),
                    **telemetry,
                },
            )


def pieces_of(time: int, piece: int | None) -> list[slice]:
    """The places of `time` tokens, `piece` at a time."""
    size = time if piece is None else piece
    return [slice(first, min(first + size, time)) for first in range(0, time, max(1, size))]
