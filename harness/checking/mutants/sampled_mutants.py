"""Defects that were made by machine, and that no property caught when they were first planted."""

from cortexzoo.harness.checking.mutants.base import Mutant, in_source
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.memory.contexts.codes import CodeBook
from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.memory.faiss_index import ListedIndex
from cortexzoo.zoo.models import base
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.hybrid.model import _Readings
from cortexzoo.zoo.models.probing import _Watched
from cortexzoo.zoo.training import schedule
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from cortexzoo.zoo.training.objectives.replay import SampledWindows
from cortexzoo.zoo.training.policies.checkpointing import KeepCheckpoints
from cortexzoo.zoo.training.policies.guards.recovery import Recovery
from cortexzoo.zoo.training.policies.measuring.probe import Probe
from cortexzoo.zoo.training.sleep.consolidating import ConsolidationPhase
from cortexzoo.zoo.training.sleep.optimizer import SleepOptimizer

SAMPLED_MUTANTS: tuple[Mutant, ...] = (
    in_source("damage-is-noticed-and-stays", "transformer", "what is not finite is seen, and nothing is undone",
              Recovery, "_is_whole",
              'self._roll_back(trainer, step, flaw or "something on another process is damaged")', "pass",
              by="guards_follow_their_rules"),
    in_source("full-disk-leaves-files", "transformer", "a checkpoint that cannot be written stays half written",
              checkpoints, "abandon", "shutil.rmtree(partial_folder(folder), ignore_errors=True)", "pass",
              by="checkpoints_survive_interruption"),
    in_source("largest-logit-untold", "transformer", "the probe does not report the largest attention logit", Probe,
              "_probe", "step.metrics[MAX_ATTENTION_LOGIT] = largest", "pass", by="held_out_is_measured_whole"),
    in_source("filed-where-it-began", "contexts", "a document that moves on into the log stays where it began", Diary,
              "_moved_on", "self.begins + passed", "self.begins", by="no_own_occurrence"),
    in_source("any-network-is-a-base", "hybrid", "a network is taken for a base without a proof", Base, "of",
              "prove(base.run, network, places, config.vocab_size, name)", "pass", by="mistakes_are_refused"),
    in_source("any-weights-are-the-base", "hybrid", "a base with other weights has the same sum", base, "content_hash",
              "digest.update(tensor", "bytes(tensor", by="mistakes_are_refused"),
    in_source("norms-are-not-found", "hybrid", "sidecars read what their layer reads before its norm", _Watched,
              "_norm", "self.norms[index] is None and inputs", "self.norms[index] is not None and inputs",
              by="mistakes_are_refused"),
    in_source("never-the-short-way", "hybrid", "single tokens take the long way through a sidecar", Sidecar, "forward",
              "x.shape[1] == 1", "x.shape[2] == 1", by="forward_matches_a_reference"),
    in_source("two-tokens-count-as-one", "hybrid", "readings of a call of two tokens are twice as large", _Readings,
              "means", "self.tokens[n] == 1", "self.tokens[n] == 2", by="forward_matches_a_reference"),
    in_source("sampled-windows-overlap", "continual", "sampled windows stand in each other's places", SampledWindows,
              "places", "numbers * APART * self.length", "numbers * APART", by="continual_training_follows_its_rules"),
    in_source("newest-is-never-found", "contexts", "the entry that was added first is taken for none", ListedIndex,
              "search", "ids < 0", "ids <= 0", by="stored_is_found"),
    in_source("first-token-is-none", "contexts", "contexts with the first of all tokens are filed as without it",
              CodeBook, "of_contexts", "tokens < 0", "tokens <= 0", by="stored_is_found"),
    in_source("one-step-saves-nothing", "transformer", "a training of one step leaves no checkpoint to resume from",
              KeepCheckpoints, "__init__", "self._last_saved = 0", "self._last_saved = 1", by="intervals_are_kept"),
    in_source("warmup-takes-all", "transformer", "a warmup may be as long as the training", schedule, "warmup_steps",
              "steps - 1)", "steps)", by="steps_match_a_reference"),
    in_source("places-untold", "transformer", "a model is not told where its rows stand in the text",
              NextTokenObjective, "loss", "model.placed(state, torch.from_numpy(starts).to(tokens.device))", "state",
              by="steps_match_a_reference"),
    in_source("generator-of-others", "cortexgpt", "training moves the generator of the program that started it",
              TrainingLoop, "run", "stack.enter_context(torch.random.fork_rng([self.device] if self.device.type == "
              '"cuda" else []))', "pass", by="steps_match_a_reference"),
    in_source("failed-solve-uncounted", "hybrid", "a sleep without a solution is not counted as refused",
              ConsolidationPhase, "dream", "self.updates.refused += 1", "pass", by="slow_store_follows_its_formulas"),
    in_source("stopped-sleep-stays", "hybrid", "a sleep that is stopped while it consolidates stays",
              ConsolidationPhase, "dream", "return not self.trainer.is_over()", "return True",
              by="slow_store_follows_its_formulas"),
    in_source("any-text-has-that-sum", "transformer", "tasks beside different texts have one sum", TaskData,
              "from_spec", "text is None else text.tobytes()", "text is not None else bytes()",
              by="mistakes_are_refused"),
    in_source("sleep-leaves-a-gradient", "transformer", "the last gradient of a sleep stays for the step after it",
              SleepOptimizer, "_take", "self.optimizer.zero_grad(set_to_none=True)", "pass", by="resume_is_exact"),
)  # fmt: skip
