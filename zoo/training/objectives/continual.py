"""One text after another: what was learned of the earlier one is replayed while the later one is learned."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cortexzoo.specs.data import DataSpec, TextSpec
from cortexzoo.specs.objective import Continual, ReservoirReplay
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.zoo.data.order import Starts, cut_windows
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput
from cortexzoo.zoo.streams import Stream
from cortexzoo.zoo.training.evaluation import measure, undisturbed
from cortexzoo.zoo.training.objectives.base import Examples
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.ranks import Ranks
from cortexzoo.zoo.training.sleep.anchors import divergence

DIVERGENCE = "train/replay_divergence"
"""KL(before ‖ now) on the replayed rows, in nats a byte and not yet weighted: a reading of the objective."""


def earlier_text(spec: Continual, data: DataSpec) -> TextData:
    """The text that comes first, split as the later one. Raises `DataError`."""
    if not isinstance(data, TextSpec):
        raise DataError(f"recipe.objective.kind continual needs data of the family text, got {data.family}")
    return TextData.from_bytes(read_source(spec.earlier), data.validation_fraction, data.test_fraction)


class EarlierSelf(Policy):
    """The weights, and the loss on the earlier text, with which training went over to the later one."""

    name = "earlier_self"

    def __init__(self, objective: "ContinualObjective") -> None:
        self.objective = objective
        self.model: MemoryLanguageModel[Any] | None = None
        """None: the earlier text is being learned, or nothing is compared with it."""
        self.loss: float | None = None

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        self._look(trainer, step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self._look(trainer, step)

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss}

    def tensors(self) -> dict[str, Tensor]:
        return {} if self.model is None else dict(self.model.state_dict())

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.loss = values["loss"]
        self.model = None
        if tensors:
            self.model = _frozen(trainer.model)
            self.model.load_state_dict(tensors)

    def _look(self, trainer: Trainer, step: Step) -> None:
        if step.number != self.objective.spec.earlier_steps:
            return
        self.loss = self.objective.test_loss(trainer, self.objective.earlier)
        if self.objective.kl_weight:
            self.model = _frozen(trainer.model)
        trainer.event("text_changed", {"earlier_loss": self.loss})


class ContinualObjective(NextTokenObjective):
    """Next-token loss on the earlier text, then on the later one with some rows replayed.

        loss = mean cross-entropy of all rows + kl_weight * mean over the replayed rows of KL(before ‖ now)

    *Before* is the model that had learned the earlier text, reading from today's memory. The windows that may be
    replayed are a uniform sample of those that were trained on; which, and which of them a step reads again, follows
    from the seed alone. Everything held out is that of the later text; the test parts of both texts are measured with
    the final weights. Raises `DataError` when a text is too short.
    """

    def __init__(
        self,
        earlier: TextData,
        later: TextData,
        spec: Continual,
        recipe: RecipeSpec,
        seed: int,
        model: MemoryLanguageModel[Any],
        ranks: Ranks,
    ) -> None:
        super().__init__(later, recipe, seed, model, ranks)
        earlier.require(recipe.sequence_length, model.vocab_size)
        self.earlier, self.spec, self.seed = earlier, spec, seed
        self.earlier_order = earlier.training_order(recipe.sequence_length, seed)
        self.offset = len(earlier.train)
        """Places of the later text come behind those of the earlier one."""
        replay = spec.replay
        self.rows = replay.rows if isinstance(replay, ReservoirReplay) else 0
        self.kl_weight = replay.kl_weight if isinstance(replay, ReservoirReplay) else 0.0
        self.kept = np.empty(0, dtype=np.int64)
        """By their numbers in the order of the earlier text."""
        if isinstance(replay, ReservoirReplay):
            trained_on = spec.earlier_steps * recipe.accumulation * recipe.batch_size
            self.kept = Stream.REPLAY.generator(seed).choice(trained_on, replay.windows, replace=False)
        self.before = EarlierSelf(self)
        self.policies: Sequence[Policy] = [self.before]

    def examples(self, number: int) -> Examples:
        first = (number - 1) * self.recipe.accumulation
        return Examples(torch.stack([self._tokens(first + index) for index in range(self.recipe.accumulation)]))

    def loss(
        self,
        model: MemoryLanguageModel[Any],
        tokens: Tensor,
        scored: Tensor | None,
        state: MemoryState,
        place: int,
    ) -> tuple[Tensor, ModelOutput[Any]]:
        earlier, later = self._starts(place)
        starts = np.concatenate([later + self.offset, earlier])
        places = torch.from_numpy(starts).to(tokens.device)
        loss, output = self.loss_at(model, tokens, scored, model.placed(state, places))
        before = self.before.model
        if before is None or not len(later) or not len(earlier):
            return loss, output
        rows = len(earlier)
        with undisturbed(before):
            begun = before.placed(before.between_batches(state, rows), places[-rows:])
            expected = before(tokens[-rows:, :-1], begun).logits
        apart = divergence(expected, output.logits[-rows:])
        output.readings[DIVERGENCE] = apart.detach()
        return loss + self.kl_weight * apart, output

    def conclusions(self, trainer: Trainer) -> dict[str, Any]:
        return {
            "earlier_loss_before": self.before.loss,
            "earlier_loss": self.test_loss(trainer, self.earlier),
            "later_loss": self.test_loss(trainer, self.data),
            "replayed_windows": len(self.kept),
        }

    def test_loss(self, trainer: Trainer, text: TextData) -> float:
        """Of a text's test part, in nats a byte. Every process must call it."""
        recipe, ranks = self.recipe, trainer.ranks
        batches = text.windows("test", recipe.sequence_length, recipe.batch_size, recipe.monitor.validation_sequences)[
            ranks.rank :: ranks.count
        ]
        memory = ranks.gather(trainer.model, trainer.memory)
        measured = measure(trainer.model, batches, state=memory, precision=trainer.precision)
        sums = ranks.all_reduce_sum({"loss": measured.loss_sum, "targets": float(measured.targets)})
        return sums["loss"] / sums["targets"]

    def _tokens(self, place: int) -> Tensor:
        earlier, later = self._starts(place)
        length = self.recipe.sequence_length
        parts = [(self.data.train, later), (self.earlier.train, earlier)]
        return torch.cat([cut_windows(text, starts, length) for text, starts in parts if len(starts)])

    def _starts(self, place: int) -> tuple[Starts, Starts]:
        """Where this process's rows of a micro-batch begin: those of the earlier text, and before them the later's."""
        size, rows = self.recipe.batch_size, self.ranks.rows
        first = self.ranks.own(place * size)
        none = np.empty(0, dtype=np.int64)
        begun = self.spec.earlier_steps * self.recipe.accumulation
        if place < begun:
            return self.earlier_order.starts(first, rows), none
        own = self.order.starts(first - begun * size, rows)
        behind = first % size - (size - self.rows)
        drawn = Stream.REPLAY.generator(self.seed, place).choice(self.kept, self.rows) if self.rows else none
        drawn = drawn[max(0, behind) : max(0, behind + rows)]
        again = [self.earlier_order.starts(int(number), 1) for number in drawn]
        return np.concatenate([none, *again]), own[: rows - len(again)]


def _frozen(model: MemoryLanguageModel[Any]) -> MemoryLanguageModel[Any]:
    return copy.deepcopy(model).requires_grad_(False)
