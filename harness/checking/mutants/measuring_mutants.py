"""Defects of measuring, of what is called the best, and of dreams."""

from cortexzoo.harness.checking.mutants.base import Mutant, in_source
from cortexzoo.zoo.models import modes
from cortexzoo.zoo.training import evaluation
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.policies.checkpointing import KeepCheckpoints
from cortexzoo.zoo.training.policies.measuring.probe import Probe
from cortexzoo.zoo.training.policies.measuring.validation import Validation
from cortexzoo.zoo.training.sleep import anchors, dreams, phase, score
from cortexzoo.zoo.training.sleep.optimizer import SleepOptimizer
from cortexzoo.zoo.training.sleep.phase import SleepPhase
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.reservoir import Reservoir

MEASURE = (evaluation, "measure")
QUIET = (evaluation, "undisturbed")
MODE = (modes, "evaluating")

MEASURING_MUTANTS: tuple[Mutant, ...] = (
    in_source("validates-in-training-mode", "cortexgpt", "dropout is on while measuring", *MODE, "model.eval()",
              "pass", by="held_out_is_measured_whole"),
    in_source("stays-in-evaluation-mode", "cortexgpt", "training continues in evaluation mode", *MODE,
              "module.training = training", "pass", by="held_out_is_measured_whole"),
    in_source("measures-with-gradients", "transformer", "measuring keeps a graph", *QUIET,
              "torch.random.fork_rng(devices), torch.no_grad()", "torch.random.fork_rng(devices)",
              by="held_out_is_measured_whole"),
    in_source("measuring-draws-numbers", "cortexgpt", "measuring moves the random numbers of training", *QUIET,
              "torch.random.fork_rng(devices), torch.no_grad():",
              "torch.no_grad():\n        torch.rand(1)", by="measuring_changes_nothing"),
    in_source("only-the-first-batch", "transformer", "one held-out batch is measured", *MEASURE, "enumerate(batches)",
              "enumerate(batches[:1])", by="held_out_is_measured_whole"),
    in_source("mean-of-batch-means", "transformer", "a short last batch counts as much as a full one", *MEASURE,
              "loss_sum += loss.item() * count", "loss_sum += loss.item() * tokens[:, 1:].numel() / len(tokens)",
              by="held_out_is_measured_whole"),
    in_source("held-out-from-an-empty-memory", "cortexgpt", "held-out text is read with an empty memory",
              NextTokenObjective, "held_out", "state=memory,", "state=None,", by="held_out_is_measured_whole"),
    in_source("validates-on-the-test-part", "transformer", "the test part is validated", NextTokenObjective, "__init__",
              'data.windows("validation", *about)', 'data.windows("test", *about)', by="held_out_is_measured_whole"),
    in_source("probes-the-training-part", "transformer", "the probe is a training batch", NextTokenObjective, "probe",
              "cut_windows(self.data.validation, starts, length)", "cut_windows(self.data.train, starts, length)",
              by="held_out_is_measured_whole"),
    in_source("held-out-limit-ignored", "transformer", "all windows are measured whatever the limit",
              NextTokenObjective, "__init__", "recipe.batch_size, recipe.monitor.validation_sequences",
              "recipe.batch_size", by="held_out_is_measured_whole"),
    in_source("validation-moves-the-memory", "cortexgpt", "training continues with the memory of the held-out text",
              NextTokenObjective, "held_out", "    own = slice(ranks.rank",
              "    trainer.memory = trainer.model.between_batches(memory, 2)\n    own = slice(ranks.rank",
              by="steps_match_a_reference"),
    in_source("best-is-the-last", "transformer", "every validation is the best", Validation, "_validate",
              "score.loss < self.best_loss", "True", by="best_is_the_best"),
    in_source("best-is-the-worst", "transformer", "the highest loss is the best", Validation, "_validate",
              "score.loss < self.best_loss", "score.loss > self.best_loss", by="best_is_the_best"),
    in_source("ties-go-to-the-last", "transformer", "an equal loss is better", Validation, "_validate",
              "score.loss < self.best_loss", "score.loss <= self.best_loss", by="best_is_the_best"),
    in_source("nan-is-the-best", "transformer", "a loss that is not finite is the best", Validation, "_validate",
              "math.isfinite(score.loss) and (self.best_loss is None or score.loss < self.best_loss)",
              "self.best_loss is None or not score.loss >= self.best_loss", by="best_is_the_best"),
    in_source("best-never-saved-again", "transformer", "only the first best is saved", KeepCheckpoints, "step_taken",
              "trainer.save(self.folder / BEST)", "(self.folder / BEST).exists() or trainer.save(self.folder / BEST)",
              by="best_is_the_best"),
    in_source("best-step-off-by-one", "transformer", "the best step is named one early", Validation, "_validate",
              "score.loss, step.number", "score.loss, step.number - 1", by="best_is_the_best"),
    in_source("probe-keeps-the-lowest", "transformer", "the probe's loss is the lowest so far", Probe, "_probe",
              "step.metrics[\"probe/loss\"] = loss",
              "step.metrics[\"probe/loss\"] = loss = min([loss, *(value for _, value in self._probed)])",
              by="held_out_is_measured_whole"),
    in_source("one-gap-is-validated", "hybrid", "the held-out loss is that of one gap", RecallObjective, "held_out",
              "sum(losses) / len(losses)", "losses[0]", by="held_out_is_measured_whole"),
    in_source("divergence-reversed", "transformer", "KL(now ‖ before) keeps dreams near the model", anchors,
              "divergence", "F.kl_div(now, before,", "F.kl_div(before, now,", by="sleep_matches_a_reference"),
    in_source("kl-weight-ignored", "transformer", "nothing keeps dreams near the model", SleepPhase, "_dream_loss",
              "spec.kl_weight * divergence", "0 * divergence", by="sleep_matches_a_reference"),
    in_source("ewc-not-squared", "transformer", "the elastic penalty is linear", anchors, "elastic_penalty",
              "(now - then).square()", "(now - then).abs()", by="sleep_matches_a_reference"),
    in_source("fisher-of-the-sum", "transformer", "the Fisher information does not count targets", anchors,
              "fisher_information", "alpha=example.counted / len(counting)", "alpha=1 / len(counting)",
              by="sleep_matches_a_reference"),
    in_source("dreams-are-not-clipped", "transformer", "a sleep's gradients are not clipped", SleepOptimizer,
              "_gradients", ".clamp(max=1.0)", ".clamp(min=1.0, max=1.0)", by="sleep_matches_a_reference"),
    in_source("sleep-rate-ignored", "transformer", "a sleep has torch's own rate", SleepOptimizer, "__init__",
              "AdamW(self.parameters, lr=learning_rate)", "AdamW(self.parameters)", by="sleep_matches_a_reference"),
    in_source("one-dream-for-all", "transformer", "every update has the same dream", SleepPhase, "dream",
              "self._start, random)", "self._start, random.manual_seed(1))", by="sleep_matches_a_reference"),
    in_source("every-sleep-alike", "transformer", "the first sleep draws the numbers of the second", phase,
              "own_random_numbers", "seeds(seed, number)", "seeds(seed, number + 1)", by="sleep_matches_a_reference"),
    in_source("dreams-one-short", "transformer", "a sleep makes an update less", SleepPhase, "dream",
              "range(self.spec.steps)", "range(self.spec.steps - 1)", by="sleep_matches_a_reference"),
    in_source("reservoir-keeps-the-newest", "transformer", "the last examples are kept", Reservoir, "offered",
              "elif place < self.capacity:", "else:\n            place = seen % self.capacity",
              by="sleep_matches_a_reference"),
    in_source("reservoir-one-over", "transformer", "one example too many is kept", Reservoir, "offered",
              "if len(kept) < self.capacity:", "if len(kept) <= self.capacity:", by="sleep_matches_a_reference"),
    in_source("replay-scores-padding", "hybrid", "padding of a replayed example is scored", dreams, "together",
              "scored[row, :length], real[row, :length] = example.tokens, example.scored, True",
              "scored[row, :], real[row, :length] = example.tokens, True, True", by="sleep_matches_a_reference"),
    in_source("sleep-judged-by-the-first-alone", "transformer", "a sleep may undo what was learnt since the first",
              score, "objection", " or _harm(acceptance, before, after)", "", by="sleep_matches_a_reference"),
    in_source("sleep-judged-by-the-one-before", "transformer", "harm adds up over sleeps", score, "objection",
              "_harm(acceptance, first, after) or ", "", by="sleep_matches_a_reference"),
    in_source("recall-may-fall", "transformer", "a sleep may lower recall", score, "_harm",
              "if not score.recall >= lowest:", "if False:", by="sleep_matches_a_reference"),
    in_source("infinite-loss-stays", "transformer", "a sleep that ends without a finite loss stays", score, "objection",
              "if not math.isfinite(after.loss):", "if False:", by="sleep_matches_a_reference"),
    in_source("refused-sleep-stays", "transformer", "a sleep that is not accepted is not undone", Sleep, "sleep",
              "    if reason is not None:\n        weights.restore(trainer.model)",
              "    if reason is not None:\n        pass", by="sleep_matches_a_reference"),
)  # fmt: skip
