"""Defects that show where no host comes by itself: other settings, a memory switched off, a sleep that is cut short."""

from cortexzoo.harness.checking.mutants.base import Mutant, in_source
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.data import documents, preparing
from cortexzoo.zoo.data.tasks import drawing, recall_measure
from cortexzoo.zoo.data.tasks.multi_query_recall import MultiQueryRecallTask
from cortexzoo.zoo.data.tasks.passkey import PasskeyTask
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary
from cortexzoo.zoo.data.token_files import TokenWriter
from cortexzoo.zoo.memory.block import MemoryBlock
from cortexzoo.zoo.memory.contexts import read_out
from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.memory.long_term import LongTermState
from cortexzoo.zoo.memory.short_term import ReadPlan, ShortTermMemory
from cortexzoo.zoo.models.base import Base
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.hybrid.delta_memory import Gates
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.slow_store import SlowStore
from cortexzoo.zoo.ops.masked_columns import _MaskedColumns
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.own_loop import LoopGuard
from cortexzoo.zoo.training.policies.guards.updates import UpdateGuard
from cortexzoo.zoo.training.policies.homeostasis import Homeostasis
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.state.undo import StepBefore

BEYOND_HOSTS_MUTANTS: tuple[Mutant, ...] = (
    in_source("peaks-on-a-card", "cortexgpt", "in half precision the ring counts where attention is largest", ReadPlan,
              "attended", "count_mass(self)", "count_peaks(self)", by="forward_matches_a_reference"),
    in_source("share-of-nothing", "cortexgpt", "a short-term memory that is switched off keeps its share", MemoryBlock,
              "forward", "live[:, 1] = False", "pass", by="forward_matches_a_reference"),
    in_source("values-of-the-oldest", "cortexgpt", "a full store drops the newest values and the oldest keys",
              LongTermState, "append", "torch.cat([self.values, values])[start:]",
              "torch.cat([self.values, values])[: self.entries + codes.shape[0] - start]",
              by="forward_matches_a_reference"),
    in_source("keys-without-history", "cortexgpt", "where nothing stops the gradient, keys stop it", ShortTermMemory,
              "plan", 'x if self.spec.stop_gradient == "none" else x.detach()', "x.detach()",
              by="forward_matches_a_reference"),
    in_source("off-and-written", "hybrid", "fast weights that are switched off are written", Sidecar, "_forward",
              "SidecarState(fast_weights, conv_state,",
              "SidecarState(self.memory(asked, stored, written, x, state.fast_weights)[1], conv_state,",
              by="forward_matches_a_reference"),
    in_source("cache-of-another-text", "hybrid", "of texts that are read in turns one gets the other's cache", Base,
              "_past", "if known is cache and past is not None:", "if past is not None and len(known) == len(cache):",
              by="forward_matches_a_reference"),
    in_source("no-negative-eigenvalues", "hybrid", "writes are never stronger than 1", Gates, "__init__",
              "2.0 if spec.negative_eigenvalues else 1.0", "1.0", by="forward_matches_a_reference"),
    in_source("writes-at-the-base-rate", "hybrid", "of the memory's gates only the decay has their rate", Hybrid,
              "parameter_groups", ".memory.gates.parameters()", ".memory.gates.decay.parameters()",
              by="steps_match_a_reference"),
    in_source("each-step-draws-alike", "transformer", "examples of all steps are drawn with the same random numbers",
              Sleep, "keep_examples", "generator(self.seed, step.number)", "generator(self.seed)",
              by="sleep_matches_a_reference"),
    in_source("loss-from-before", "transformer", "the held-out loss from before a sleep is told as that after it",
              Sleep, "_record", '"sleep/post_loss"] = slept.after.loss', '"sleep/post_loss"] = slept.before.loss',
              by="sleep_matches_a_reference"),
    in_source("guards-keep-what-is-undone", "transformer", "after a sleep that is stopped guards know the step that is "
              "taken back", StepBefore, "restore", "if self.states[policy.name] or self.tensors[policy.name]:",
              "if self.tensors[policy.name]:", by="resume_is_exact"),
    in_source("earlier-nights-forgotten", "hybrid", "where curvature is not kept, nothing of earlier nights is",
              SlowStore, "absorb", "self.targets.copy_(ridge * self.weights)", "self.targets.zero_()",
              by="slow_store_follows_its_formulas"),
    in_source("first-part-is-used", "contexts", "homeostasis measures the first part of a step, not the last",
              Homeostasis, "step_taken", "step.tokens[-1]", "step.tokens[0]", by="curves_match_a_reference"),
    in_source("rows-run-together", "contexts", "where a row's document is cut off, it continues another row's", Diary,
              "_logged", "log[:, 0] = sources[:, 0] = BOUNDARY", "pass", by="oldest_is_evicted"),
    in_source("follows-into-the-copy", "transformer", "what a user's object moves in place moves in the copy too",
              LoopGuard, "_copy_rates", "[copy.deepcopy(other.state_dict()) for other in self.others]",
              "[other.state_dict() for other in self.others]", by="own_loop_follows_its_guards"),
    in_source("matches-behind-a-gap", "contexts", "tokens beyond 24 count as a match that is broken before", read_out,
              "leading", "here * unbroken", "here", by="forward_matches_a_reference"),
    in_source("results-are-resized", "cortexgpt", "torch must resize what the last rows are written to", _MaskedColumns,
              "forward", "length = here.stop - first", "length = here.stop", by="operators_match_formulas"),
    in_source("fillers-go-untold", "hybrid", "the result says nothing of single fillers", RecallObjective,
              "conclusions", "len(fillers) > 1", "len(fillers) > 5", by="recall_is_trained_as_specified"),
    in_source("two-tokens-at-least", "hybrid", "the loss of a single answer is halved", recall_measure, "recall_at",
              "max(asked, 1)", "max(asked, 2)", by="recall_is_trained_as_specified"),
    in_source("divided-by-no-rate", "transformer", "a step whose rate is zero ends the training", UpdateGuard, "_size",
              "self._rate > 0", "self._rate >= 0", by="guards_follow_their_rules"),
    in_source("noise-without-its-end", "transformer", "noise is drawn without its last tokens", drawing, "_noise",
              "end - SHOWN_NOISE, end", "end - SHOWN_NOISE, end - 1", by="answers_follow_from_documents"),
    in_source("near-by-another-power", "transformer", "questions are nearer than their power law says",
              MultiQueryRecallTask, "__init__", "(kind.power - 1)", "(kind.power - 2)",
              by="answers_follow_from_documents"),
    in_source("digits-of-one-token", "transformer", "no room is left for digits of two tokens", PasskeyTask, "__init__",
              "kind.num_digits * self._digits.longest", "kind.num_digits", by="answers_follow_from_documents"),
    in_source("cut-within-a-character", "transformer", "a block of a file may end within a character", documents,
              "_end_of_characters", "byte & 0xC0", "byte & 0xC1", by="text_is_kept_whole"),
    in_source("nothing-to-train-on", "transformer", "a small training part is the start of its document: empty",
              TokenWriter, "_cut", "and start > 0", "", by="text_is_kept_whole"),
    in_source("cut-goes-untold", "transformer", "of an unknown character it is not said that the text may be cut there",
              TokenizerVocabulary, "_encoded", "if first == 0 or last == len(text):", "if first == len(text):",
              by="text_is_kept_whole"),
    in_source("preparing-in-silence", "transformer", "who watches a preparation is told nothing", preparing, "_written",
              "watch(writer.length)", "pass", by="text_is_kept_whole"),
    in_source("signed-as-anything", "transformer", "what a file is does not enter its keyed sum", CheckpointReader,
              "__init__", "keyed.mistake(KIND, manifest)", 'keyed.mistake("verdict", manifest)',
              by="mistakes_are_refused"),
)  # fmt: skip
