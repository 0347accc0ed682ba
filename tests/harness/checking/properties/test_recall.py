"""Recall as a property: against its controls and with each filler; the mutants show both at work on a trained model."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY, consolidation, distractors, recall
from cortexzoo.harness.checking.properties.base import DoesNotApply
from cortexzoo.harness.checking.properties.consolidation import Days
from cortexzoo.harness.checking.properties.distractors import filled
from cortexzoo.harness.checking.properties.fields import every_field_counts
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.data.task_data import TaskData

UNTRAINED = (
    "variant=cortex-v2-hybrid-scratch", "variant.backbone.architecture.vocab_size=256",
    "variant.backbone.architecture.hidden_size=16", "recipe.objective.in_chunk={kind: none}",
)  # fmt: skip


def subject(*changes: str, gaps: tuple[float, ...] = (0, 4, 64, 256)) -> Subject:
    experiment = load_experiment("cortex-v2-hybrid", [*UNTRAINED, *changes])
    model, data = build_model(experiment.variant, seed=0).eval(), load_data(experiment)
    assert isinstance(data, TaskData)
    metrics = [{recall.GAP: gap} for gap in gaps]
    return Subject(experiment, model, model.initial_state(1), torch.zeros(8, dtype=torch.long), metrics, {}, data.task)


def judged(name: PropertyName, of: Subject) -> Judgement:
    return judge(REGISTRY[name], Check(), of)


@pytest.mark.parametrize(
    ("with_memory", "without", "verdict", "observed"),
    [(0.95, 0.02, "pass", 0.95), (0.85, 0.02, "fail", 0.85), (1.0, 0.95, "fail", 0.05)],
)
def test_the_memory_answers_nearly_all_and_its_controls_do_not(
    monkeypatch: pytest.MonkeyPatch, with_memory: float, without: float, verdict: str, observed: float
) -> None:
    asked = []

    def answered(_model: object, _task: object, gap: int, disabled: Any = ()) -> float:
        asked.append(gap)
        return without if disabled else with_memory

    monkeypatch.setattr(recall, "answered", answered)
    found = judged("recall_beats_controls", subject())
    assert (found.verdict, found.observed) == (verdict, pytest.approx(observed))
    assert set(asked) == {256}, "the longest gap that training came to"


def test_a_base_that_learns_has_no_drift() -> None:
    found = judged("drift_is_measured", subject())
    assert (found.verdict, found.reason) == ("skipped", "the base learns too: there is nothing to drift from")


@pytest.mark.slow
def test_a_base_that_learns_reads_no_text_of_a_length() -> None:
    small = ("recipe.objective.stages=[{gaps: [0, 1], tokens_per_step: 512}]",)
    found = every_field_counts(subject(*small), {"part": "recipe"})
    assert found.observed == 0, found.reason


def kinds(*changes: str) -> list[str]:
    task = subject(*changes).task
    assert task is not None
    return [kind for kind, _ in filled(task)]


def test_every_filler_that_a_task_can_have_is_tried() -> None:
    everything = ["noise", "unseen_noise", "text", "pairs", "near_keys"]
    assert kinds() == kinds("data=kv", "data.task.num_queries=6") == everything
    assert kinds("data.filler={kind: noise}", "data.vocabulary=own") == ["noise", "pairs", "near_keys"]
    assert "unseen_noise" not in kinds("data.task.num_keys=128"), "all bytes are in use"


def test_a_filler_is_the_same_facts_in_another_gap() -> None:
    task = subject("data.filler={kind: noise}").task
    assert task is not None
    documents = {kind: other.example("test", 3, 4) for kind, other in filled(task)}
    own = task.example("test", 3, 4)
    assert all((d.placed[0][1].tokens == own.placed[0][1].tokens).all() for d in documents.values())
    assert (documents["noise"].tokens == own.tokens).all()
    assert (documents["pairs"].tokens != own.tokens).any()


def answers(shares: Mapping[str, float]) -> Any:
    return lambda _model, task, gap, documents: shares.get(task.spec.filler.kind, 1.0)


def test_the_first_filler_that_loses_the_facts_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distractors, "answered", answers({"pairs": 0.2, "near_keys": 0.1}))
    found = judged("recall_survives_distractors", subject())
    assert (found.verdict, found.observed, found.case["filler"]) == ("fail", 0.2, "pairs")
    assert found.case["gap"] == 64, "256 chunks were trained on, but are not asked"
    monkeypatch.setattr(distractors, "answered", answers({"text": 0.93}))
    found = judged("recall_survives_distractors", subject())
    assert (found.verdict, found.observed, found.case["filler"]) == ("pass", 0.93, "text")


@pytest.mark.parametrize("name", ["recall_survives_distractors", "sleep_consolidates", "old_facts_are_kept"])
def test_a_task_without_pairs_is_skipped(name: PropertyName) -> None:
    copying = ("data=copy", "data.task.num_letters=4")
    assert judged(name, subject(*copying)).verdict == "skipped"


def test_training_that_came_to_no_gap_is_skipped() -> None:
    for gaps in ((), (0.0,)):
        assert judged("recall_survives_distractors", subject(gaps=gaps)).verdict == "skipped"


def test_two_days_share_no_key_and_no_filler_binds_one() -> None:
    days = Days.of(subject())
    keys = [key for session in (*days.first, *days.second) for key in session.keys]
    assert len(keys) == len(set(keys)) >= 24
    with pytest.raises(DoesNotApply, match="too few keys for two days"):
        Days.of(subject("data.task.num_keys=8"))


def test_a_sleep_that_moves_a_weight_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def consolidate(model: torch.nn.Module, *_: object) -> None:
        with torch.no_grad():
            next(model.parameters()).add_(1.0)

    monkeypatch.setattr(consolidation, "consolidate", consolidate)
    found = judged("sleep_consolidates", subject())
    assert (found.verdict, found.observed) == ("fail", 0.0)
    assert "the sleep changed" in found.reason
