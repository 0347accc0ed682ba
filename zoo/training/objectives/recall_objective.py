"""Recall beyond the window: only answers count, and gradients flow through the memory carried from chunk to chunk."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cortexzoo.specs.objective import InChunkDivergence, InChunkSamples, NoInChunkGuard, Recall
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.zoo.data.order import TrainingOrder
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.tasks.accuracy import Accuracy
from cortexzoo.zoo.data.tasks.batch import Batch
from cortexzoo.zoo.data.tasks.recall_measure import chance_levels
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, ModelOutput
from cortexzoo.zoo.training.evaluation import mean_cross_entropy
from cortexzoo.zoo.training.objectives.base import Examples, Objective
from cortexzoo.zoo.training.objectives.curriculum import RIGHT, Curriculum
from cortexzoo.zoo.training.objectives.drift import Drift, divergence, windows
from cortexzoo.zoo.training.objectives.recall_evaluation import ask
from cortexzoo.zoo.training.objectives.samples import SampleLog, pieces_of
from cortexzoo.zoo.training.policies.base import HeldOutScore, Policy, Trainer
from cortexzoo.zoo.training.ranks import Ranks

MEMORY = "fast_weights"
GUARDED = "train/in_chunk_loss"
"""What guards the chunk, in nats and not yet weighted: a reading of the objective."""
PROBED = 32
"""Documents of the probe: with 8, one answer of 48 that flips is a swing of a half at a loss of 0.06."""


class RecallObjective(Objective):
    """Cross-entropy of the answers' tokens, mean over those of a micro-batch.

    The state is carried from chunk to chunk with its history, and loses the history every `bptt_chunks` chunks. All
    documents of a step have one gap, which the curriculum chooses. Raises `DataError` when a gap is out of reach, a
    token has no logit or the text is too short.
    """

    def __init__(
        self,
        data: TaskData,
        spec: Recall,
        recipe: RecipeSpec,
        seed: int,
        model: MemoryLanguageModel[Any],
        ranks: Ranks,
    ) -> None:
        data.require(model.vocab_size)
        self.task, self.spec, self.recipe, self.ranks = data.task, spec, recipe, ranks
        self.sha256 = data.sha256
        self.rows = {
            (number, gap): self._rows(stage.tokens_per_step, gap)
            for number, stage in enumerate(spec.stages)
            for gap in stage.gaps
        }
        documents = {key: rows * ranks.count * recipe.accumulation for key, rows in self.rows.items()}
        self.curriculum = Curriculum(spec.stages, seed, documents)
        self.samples = SampleLog(recipe.accumulation)
        self._drift: Drift | None = None
        self._guard_text: Tensor | None = None
        policies: list[Policy] = [self.curriculum, self.samples]
        text, length = data.training_tokens(), recipe.sequence_length
        if text is not None and model.has_frozen_base:
            data.require_text(length)
            self._drift = Drift(windows(data.held_out_tokens(), spec.drift.sequences, length), self.curriculum)
            policies.append(self._drift)
            self._guard_text = torch.from_numpy(text)
            self._guard_order = TrainingOrder(len(text), length, seed)
        self.policies: Sequence[Policy] = policies
        assert self._guard_text is not None or not isinstance(spec.in_chunk, InChunkDivergence)
        if spec.recompute_activations:
            assert model.recompute_activations is not None
            model.recompute_activations = True

    def examples(self, number: int) -> Examples:
        gap = self.curriculum.gap(number)
        rows = self.rows[self.curriculum.stage, gap]
        batches = []
        for index in range(self.recipe.accumulation):
            # Every micro-batch has room for batch_size documents, so none is seen twice whatever the stage.
            first = ((number - 1) * self.recipe.accumulation + index) * self.recipe.batch_size
            first += self.ranks.rank * rows
            batches.append(self.task.batch("train", range(first, first + rows), gap))
        self.samples.begin(gap, batches)
        return Examples(torch.stack([b.tokens for b in batches]), torch.stack([b.mask for b in batches]))

    def loss(
        self, model: MemoryLanguageModel[Any], tokens: Tensor, scored: Tensor | None, state: MemoryState, place: int
    ) -> tuple[Tensor, ModelOutput[Any]]:
        counted = torch.ones_like(tokens[:, 1:], dtype=torch.bool) if scored is None else scored
        logits, targets, output = self._answers(model, tokens, counted, state)
        loss = mean_cross_entropy(logits, targets)
        output.readings[RIGHT] = self.samples.note(place, logits, targets, counted, self._piece)
        match self.spec.in_chunk:
            case InChunkSamples(documents=documents) as guard:
                guarded = self._in_chunk_loss(model, place, documents, tokens.device)
            case InChunkDivergence(sequences=sequences) as guard:
                guarded = self._divergence(model, place, sequences, tokens.device)
            case NoInChunkGuard():
                return loss, output
        output.readings[GUARDED] = guarded.detach()
        return loss + guard.weight * guarded, output

    def probe(self) -> Examples:
        """Documents with the largest gap of the first stage: as long as any that training begins with."""
        gap = max(self.spec.stages[0].gaps)
        batch = self.task.batch("validation", range(min(self.recipe.batch_size, PROBED)), gap)
        return Examples(batch.tokens, batch.mask)

    def held_out(self, trainer: Trainer) -> HeldOutScore:
        """Over the gaps that are trained on."""
        gaps = sorted({gap for stage in self.spec.stages for gap in stage.gaps})
        asked = ask(trainer.model, self.task, gaps, trainer, self._documents)
        losses = [result.loss for result in asked.values()]
        shares = {gap: result.accuracy.exact for gap, result in asked.items()}
        metrics = {f"validation/recall/gap_{gap}": share for gap, share in shares.items()}
        return HeldOutScore(sum(losses) / len(losses), sum(shares.values()) / len(shares), metrics=metrics)

    def conclusions(self, trainer: Trainer) -> dict[str, Any]:
        """Recall at the gaps that the data names, with the memory, without it, and by the base alone."""
        model = trainer.model
        controls: dict[str, frozenset[str]] = {"recall": frozenset()}
        if model.switches:
            off = {MEMORY} if MEMORY in model.switches else set(model.switches)
            controls["recall_memory_off"] = frozenset(off)
        if model.has_frozen_base:
            controls["recall_base"] = frozenset(model.switches)
        name, gaps = self.task.name, self.task.spec.gaps
        fillers = [filler.kind for filler in self.task.spec.fillers]
        found: dict[str, Any] = {"chance": dict(chance_levels([self.task]))}
        for control, disabled in controls.items():
            asked = ask(model, self.task, gaps, trainer, self.task.spec.evaluation_documents, disabled)
            found[control] = {name: {gap: result.accuracy.exact for gap, result in asked.items()}}
            if control == "recall" and len(fillers) > 1:
                found["recall_by_filler"] = {
                    name: {gap: _by_filler(result.by_slice["filler"], fillers) for gap, result in asked.items()}
                }
        return found if self._drift is None else {**found, **self._drift.measured(trainer)}

    @property
    def _documents(self) -> int:
        asked = self.recipe.monitor.validation_sequences
        return self.task.spec.evaluation_documents if asked is None else asked

    def _rows(self, tokens: int, gap: int) -> int:
        """Documents of a micro-batch in each process."""
        fitting = max(1, tokens // self.task.length(gap))
        return max(1, min(self.recipe.batch_size, fitting) // self.ranks.count)

    @property
    def _piece(self) -> int | None:
        """Tokens through whose state gradients flow; None: all."""
        chunks = self.spec.bptt_chunks
        return None if chunks is None else chunks * self.task.chunk_size

    def _answers(
        self, model: MemoryLanguageModel[Any], tokens: Tensor, scored: Tensor, state: MemoryState
    ) -> tuple[Tensor, Tensor, ModelOutput[Any]]:
        """Logits [places, V] and targets of what is scored, and the output of the last piece."""
        pieces = pieces_of(tokens[:, :-1].shape[1], self._piece)
        logits, targets = [], []
        for piece in pieces:
            output = model.logits_at(tokens[:, :-1][:, piece], scored[:, piece], state)
            state = output.state if len(pieces) == 1 else output.state.detached()
            logits.append(output.logits)
            targets.append(tokens[:, 1:][:, piece][scored[:, piece]])
        return torch.cat(logits), torch.cat(targets), output

    def _share(self, place: int, count: int) -> range:
        """This process's part, at least one, of `count` examples that guard a micro-batch."""
        rows = max(1, count // self.ranks.count)
        first = (place * self.ranks.count + self.ranks.rank) * rows
        return range(first, first + rows)

    def _in_chunk_loss(
        self, model: MemoryLanguageModel[Any], place: int, documents: int, device: torch.device
    ) -> Tensor:
        own = self._share(place, documents)
        batch: Batch = self.task.batch("train", own, 0).to(device)
        output = model.logits_at(batch.inputs, batch.mask, model.initial_state(len(own)))
        return mean_cross_entropy(output.logits, batch.tokens[:, 1:][batch.mask])

    def _divergence(self, model: MemoryLanguageModel[Any], place: int, sequences: int, device: torch.device) -> Tensor:
        assert self._guard_text is not None
        own = self._share(place, sequences)
        starts = torch.from_numpy(self._guard_order.starts(own.start, len(own)))
        offsets = starts[:, None] + torch.arange(self.recipe.sequence_length)
        return divergence(model, self._guard_text[offsets].to(device))


def _by_filler(found: Mapping[int, Accuracy], fillers: Sequence[str]) -> dict[str, float]:
    return {fillers[number]: accuracy.exact for number, accuracy in found.items()}
