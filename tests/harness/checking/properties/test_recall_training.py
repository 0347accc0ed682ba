"""`recall_is_trained_as_specified`: passes as it is, and finds a mistake in stages, documents and losses."""

from functools import cache, partial

import pytest

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.recall_again import counted_again
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load
from cortexzoo.specs.suite import Check
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.tasks.accuracy import AnswerTally
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.training.objectives import drift, recall_objective
from cortexzoo.zoo.training.objectives.curriculum import Curriculum
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.objectives.samples import SampleLog
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught
from tests.harness.checking.properties.test_forward import experiment_of, untrained

PROPERTY = REGISTRY["recall_is_trained_as_specified"]
SEEDS = range(6)


@cache
def hybrid() -> Subject:
    return untrained(experiment_of("hybrid"))


def judged(of: str, seed: int = 0) -> Judgement:
    return judge_case(PROPERTY, Check(), hybrid(), {"of": of, "seed": seed})


def test_it_passes_as_it_is() -> None:
    judgement = judge(PROPERTY, Check(), hybrid())
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 11


def test_a_text_has_no_facts() -> None:
    judgement = judge(PROPERTY, Check(), tiny.subject())
    assert judgement.verdict == "skipped" and judgement.reason == "the objective is not recall"


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        ("gap", "number - 1 - self.began", "number - self.began"),
        ("epoch_steps", "min(self.documents", "max(self.documents"),
        ("epoch_steps", "len(stage.gaps) * ceil", "ceil"),
        ("step_taken", "[-RECENT:]", ""),
        ("step_refused", "self._go_on(trainer, step)", "pass"),
        ("_go_on", "learned = self._learned() and not is_last", "learned = self._learned()"),
        ("_go_on", "self.epoch += is_over or learned", "self.epoch += is_over"),
        ("_go_on", "is_over or learned):", "is_over):"),
        ("_go_on", "step.number, {}", "step.number, self._right"),
        ("_go_on", "if not learned else", "if learned else"),
        ("_go_on", "self.stage + 1, step.number", "self.stage + 1, step.number - 1"),
        ("_go_on", "(step.number - self.began)", "step.number"),
        ("_learned", "len(shares) < RECENT", "len(shares) < 1"),
        ("_learned", ">= stage.promote_at", ">= stage.promote_at / 2"),
        ("_learned", "return all(", "return any("),
    ],
)
def test_a_mistake_in_stages_is_found(function: str, old: str, new: str) -> None:
    assert any(is_caught(Curriculum, function, old, new, partial(judged, "stages", seed)) for seed in SEEDS)


@pytest.mark.parametrize(
    ("of", "owner", "function", "old", "new"),
    [
        ("none", RecallObjective, "_rows", "tokens // self.task.length(gap)", "tokens // self.task.length(gap) + 1"),
        ("none", RecallObjective, "_rows", "min(self.recipe.batch_size, fitting)", "self.recipe.batch_size"),
        ("none", RecallObjective, "_rows", "return max(1,", "return max(2,"),
        ("none", RecallObjective, "_answers", "state = output.state if", "state = state if True or"),
        ("none", RecallObjective, "_answers", "tokens[:, 1:][:, piece]", "tokens[:, :-1][:, piece]"),
        ("none", SampleLog, "note", "right.mean()", "right.sum()"),
        (
            "none",
            SampleLog,
            "note",
            "torch.cat([every[:, part][scored[:, part]] for part in pieces_of(time, piece)])",
            "every[scored]",
        ),
        ("none", SampleLog, "note", "losses, right, torch", "right, losses, torch"),
        ("none", SampleLog, "step_taken", "loss / max(tokens, 1.0)", "loss"),
        ("samples", RecallObjective, "loss", "guard.weight * guarded", "guarded"),
        ("samples", RecallObjective, "_share", "place * self.ranks.count", "self.ranks.count"),
        ("samples", RecallObjective, "_in_chunk_loss", '"train", own, 0', '"train", own, 1'),
        ("kl", RecallObjective, "_divergence", "self._guard_order.starts(own.start", "self._guard_order.starts(1"),
        ("kl", drift, "divergence", "anchors.divergence(base, logits)", "anchors.divergence(logits, base)"),
    ],
)
def test_a_mistake_in_a_step_is_found(of: str, owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, lambda: judged(of))


@pytest.mark.parametrize(
    ("owner", "function", "old", "new"),
    [
        (AnswerTally, "add", "first_document + rows", "rows"),
        (Task, "example", "[key % len(self.spec.fillers)] * len(ends)", "[index % len(self.spec.fillers)] * len(ends)"),
        (Task, "example", "SPLITS.index(split), index", "index"),
    ],
)
def test_answers_that_are_counted_otherwise_are_found(owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, partial(judged, "answers"))


def test_a_memory_that_is_switched_off_with_the_window_is_found() -> None:
    alone = "{MEMORY} if MEMORY in model.switches else set(model.switches)"
    assert is_caught(RecallObjective, "conclusions", alone, "set(model.switches)", partial(judged, "conclusions"))


@pytest.mark.parametrize(
    ("owner", "function", "old", "new"),
    [
        (RecallObjective, "conclusions", "{gap: result.accuracy.exact", "{gap: result.accuracy.token"),
        (RecallObjective, "conclusions", 'by_slice["filler"], fillers', 'by_slice["filler"], fillers[::-1]'),
        (recall_objective, "_by_filler", "accuracy.exact", "accuracy.token"),
    ],
)
def test_answers_that_are_concluded_otherwise_are_found(owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, partial(judged, "conclusions"))


def test_a_base_that_is_guarded_with_what_drift_is_measured_on_is_found() -> None:
    part = "self.text[: int(len(self.text) * (1 - HELD_OUT_TEXT))]"
    assert is_caught(TaskData, "training_tokens", part, "self.text", partial(judged, "none"))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("kv-tokens-distractors", ["document_chunks=3", "gaps=[0,1]"]),
        ("kv-tokens", ["filler={kind: mixed, of: [{kind: noise},{kind: pairs},{kind: near_keys}]}", "task.num_keys=8"]),
        ("mqar-64-4", ["task.sequence_length=8", "task.num_pairs=1", "chunk_size=8"]),
        *((name, []) for name in ("kv", "copy", "nback", "add", "overwrite", "passkey", "selective-copy")),
    ],
)
def test_answers_of_no_task_are_counted_otherwise(name: str, changes: list[str]) -> None:
    spec = load(name, "data", changes)
    assert isinstance(spec, TaskSpec)
    assert counted_again(build_task(spec, seed=1)) == []
