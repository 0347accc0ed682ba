"""Defects that show where two things come together: a sleep and a rollback, a stop and a second run, gaps and depth."""

from cortexzoo.harness.checking.mutants.base import Mutant, in_source
from cortexzoo.zoo import generation
from cortexzoo.zoo.data import order
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training import evaluation, schedule
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.continual import ContinualObjective
from cortexzoo.zoo.training.objectives.drift import Drift
from cortexzoo.zoo.training.objectives.protection import FollowingSlowly
from cortexzoo.zoo.training.objectives.replay import KeptWindows
from cortexzoo.zoo.training.policies import homeostasis
from cortexzoo.zoo.training.policies.guards.gates import BatchGate
from cortexzoo.zoo.training.policies.guards.recovery import Recovery
from cortexzoo.zoo.training.policies.homeostasis import Homeostasis
from cortexzoo.zoo.training.policies.measuring.telemetry import Telemetry
from cortexzoo.zoo.training.sleep.reservoir import Reservoir

OVERLOOKED_MUTANTS: tuple[Mutant, ...] = (
    in_source("rare-readings-count-less", "transformer", "a reading that some batches lack is divided by all batches",
              evaluation, "measure", "sum(values) / len(values)", "sum(values) / len(batches)",
              by="held_out_is_measured_whole"),
    in_source("loss-of-lost-weights", "transformer", "where a step is undone after its sleep, the loss after the sleep "
              "is the held-out one", Recovery, "_roll_back", "step.held_out = None", "pass",
              by="held_out_is_measured_whole"),
    in_source("loss-of-the-fast-learner", "continual", "the loss before the slow learner takes its place is the last "
              "held-out one", FollowingSlowly, "_follow", "step.held_out = None", "pass",
              by="continual_training_follows_its_rules"),
    in_source("last-texts-weigh-more", "hybrid", "drift weighs a part of a few texts as a whole one", Drift, "_measure",
              "next_token_loss(logits, rows).item() * len(rows)",
              "next_token_loss(logits, rows).item() * min(ROWS, len(self.texts))", by="drift_is_measured"),
    in_source("first-windows-are-kept", "continual", "the windows kept for replay are the first, and no sample",
              KeptWindows, "__init__", "Stream.REPLAY.generator(seed).choice(trained_on, spec.windows, replace=False)",
              "np.arange(spec.windows)", by="continual_training_follows_its_rules"),
    in_source("later-text-begins-late", "continual", "the later text begins where its first epoch is nearly over",
              ContinualObjective, "_own", "first - begun * size", "first", by="continual_training_follows_its_rules"),
    in_source("opened-by-taken-steps", "contexts", "homeostasis counts the steps that were taken", Homeostasis,
              "step_taken", "step.number % self.spec.every", "trainer.taken % self.spec.every",
              by="curves_match_a_reference"),
    in_source("all-but-one-is-all", "transformer", "the likeliest tokens but one are all tokens", generation, "_sample",
              "top_k < logits.shape[-1]", "top_k < logits.shape[-1] - 1", by="sampling_follows_its_settings"),
    in_source("periods-only-double", "transformer", "each period is twice the one before, whatever the multiplier",
              schedule, "rate_factor", "period *= multiplier", "period *= min(multiplier, 2)",
              by="steps_match_a_reference"),
    in_source("more-examples-than-room", "transformer", "of more examples than there is room for all are read",
              Reservoir, "from_tensors", "min(capacity, sum(name.startswith(\"tokens/\") for name in tensors))",
              "sum(name.startswith(\"tokens/\") for name in tensors)", by="sleep_matches_a_reference"),
    in_source("tokens-of-one-process", "transformer", "tokens a second are those of the first process", Telemetry,
              "step_taken", "numel() * trainer.ranks.count", "numel()", by="processes_train_as_one"),
    in_source("depth-of-tokens", "transformer", "over a gap of tokens answers are filed under depth 0", Task, "_starts",
              "self.gap_tokens(gap), self.depth_chunks", "self.gap_tokens(gap), 0",
              by="answers_follow_from_documents"),
    in_source("a-token-too-many", "transformer", "the first token beyond the vocabulary is served", BatchGate,
              "batch_ready", "high > last:", "high > last + 1:", by="mistakes_are_refused"),
    in_source("last-window-untargeted", "transformer", "a held-out part that ends with a window has one more", order,
              "validation_starts", "(text_length - 1) // sequence_length", "text_length // sequence_length",
              by="orders_visit_each_window_once"),
    in_source("stays-stopped", "transformer", "a trainer that was stopped stops again after a step", TrainingLoop,
              "run", "self._failure = self._stop = None", "self._failure = None", by="intervals_are_kept"),
    in_source("random-numbers-of-the-first-resume", "cortexgpt", "a run that was resumed is written with the random "
              "numbers from its start", TrainingLoop, "random_state", "if self._running or self._random_state is None:",
              "if self._random_state is None:", by="resume_is_exact"),
    in_source("nothing-is-closed", "transformer", "policies are not closed when a run ends", TrainingLoop, "run",
              "stack.callback(policy.close)", "pass", by="intervals_are_kept"),
    in_source("scaled-down-as-well", "cortexgpt", "what is used enough is closed step by step", homeostasis, "_scale",
              "below = used < target", "below = used.isfinite()", by="curves_match_a_reference"),
    in_source("learns-what-is-held-out", "transformer", "the tokenizer of a text learns from its held-out parts",
              TextData, "from_spec", "parts[0], of_base", "content, of_base", by="text_is_kept_whole"),
    in_source("losses-a-byte-early", "transformer", "what counting reaches is measured one byte before each target",
              TextData, "reference_losses", "np.arange(length, length + len(scored))",
              "np.arange(length - 1, length - 1 + len(scored))", by="text_is_kept_whole"),
)  # fmt: skip
