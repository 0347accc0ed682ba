"""Defects of when things happen and of which data trains."""

from cortexzoo.harness.checking.mutants.base import Mutant, in_source
from cortexzoo.zoo.data import order
from cortexzoo.zoo.data.order import TrainingOrder
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.curriculum import Curriculum
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.policies.checkpointing import KeepCheckpoints
from cortexzoo.zoo.training.policies.consolidation import Consolidation
from cortexzoo.zoo.training.policies.measuring.probe import Probe
from cortexzoo.zoo.training.policies.measuring.stability import UpdateSize
from cortexzoo.zoo.training.policies.measuring.validation import Validation
from cortexzoo.zoo.training.sleep.policy import Sleep

DATA_MUTANTS: tuple[Mutant, ...] = (
    in_source("held-out-text-trains", "hybrid", "the part of a task's text that may train is all of it", TaskData,
              "training_tokens", "(1 - HELD_OUT_TEXT)", "1", by="data_is_served_once_an_epoch"),
    in_source("consolidation-one-late", "cortexgpt", "consolidation comes a step late", Consolidation, "is_due",
              "step % every == 0", "step % every == 1 % every", by="intervals_are_kept"),
    in_source("one-draw-for-all-steps", "cortexgpt", "every step draws the same number", Consolidation, "is_due",
              "generator(self.seed, step)", "generator(self.seed)", by="intervals_are_kept"),
    in_source("consolidates-after-refusals", "cortexgpt", "a refused step consolidates too", TrainingLoop, "_attempt",
              "    return step",
              "    due = [p for p in self.policies if step.refused and p.name == 'consolidation']\n"
              "    [p.step_taken(self, step) for p in due]\n    return step",
              by="intervals_are_kept"),
    in_source("consolidation-is-dropped", "cortexgpt", "what was consolidated is not kept", Consolidation, "step_taken",
              "trainer.memory = trainer.ranks.scatter(trainer.model, consolidated)", "pass",
              by="steps_match_a_reference"),
    in_source("sleep-one-late", "transformer", "sleep comes every n + 1 steps", Sleep, "_is_due",
              "step.number % self.spec.every == 0", "step.number % (self.spec.every + 1) == 0",
              by="intervals_are_kept"),
    in_source("sleep-lost-after-a-refusal", "transformer", "a sleep that falls on a refused step is left out", Sleep,
              "step_refused", "self.due = self._is_due(step)", "pass", by="intervals_are_kept"),
    in_source("no-validation-at-the-end", "transformer", "the last step is not validated", Validation, "step_taken",
              " or step.number == self.steps", "", by="intervals_are_kept"),
    in_source("refused-steps-are-not-validated", "transformer", "validation skips refused steps", Validation,
              "step_refused", "self.step_taken(trainer, step)", "pass", by="intervals_are_kept"),
    in_source("probe-one-early", "transformer", "the probe comes a step early", Probe, "_probe",
              "if step.number % self.every == 0:", "if (step.number + 1) % self.every == 0:", by="intervals_are_kept"),
    in_source("update-size-of-odd-steps", "transformer", "the update is measured at other steps", UpdateSize,
              "gradients_known", "step.number % self.every == 0", "step.number % self.every == 1",
              by="intervals_are_kept"),
    in_source("checkpoints-count-taken-steps", "transformer", "checkpoints come by taken steps", KeepCheckpoints,
              "step_taken", "step.number % self.every == 0", "trainer.taken % self.every == 0",
              by="intervals_are_kept"),
    in_source("no-checkpoint-at-the-end", "transformer", "the last step is not saved", KeepCheckpoints, "phase_ended",
              "if self._last_saved != trainer.position:", "if False:", by="intervals_are_kept"),
    in_source("keeps-one-more", "transformer", "one checkpoint too many is kept", KeepCheckpoints, "_prune",
              "self.keep_last - 1", "self.keep_last", by="intervals_are_kept"),
    in_source("recovery-not-on-disk", "transformer", "renewed points are not written", KeepCheckpoints, "step_taken",
              "or renewed", "", by="intervals_are_kept"),
    in_source("every-epoch-alike", "transformer", "all epochs have the order of the first", TrainingOrder, "starts",
              "self._epoch(int(e))[p]", "self._epoch(0)[p]", by="data_is_served_once_an_epoch"),
    in_source("order-of-the-text", "transformer", "windows come as they stand in the text", order, "_shuffled_grid",
              "generator.permutation(windows)", "np.arange(windows)", by="data_is_served_once_an_epoch"),
    in_source("windows-never-shift", "transformer", "every epoch has the same windows", order, "_shuffled_grid",
              "shift = generator.integers(0, room, endpoint=True)",
              "shift = 0 * generator.integers(0, room, endpoint=True)", by="data_is_served_once_an_epoch"),
    in_source("order-ignores-the-seed", "transformer", "every seed has the same order", order, "_shuffled_grid",
              "generator(seed, epoch)", "generator(0, epoch)", by="data_is_served_once_an_epoch"),
    in_source("drawn-with-replacement", "transformer", "windows are drawn anew each time", order, "_shuffled_grid",
              "generator.permutation(windows)", "generator.integers(0, windows, windows)",
              by="data_is_served_once_an_epoch"),
    in_source("last-window-left-out", "transformer", "an epoch has a window less", TrainingOrder, "windows_per_epoch",
              "self.text_length - self.sequence_length) // self.sequence_length",
              "self.text_length - self.sequence_length) // self.sequence_length - 1",
              by="data_is_served_once_an_epoch"),
    in_source("refused-batches-come-again", "transformer", "a refused batch is served again", TrainingLoop, "_attempt",
              "self.position = number", "self.position = number if step.refused is None else number - 1",
              by="intervals_are_kept"),
    in_source("micro-batches-overlap", "transformer", "micro-batches share rows", NextTokenObjective, "examples",
              "first + size * index", "first + (size - 1) * index", by="data_is_served_once_an_epoch"),
    in_source("accumulation-not-counted", "transformer", "a step begins where the first micro-batch before it ended",
              NextTokenObjective, "examples", "(number - 1) * self.recipe.accumulation * size", "(number - 1) * size",
              by="data_is_served_once_an_epoch"),
    in_source("first-window-skipped", "transformer", "training begins with the second batch", NextTokenObjective,
              "examples", "(number - 1) * self.recipe.accumulation", "number * self.recipe.accumulation",
              by="data_is_served_once_an_epoch"),
    in_source("trains-on-validation", "transformer", "training windows come from the validation part",
              NextTokenObjective, "examples", "cut_windows(self.data.train, each, length)",
              "cut_windows(self.data.validation, each % 32, length)", by="data_is_served_once_an_epoch"),
    in_source("parts-overlap", "transformer", "the training part reaches into the validation part", TextData,
              "from_bytes", "text[:first]", "text[:first + 64]", by="data_is_served_once_an_epoch"),
    in_source("test-part-is-validation", "transformer", "the last part is cut at the wrong place", TextData,
              "from_bytes", "text[first:second], text[second:]", "text[second:], text[first:second]",
              by="data_is_served_once_an_epoch"),
    in_source("documents-come-again", "hybrid", "every step has the same documents", RecallObjective, "examples",
              "((number - 1) * self.recipe.accumulation + index)", "index", by="data_is_served_once_an_epoch"),
    in_source("documents-of-the-held-out-split", "hybrid", "training uses validation documents", RecallObjective,
              "examples", "self.task.batch(\"train\"", "self.task.batch(\"validation\"",
              by="data_is_served_once_an_epoch"),
    in_source("one-gap-too-often", "hybrid", "a block draws gaps with replacement", Curriculum, "gap",
              ".permutation(len(gaps))", ".integers(0, len(gaps), len(gaps))", by="data_is_served_once_an_epoch"),
)  # fmt: skip
