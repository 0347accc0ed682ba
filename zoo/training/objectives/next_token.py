"""Language modelling: windows of a text, every token of which is asked for."""

from typing import Any

import torch
from torch import Tensor

from cortexzoo.specs.metrics import GATE_SHARE
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.zoo.data.order import cut_windows
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput
from cortexzoo.zoo.training.evaluation import HeldOut, lm_loss, measure, next_token_loss
from cortexzoo.zoo.training.objectives.base import Examples, Objective
from cortexzoo.zoo.training.policies.base import HeldOutScore, Trainer
from cortexzoo.zoo.training.ranks import Ranks


class NextTokenObjective(Objective):
    """Cross-entropy of the next token. Raises `DataError` when the text is too short or a token has no logit.

    Held-out batches start from what the model makes of the training memory between batches. Several processes share
    them out among themselves; the batches are the same for any number of processes.
    """

    def __init__(
        self, data: TextData, recipe: RecipeSpec, seed: int, model: MemoryLanguageModel[Any], ranks: Ranks
    ) -> None:
        data.require(recipe.sequence_length, model.vocab_size)
        self.data, self.recipe, self.ranks = data, recipe, ranks
        self.sha256 = data.sha256
        self.tokenizer = data.vocabulary.file_content()
        self.order = data.training_order(recipe.sequence_length, seed)
        self._token_bytes = data.token_bytes("validation")
        about = (recipe.sequence_length, recipe.batch_size, recipe.monitor.validation_sequences)
        self._held_out = data.windows("validation", *about)
        self._scored = data.scored_windows("validation", *about)

    def examples(self, number: int) -> Examples:
        size, length, rows = self.recipe.batch_size, self.recipe.sequence_length, self.ranks.rows
        first = (number - 1) * self.recipe.accumulation * size
        firsts = [self.ranks.own(first + size * index) for index in range(self.recipe.accumulation)]
        starts = [self.order.starts(at, rows) for at in firsts]
        tokens = torch.stack([cut_windows(self.data.train, each, length) for each in starts])
        scored = [self.data.scored("training", each, length) for each in starts]
        return Examples(
            tokens,
            torch.stack([each for each in scored if each is not None]) if scored[0] is not None else None,
            torch.stack([torch.from_numpy(each) for each in starts]),
        )

    def loss(
        self,
        model: MemoryLanguageModel[Any],
        tokens: Tensor,
        scored: Tensor | None,
        state: MemoryState,
        place: int,
    ) -> tuple[Tensor, ModelOutput[Any]]:
        starts = self.order.starts(self.ranks.own(place * self.recipe.batch_size), len(tokens))
        return self.loss_at(model, tokens, scored, model.placed(state, torch.from_numpy(starts).to(tokens.device)))

    @staticmethod
    def loss_at(
        model: MemoryLanguageModel[Any], tokens: Tensor, scored: Tensor | None, begun: MemoryState
    ) -> tuple[Tensor, ModelOutput[Any]]:
        """As `loss`, from a memory with the place of each row in the text."""
        loss, output = lm_loss(model, tokens, begun, scored=scored)
        if output.alone is None or not output.alone_weight:
            return loss, output
        weight = output.alone_weight
        both = (loss + weight * next_token_loss(output.alone, tokens, scored)) / (1 + weight)
        # What is reported is the loss of the prediction; what is followed downhill is that of both.
        return loss.detach() + (both - both.detach()), output

    def probe(self) -> Examples:
        length = self.recipe.sequence_length
        starts = self.data.validation_starts(length, self.recipe.batch_size)
        return Examples(
            cut_windows(self.data.validation, starts, length), self.data.scored("validation", starts, length)
        )

    def held_out(self, trainer: Trainer) -> HeldOutScore:
        ranks = trainer.ranks
        memory = ranks.gather(trainer.model, trainer.memory)
        own = slice(ranks.rank, None, ranks.count)
        count = len(self._held_out[own])
        if not count:
            own = slice(1)  # so that all have the same readings; here it counts nothing
        lengths = self._token_bytes
        measured = measure(
            trainer.model,
            self._held_out[own],
            state=memory,
            precision=trainer.precision,
            scored=None if self._scored is None else self._scored[own],
            token_bytes=lengths,
        )
        parts = {"loss": measured.loss_sum, "targets": float(measured.targets), "bytes": float(measured.bytes)}
        sums = ranks.all_reduce_sum({name: value * (count > 0) for name, value in parts.items()})
        shares = ranks.all_reduce_sum({name: value * count for name, value in gate_shares(measured).items()})
        metrics = {} if lengths is None else {"validation/loss_per_token": sums["loss"] / sums["targets"]}
        batches = len(self._held_out)
        return HeldOutScore(
            sums["loss"] / sums["bytes"],
            gate_shares={name: share / batches for name, share in shares.items()},
            metrics=metrics,
        )

    def references(self) -> dict[str, Any]:
        counted = self.data.reference_losses(self.recipe.sequence_length, self.recipe.monitor.validation_sequences)
        found = {"unigram_loss": counted.unigram, "bigram_loss": counted.bigram, "ngram_loss": counted.ngram}
        if self.data.counted_bytes is not None:
            found["counted_bytes"] = self.data.counted_bytes
        return found if self._token_bytes is None else {**found, "bytes_per_token": self.data.bytes_per_token}


def gate_shares(held_out: HeldOut) -> dict[str, float]:
    """The mean share of each live source."""
    return {
        name.removeprefix(GATE_SHARE): value for name, value in held_out.readings.items() if name.startswith(GATE_SHARE)
    }
