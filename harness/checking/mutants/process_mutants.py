"""Defects that show where several processes train together."""

from cortexzoo.harness.checking.mutants.base import Host, in_source
from cortexzoo.specs.properties import PropertyName
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.continual import ContinualObjective
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.policies.consolidation import Consolidation
from cortexzoo.zoo.training.ranks import Ranks
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.state import regrouped, snapshot

PROPERTY: PropertyName = "processes_train_as_one"
CONTEXTS: Host = "contexts"
CONTROL: Host = "transformer"
HYBRID: Host = "hybrid"
BOTH_TEXTS: Host = "continual"

PROCESS_MUTANTS = (
    in_source("rows-of-two-processes", CONTROL, "two processes train on some of the same rows", Ranks, "own",
              "self.rank * self.rows", "self.rank", by=PROPERTY),
    in_source("loss-of-the-first-process", CONTROL, "the loss is that of the first process's rows", TrainingLoop,
              "_know_loss", "self.ranks.mean(", "dict(", by=PROPERTY),
    in_source("refused-by-one", CONTROL, "a step that one process refuses is taken by the others", TrainingLoop,
              "_agree", "self.ranks.any_rank([step.refused is not None])[0]", "step.refused", by=PROPERTY),
    in_source("error-of-one", CONTROL, "an error that ends one process is not heard of by the others", TrainingLoop,
              "is_over", "self._failure is not None]", "False]", by=PROPERTY),
    in_source("dropout-alike", CONTROL, "all processes drop the same values", TrainingLoop, "_start_generators",
              "self.ranks.rank", "0", by=PROPERTY),
    in_source("everyone-records", CONTROL, "every process records what happened", TrainingLoop, "event",
              "if self.ranks.is_main:", "if True:", by=PROPERTY),
    in_source("consolidated-alone", CONTEXTS, "each process consolidates its own rows alone", Consolidation,
              "step_taken", "trainer.ranks.gather(trainer.model, trainer.memory)", "trainer.memory", by=PROPERTY),
    in_source("memory-of-the-first", CONTEXTS, "after consolidation all processes have the first one's rows", Ranks,
              "scatter", "[self.rank]", "[0]", by=PROPERTY),
    in_source("held-out-by-the-first", CONTROL, "every process measures the first one's held-out batches",
              NextTokenObjective, "held_out", "slice(ranks.rank, None", "slice(0, None", by=PROPERTY),
    in_source("shares-of-the-first", CONTEXTS, "gate shares are added up whatever batches they are of",
              NextTokenObjective, "held_out", "value * count for", "value for", by=PROPERTY),
    in_source("dreams-of-own-rows", CONTROL, "each process keeps its own rows alone for its dreams", Sleep,
              "keep_examples", "trainer.ranks.gather_tensor(part, 1)", "part", by=PROPERTY),
    in_source("divergence-of-some-processes", BOTH_TEXTS, "what is replayed weighs by how it is spread over processes",
              ContinualObjective, "loss", " * (rows * self.ranks.count / self.replay.rows)", "", by=PROPERTY),
    in_source("documents-twice", HYBRID, "two processes train on the same documents", RecallObjective, "examples",
              "self.ranks.rank * rows", "0", by=PROPERTY),
    in_source("guarded-alike", HYBRID, "all processes guard their chunks with the same documents", RecallObjective,
              "_share", "self.ranks.count + self.ranks.rank)", "self.ranks.count)", by=PROPERTY),
    in_source("regrouped-of-the-first", CONTEXTS, "a checkpoint of several processes is resumed with the first's rows",
              regrouped, "own_memory", "range(saved_by)", "range(1)", by=PROPERTY),
    in_source("point-of-another-number", CONTEXTS, "a recovery point is taken over by another number of processes",
              snapshot, "_read", "regrouped.BEGINS_ANEW if saved_by != trainer.ranks.count else ()", "()", by=PROPERTY),
)  # fmt: skip
