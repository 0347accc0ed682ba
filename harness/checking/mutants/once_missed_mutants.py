"""Defects by an author who had not read the properties, and that none of them caught when first planted."""

from cortexzoo.harness.checking.mutants.base import Host, in_source
from cortexzoo.zoo import generation
from cortexzoo.zoo.data import documents, preparing
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.tasks.accuracy import AnswerTally
from cortexzoo.zoo.data.tasks.filler import SpelledPairFiller
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.data.tasks.token_pairs import TokenPairsTask
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary
from cortexzoo.zoo.data.token_files import TokenWriter
from cortexzoo.zoo.memory.contexts.diary import Diary, Pages
from cortexzoo.zoo.memory.contexts.read_out import ContextReadOut
from cortexzoo.zoo.memory.long_term import LongTermRing
from cortexzoo.zoo.memory.short_term import ShortTermMemory
from cortexzoo.zoo.models import modes, state_tree, transformer
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.models.hybrid import slow_store, weights
from cortexzoo.zoo.models.hybrid.block import Sidecar
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training import evaluation
from cortexzoo.zoo.training.objectives import drift
from cortexzoo.zoo.training.objectives.continual import ContinualObjective
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.objectives.replay import SampledWindows
from cortexzoo.zoo.training.objectives.samples import SampleLog
from cortexzoo.zoo.training.policies.checkpointing import KeepCheckpoints
from cortexzoo.zoo.training.policies.guards.spikes import SpikeGuard
from cortexzoo.zoo.training.policies.measuring.probe import Probe
from cortexzoo.zoo.training.policies.measuring.stability import StabilityMonitor
from cortexzoo.zoo.training.policies.measuring.telemetry import Telemetry
from cortexzoo.zoo.training.policies.measuring.validation import Validation
from cortexzoo.zoo.training.sleep import anchors, dreams, transfer
from cortexzoo.zoo.training.sleep.consolidating import ConsolidationPhase
from cortexzoo.zoo.training.sleep.phase import SleepPhase
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.reservoir import Reservoir
from cortexzoo.zoo.training.state import snapshot
from cortexzoo.zoo.training.state.undo import Weights

CORTEX: Host = "cortexgpt"
CONTEXTS: Host = "contexts"
CONTROL: Host = "transformer"
HYBRID: Host = "hybrid"
BOTH_TEXTS: Host = "continual"

ONCE_MISSED_MUTANTS = (
    in_source("dropout-shrinks", CORTEX, "what dropout leaves of a read-out is not enlarged", ShortTermMemory, "plan",
              ".div_(1 - self.dropout)", "", by="forward_matches_a_reference"),
    in_source("old-codes-stay", CORTEX, "entries of a store keep the codes of coders that have learnt since",
              LongTermRing, "consolidate", "self.compress(grown.keys)",
              "torch.cat([state.codes, self.compress(keys)])[-len(grown.keys) :]", by="forward_matches_a_reference"),
    in_source("oldest-of-equals", CONTEXTS, "of equally near contexts the oldest are found", Pages, "index", ".flip(0)",
              "", by="forward_matches_a_reference"),
    in_source("buffers-stay-asleep", CONTROL, "a sleep that is undone leaves its buffers", Weights, "restore",
              "(*self.parameters.items(), *self.buffers.items())", "self.parameters.items()",
              by="sleep_matches_a_reference"),
    in_source("dreams-come-again", CONTROL, "after a sleep that is undone the next dreams the same", Sleep, "sleep",
              "self.sleeps + 1", "self.accepted + 1", by="sleep_matches_a_reference"),
    in_source("measured-of-what-is-undone", CONTROL, "after a sleep that is undone the held-out loss is the sleep's",
              Sleep, "_record", "(slept.after if slept.accepted else slept.before).whole", "slept.after.whole",
              by="sleep_matches_a_reference"),
    in_source("divergence-over-padding", HYBRID, "a divergence is divided by the padding of dreams too", anchors,
              "divergence", "each[real].mean()", "(each * real).mean()", by="sleep_matches_a_reference"),
    in_source("taken-with-what-was-undone", CONTROL, "a checkpoint counts undone steps as taken", snapshot,
              "_description", '"taken": trainer.taken', '"taken": trainer.position - trainer.refused',
              by="resume_is_exact"),
    in_source("reservoir-forgets", CONTROL, "a reservoir that is read back has seen what it holds", Reservoir,
              "from_tensors", 'int(tensors["seen"]) if "seen" in tensors else 0', "len(examples)",
              by="resume_is_exact"),
    in_source("places-are-forgotten", CONTROL, "a reservoir that is read back has no places in the text", Reservoir,
              "tensors", "example.place != NO_PLACE", "example.place == NO_PLACE", by="resume_is_exact"),
    in_source("far-is-nowhere", CONTEXTS, "of a document of more than 255 tokens the rest has no context", Pages,
              "_since_boundary", "clamp_max(255)", "clamp_max(256)", by="forward_matches_a_reference"),
    in_source("answers-twice", CONTROL, "where the last token's logits are asked for, those of the last two are given",
              MemoryLanguageModel, "read", "[:, -1:]", "[:, -2:]", by="forward_matches_a_reference"),
    in_source("divergence-untold", BOTH_TEXTS, "the divergence from the earlier self is not recorded",
              ContinualObjective, "loss", "output.readings[DIVERGENCE] = apart.detach()", "pass",
              by="continual_training_follows_its_rules"),
    in_source("base-is-not-asked", HYBRID, "no answers of the base alone are reported", RecallObjective, "conclusions",
              "if model.has_frozen_base:", "if False:", by="recall_is_trained_as_specified"),
    in_source("store-needs-two-sidecars", HYBRID, "a slow store is put beside two sidecars at least", weights,
              "with_slow_store", "spec.sidecar_layers[0]", "spec.sidecar_layers[1]", by="mistakes_are_refused"),
    in_source("stopped-halfway", CONTROL, "a sleep that is stopped leaves the updates that it made", Sleep, "sleep",
              "if not finished:\n        weights.restore(trainer.model)", "if not finished:", by="sleep_harms_nothing"),
    in_source("twice-in-a-row", HYBRID, "of a key that comes twice in a row both values are kept", slow_store,
              "last_of_each", "triu(1)", "triu(2)", by="slow_store_follows_its_formulas"),
    in_source("best-is-forgotten", CONTROL, "after a resume the first validation is the best", Validation, "load_state",
              'self.loss, self.best_loss, self.best_step = values["loss"], values["best_loss"], values["best_step"]',
              'self.loss, self.best_step = values["loss"], values["best_step"]', by="resume_is_exact"),
    in_source("batches-share-rows", HYBRID, "documents of all batches are counted in the rows of the first",
              AnswerTally, "add", "first_document + rows", "rows", by="recall_is_trained_as_specified"),
    in_source("filed-by-number", HYBRID, "a document is filed under another filler than it has", Task, "example",
              "[key % len(self.spec.fillers)] * len(ends)", "[index % len(self.spec.fillers)] * len(ends)",
              by="recall_is_trained_as_specified"),
    in_source("parts-share-documents", HYBRID, "what is asked in validation was trained on", Task, "example",
              "SPLITS.index(split), index", "index", by="recall_is_trained_as_specified"),
    in_source("held-out-text-guards", HYBRID, "the text that drift is measured on guards the base", TaskData,
              "training_tokens", "self.text[: int(len(self.text) * (1 - HELD_OUT_TEXT))]", "self.text",
              by="recall_is_trained_as_specified"),
    in_source("expects-what-comes-next", HYBRID, "a slow store's answer to a token is taken from the token's own value",
              Sidecar, "_forward", "before[:, :-1].reshape", "known.reshape", by="slow_store_follows_its_formulas"),
    in_source("strong-in-the-mean", HYBRID, "a token is moved in sleep by the mean write of its heads", transfer,
              "_listening", "beta.amax(-1)", "beta.mean(-1)", by="slow_store_follows_its_formulas"),
    in_source("last-token-of-a-day", HYBRID, "the last token of a text is not read again in sleep", ConsolidationPhase,
              "dream", "example.tokens[None]", "example.tokens[None, :-1]", by="slow_store_follows_its_formulas"),
    in_source("due-and-forgotten", CONTROL, "a checkpoint forgets that a sleep was put off", Sleep, "state_dict",
              '"due": self.due', '"due": False', by="resume_is_exact"),
    in_source("refusals-are-forgotten", CONTROL, "a resumed run counts refused steps from none", snapshot, "load",
              'description["refused"]', "0", by="resume_is_exact"),
    in_source("put-off-once", CONTROL, "a sleep that was put off is lost at the next refused step", Sleep,
              "step_refused", "self._is_due(step)", "step.number % self.spec.every == 0", by="intervals_are_kept"),
    in_source("open-documents-are-dropped", CONTEXTS, "of text that memory keeps the last batch before a consolidation "
              "is kept alone", evaluation, "measure", "model.documents_ended(output.state)", "output.state",
              by="held_out_is_measured_whole"),
    in_source("later-stages-are-not-asked", HYBRID, "held-out recall is that of the first stage's gaps",
              RecallObjective, "held_out", "sorted({gap for stage in self.spec.stages for gap in stage.gaps})",
              "sorted(self.spec.stages[0].gaps)", by="held_out_is_measured_whole"),
    in_source("window-goes-with-the-memory", HYBRID, "recall without memory is asked without the window too",
              RecallObjective, "conclusions", "{MEMORY} if MEMORY in model.switches else set(model.switches)",
              "set(model.switches)", by="recall_is_trained_as_specified"),
    in_source("answers-change-documents", HYBRID, "of several pieces answers are counted for other documents",
              SampleLog, "note", "torch.cat([every[:, part][scored[:, part]] for part in pieces_of(time, piece)])",
              "every[scored]", by="recall_is_trained_as_specified"),
    in_source("finds-what-lies-ahead", CONTEXTS, "a place of the training text finds the places right behind it",
              ContextReadOut, "_own", "((found - asked).abs() <= self.spec.own_span)",
              "(found <= asked) & (asked - found <= self.spec.own_span)", by="no_own_occurrence"),
    in_source("any-token-goes", CONTROL, "tokens beyond the vocabulary that was asked for are drawn", generation,
              "generate", "output.logits[:, -1, :vocab_size]", "output.logits[:, -1]",
              by="sampling_follows_its_settings"),
    in_source("one-part-of-a-step", CONTROL, "tokens a second count one micro-batch of a step", Telemetry,
              "step_taken", "step.tokens[..., 1:]", "step.tokens[0, :, 1:]", by="curves_match_a_reference"),
    in_source("one-mode-for-all", CONTROL, "a part that is in evaluation mode is trained after measuring", modes,
              "evaluating", "for module, training in modes:\n            module.training = training",
              "model.train(modes[0][1])",
              by="measuring_changes_nothing"),
    in_source("awake-after-generating", CORTEX, "a model is in training mode once it has made a text", modes,
              "evaluating", "module.training = training", "module.training = True", by="sampling_follows_its_settings"),
    in_source("last-piece-is-read-twice", CORTEX, "of a text in pieces the first is not read, and the last twice",
              generation, "read_all_but_the_last", "model.read(last, state)", "model.read(piece, state)",
              by="sampling_follows_its_settings"),
    in_source("all-places-count", CONTROL, "a held-out loss of some places is weighed by all", evaluation, "measure",
              "count = int(counting.sum())", "count = counting.numel()", by="held_out_is_measured_whole"),
    in_source("bytes-of-what-is-read", CONTROL, "nats are divided by the bytes of what was read, not of the targets",
              evaluation, "measure", "asked = batch[:, 1:].flatten()", "asked = batch[:, :-1].flatten()",
              by="held_out_is_measured_whole"),
    in_source("bytes-as-in-training", CONTROL, "held-out tokens have as many bytes as those of the training part",
              NextTokenObjective, "__init__", 'token_bytes("validation")', 'token_bytes("training")',
              by="held_out_is_measured_whole"),
    in_source("lowest-at-the-border", CONTROL, "a swing from a loss exactly a window back is not reported", Probe,
              "_probe", "at >= step.number - self.window", "at > step.number - self.window",
              by="results_are_of_the_record"),
    in_source("answers-by-tokens", HYBRID, "recall at the end is the share of tokens, not of whole answers",
              RecallObjective, "conclusions", "{gap: result.accuracy.exact", "{gap: result.accuracy.token",
              by="recall_is_trained_as_specified"),
    in_source("prepared-part-counts-all-before", CONTROL, "a prepared part counts the bytes of those before it",
              TokenWriter, "finish", "cut[1] - before[1]", "cut[1]", by="text_is_kept_whole"),
    in_source("bound-to-the-same", CONTROL, "a key that is bound again may keep its value", TokenPairsTask, "compose",
              "rng.integers(1, kind.num_values)", "rng.integers(kind.num_values)",
              by="answers_follow_from_documents"),
    in_source("filler-binds-a-key", CONTROL, "pairs that fill a document may bind one of its keys", SpelledPairFiller,
              "_keys", "np.sort(self.bound)", "self.bound", by="answers_follow_from_documents"),
    in_source("deepest-never", CONTROL, "facts never lie at the greatest depth", Task, "_starts",
              "room[2] * (self.depth_chunks + 1)", "room[2] * self.depth_chunks", by="answers_follow_from_documents"),
    in_source("row-begins-anew", CONTROL, "a resumed run forgets how many steps in a row were spikes", SpikeGuard,
              "load_state", 'self.in_a_row, self.new_levels = values["in_a_row"], ',
              "self.in_a_row, self.new_levels = 0, ", by="resume_is_exact"),
    in_source("last-saved-is-forgotten", CONTROL, "the last checkpoint before a stop is not kept", KeepCheckpoints,
              "load_state", 'values["last_saved"]', "0", by="resume_is_exact"),
    in_source("border-of-the-span", CONTEXTS, "an entry exactly own_span places away is found in training",
              ContextReadOut, "_own", ".abs() <= self.spec", ".abs() < self.spec", by="no_own_occurrence"),
    in_source("burn-in-is-replayed", BOTH_TEXTS, "of what is sampled to be replayed the first tokens are kept, not the "
              "last", SampledWindows, "sample", "sampled[:, -(self.length + 1) :]", "sampled[:, : self.length + 1]",
              by="continual_training_follows_its_rules"),
    in_source("important-from-its-own-place", CONTEXTS, "what is important for an example is measured where it finds "
              "itself", anchors, "fisher_information", "dream.begun(model, start)", "start(len(dream.tokens))",
              by="sleep_matches_a_reference"),
    in_source("dreams-find-themselves", CONTEXTS, "an example that is replayed in sleep finds itself", SleepPhase,
              "_dream_loss", "dream.begun(model, self._start)", "self._start(len(dream.tokens))",
              by="sleep_matches_a_reference"),
    in_source("first-of-a-dream", CONTROL, "the first token that a dream samples does not count", dreams, "_generated",
              ">= spec.prompt_length - 1", ">= spec.prompt_length", by="sleep_matches_a_reference"),
    in_source("single-precision-kept", CONTROL, "a number in a state is rounded where it is saved", state_tree,
              "_leaves", "torch.float64 if type(tree) is float", "torch.float32 if type(tree) is float",
              by="mistakes_are_refused"),
    in_source("counts-one-call", CORTEX, "the memory counts the tokens of the last call alone", CortexGPT, "forward",
              "position=state.position + tokens.shape[1]", "position=tokens.shape[1]",
              by="forward_matches_a_reference"),
    in_source("wraps-at-256", CONTEXTS, "in a document of more than 255 tokens contexts begin anew behind them", Pages,
              "_since_boundary", ".clamp_max(255)", "", by="forward_matches_a_reference"),
    in_source("largest-of-what-is-new", CONTROL, "of the attention to a cache the largest logit is not reported",
              transformer, "largest_logit", "triu(now + 1)", "triu(first + 1)", by="forward_matches_a_reference"),
    in_source("return-without-its-line", CONTROL, "where a block of a file ends within CRLF both are kept", documents,
              "_text", 'b"\\r" if rest.endswith(b"\\r") else b""', 'b""', by="text_is_kept_whole"),
    in_source("held-out-is-learned", CONTROL, "a tokenizer of a corpus learns from its held-out part", preparing,
              "prepare", "learned <= training", "learned > 0", by="text_is_kept_whole"),
    in_source("special-tokens-are-words", CONTROL, "special tokens stand for their names", TokenizerVocabulary,
              "_spelled", 'b"" if added[number]["special"] else token.encode()', "token.encode()",
              by="text_is_kept_whole"),
    in_source("next-document-is-known", CONTEXTS, "a document begins as if the log had its first tokens", Diary,
              "begun", "kept=0", "kept=self.kept", by="oldest_is_evicted"),
    in_source("drift-of-shorter-windows", HYBRID, "drift is measured on windows that lack their last target", drift,
              "windows", "length + 1)", "length)", by="drift_is_measured"),
    in_source("rings-for-entries", CORTEX, "the size of short-term memory is the number of its rings", CortexGPTState,
              "sizes", "self.short_term.filled", "len(self.short_term.keys)", by="forward_matches_a_reference"),
    in_source("greatest-of-the-last-piece", CONTROL, "the greatest token of a corpus is that of its last piece",
              TokenWriter, "add", "max(self.largest, int(tokens.max()))", "int(tokens.max())",
              by="text_is_kept_whole"),
    in_source("seeded-for-each-token", CONTROL, "each token of a text is drawn with the same random numbers",
              generation, "generate", "temperature, top_k, generator)",
              "temperature, top_k, generator.manual_seed(seed))", by="sampling_follows_its_settings"),
    in_source("compared-with-itself", CONTROL, "a loss is among those that decide whether it is a spike",
              StabilityMonitor, "_score", "np.std(self.seen)", "np.std([*self.seen[1:], step.loss])",
              by="curves_match_a_reference"),
)  # fmt: skip
