"""One text after another: what was learned of the earlier one is replayed while the later one is learned."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cortexzoo.specs.data import DataSpec, TextSpec
from cortexzoo.specs.objective import Continual
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.zoo.data.order import Starts, cut_windows
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput
from cortexzoo.zoo.training.evaluation import measure, undisturbed
from cortexzoo.zoo.training.objectives.base import Examples
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from cortexzoo.zoo.training.objectives.protection import build_protection
from cortexzoo.zoo.training.objectives.replay import SampledWindows, build_replay
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.ranks import Ranks
from cortexzoo.zoo.training.sleep.anchors import divergence

DIVERGENCE = "train/replay_divergence"
"""KL(before ‖ now) on the replayed rows, in nats a byte and not yet weighted: a reading of the objective."""
SAMPLES = "replay.samples"
"""In a checkpoint, beside the tensors of the earlier model: the sampled windows."""


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
        weights = {} if self.model is None else dict(self.model.state_dict())
        replay = self.objective.replay
        sampled = replay.samples if isinstance(replay, SampledWindows) else None
        return weights if sampled is None else {**weights, SAMPLES: sampled}

    def load_state(self, trainer: Trainer, values: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        self.loss = values["loss"]
        replay = self.objective.replay
        if isinstance(replay, SampledWindows):
            replay.samples = tensors.get(SAMPLES)
        weights = {name: tensor for name, tensor in tensors.items() if name != SAMPLES}
        self.model = None
        if weights:
            self.model = _frozen(trainer.model)
            self.model.load_state_dict(weights)

    def _look(self, trainer: Trainer, step: Step) -> None:
        if step.number != self.objective.spec.earlier_steps:
            return
        objective = self.objective
        self.loss = objective.test_loss(trainer, objective.earlier)
        if objective.replay.kl_weight:
            self.model = _frozen(trainer.model)
        if isinstance(objective.replay, SampledWindows):
            memory = trainer.ranks.gather(trainer.model, trainer.memory)
            objective.replay.sample(trainer.model, memory, objective.seed)
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
        trained_on = spec.earlier_steps * recipe.accumulation * recipe.batch_size
        behind = self.offset + len(later.train)
        self.replay = build_replay(spec.replay, trained_on, earlier, self.earlier_order, behind, seed)
        self.before = EarlierSelf(self)
        self.policies: Sequence[Policy] = [self.before]
        self.step_policies, self.weight_policies = build_protection(spec.protection, spec.earlier_steps, recipe.steps)

    def examples(self, number: int) -> Examples:
        indices = range((number - 1) * self.recipe.accumulation, number * self.recipe.accumulation)
        tokens = torch.stack([self._tokens(index) for index in indices])
        return Examples(tokens, places=torch.stack([self._places(index) for index in indices]))

    def loss(
        self,
        model: MemoryLanguageModel[Any],
        tokens: Tensor,
        scored: Tensor | None,
        state: MemoryState,
        place: int,
    ) -> tuple[Tensor, ModelOutput[Any]]:
        places = self._places(place).to(tokens.device)
        loss, output = self.loss_at(model, tokens, scored, model.placed(state, places))
        before, rows = self.before.model, len(self._own(place)[1])
        if before is None or self._is_earlier(place):
            return loss, output
        apart = loss.new_zeros(())
        if rows:
            with undisturbed(before):
                begun = before.placed(before.between_batches(state, rows), places[-rows:])
                expected = before(tokens[-rows:, :-1], begun).logits
            # The mean over processes is that over all replayed rows, however they are spread.
            apart = divergence(expected, output.logits[-rows:]) * (rows * self.ranks.count / self.replay.rows)
        output.readings[DIVERGENCE] = apart.detach()
        return loss + self.replay.kl_weight * apart, output

    def conclusions(self, trainer: Trainer) -> dict[str, Any]:
        return {
            "earlier_loss_before": self.before.loss,
            "earlier_loss": self.test_loss(trainer, self.earlier),
            "later_loss": self.test_loss(trainer, self.data),
            "replayed_windows": len(self.replay.kept),
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
        starts, again = self._own(place)
        text = self.earlier.train if self._is_earlier(place) else self.data.train
        tokens = cut_windows(text, starts, self.recipe.sequence_length)
        return torch.cat([tokens, self.replay.windows(again)]) if len(again) else tokens

    def _places(self, place: int) -> Tensor:
        starts, again = self._own(place)
        begun = starts if self._is_earlier(place) else starts + self.offset
        return torch.from_numpy(np.concatenate([begun, self.replay.places(again)]))

    def _is_earlier(self, place: int) -> bool:
        return place < self.spec.earlier_steps * self.recipe.accumulation

    def _own(self, place: int) -> tuple[Starts, Starts]:
        """This process's rows of a micro-batch: where those of its text begin, and the numbers of the replayed ones.

        The replayed rows are the last ones.
        """
        size, rows = self.recipe.batch_size, self.ranks.rows
        first = self.ranks.own(place * size)
        if self._is_earlier(place):
            return self.earlier_order.starts(first, rows), np.empty(0, dtype=np.int64)
        begun = self.spec.earlier_steps * self.recipe.accumulation
        behind = first % size - (size - self.replay.rows)
        again = self.replay.drawn(self.seed, place)[max(0, behind) : max(0, behind + rows)]
        return self.order.starts(first - begun * size, rows)[: rows - len(again)], again


def _frozen(model: MemoryLanguageModel[Any]) -> MemoryLanguageModel[Any]:
    return copy.deepcopy(model).requires_grad_(False)
