"""Defects in what is read: tokens, sources, folders, draws of tasks, and what is measured of them beside the loss."""

from cortexzoo.harness.checking.mutants.base import Host, Mutant, in_source
from cortexzoo.zoo.data import mixed_order, sources
from cortexzoo.zoo.data.ngrams import _Counts
from cortexzoo.zoo.data.tasks.filler import TokenPairFiller
from cortexzoo.zoo.data.tasks.key_value import KeyValueTask
from cortexzoo.zoo.data.tasks.multi_query_recall import MultiQueryRecallTask
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.data.tasks.vocabulary import TokenizerVocabulary as TaskTokens
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary
from cortexzoo.zoo.data.token_files import TokenFolder, TokenWriter
from cortexzoo.zoo.training import evaluation
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.policies.measuring.validation import Validation

CONTROL: Host = "transformer"

READ_MUTANTS: tuple[Mutant, ...] = (
    in_source("unknown-at-first", CONTROL, "a character without a token is refused at the start of a text alone",
              TokenizerVocabulary, "_encoded", "self._unknown in ids", "self._unknown in ids[:1]",
              by="text_is_kept_whole"),
    in_source("cut-as-requested", CONTROL, "a corpus is cut where its tokenizer's file requests short texts",
              TokenizerVocabulary, "__init__", "self._tokenizer.no_truncation()", "pass", by="text_is_kept_whole"),
    in_source("damage-is-read", CONTROL, "a prepared folder is read although a file has changed", TokenFolder, "open",
              "found.verify(SUMMED)", "pass", by="text_is_kept_whole"),
    in_source("bytes-of-tokens", CONTROL, "where tokens shorten a text, its parts are measured by what they spell",
              TokenWriter, "_within", "scale = (following[1] - length) / max(following[2] - spelled, 1)", "scale = 1",
              by="text_is_kept_whole"),
    in_source("files-run-together", CONTROL, "files are joined without a line break", sources, "read_source",
              'b"\\n".join(_read_utf8(path) for path in find_files(source.paths, folder))',
              'b"".join(_read_utf8(path) for path in find_files(source.paths, folder))', by="text_is_kept_whole"),
    in_source("counts-of-last-chunk", CONTROL, "of a long text n-grams count as in its last chunk",
              _Counts, "of", "np.add.at(summed, inverse, np.concatenate([counts, times]))",
              "summed[inverse] = np.concatenate([counts, times])", by="text_is_kept_whole"),
    in_source("distances-are-even", CONTROL, "questions of mqar come at any distance alike", MultiQueryRecallTask,
              "__init__", "** (kind.power - 1)", "** kind.power", by="answers_follow_from_documents"),
    in_source("asked-in-order", CONTROL, "facts are asked for in the order in which they were stated", KeyValueTask,
              "compose", "rng.permutation(kind.num_pairs)[: kind.num_queries]",
              "np.sort(rng.permutation(kind.num_pairs)[: kind.num_queries])", by="answers_follow_from_documents"),
    in_source("filler-values-of-keys", CONTROL, "a key that fills documents has one value always", TokenPairFiller,
              "between", "_drawn(pair, 1, len(self.values))", "_drawn(pair, 0, len(self.values))",
              by="answers_follow_from_documents"),
    in_source("spelled-at-the-start", CONTROL, "a task is written in the tokens of a text's beginning", TaskTokens,
              "_spell", "anchored[length:] if length and anchored[:length] == self._anchor else self._encode(text)",
              "self._encode(text)", by="answers_follow_from_documents"),
    in_source("streams-begin-late", CONTROL, "a model without memory is given a chunk less than it sees", Task,
              "stream", "(asked - receptive_field) // self.chunk_size",
              "(asked - receptive_field + self.chunk_size) // self.chunk_size", by="answers_follow_from_documents"),
    in_source("rare-texts-never-come", CONTROL, "a text of next to no weight never comes", mixed_order, "_counts",
              "np.maximum(np.floor(shares), 1)", "np.floor(shares)", by="orders_visit_each_window_once"),
    in_source("measured-with-all", "cortexgpt", "where some places count, memories that are off are measured as on",
              evaluation, "measure", "model.logits_at(tokens[:, :-1], counting, start, disabled)",
              "model.logits_at(tokens[:, :-1], counting, start)", by="held_out_is_measured_whole"),
    in_source("gate-of-the-first", CONTROL, "the shares of the gate are those of the first validation", Validation,
              "_validate", "self.loss, self.gate_shares = score.loss, score.gate_shares",
              "self.loss, self.gate_shares = score.loss, self.gate_shares or score.gate_shares", by="best_is_the_best"),
    in_source("flows-through-all", "hybrid", "gradients flow through more chunks than the objective says",
              RecallObjective, "_answers", "output.state if len(pieces) == 1 else output.state.detached()",
              "output.state", by="recall_is_trained_as_specified"),
)  # fmt: skip
