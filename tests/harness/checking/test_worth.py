"""The committed record of what memories are worth, and the three properties that ask for it or for its conditions."""

from pathlib import Path

import pytest
import torch

from cortexzoo.harness.checking import records
from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.records import RecordError, Trials, WorthRecord, training_sum
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.memory.contexts.read_out import ContextReadOut

SMALL = ["variant.hidden_size=16", "variant.columns.num_columns=2", "variant.memory.short_term.num_heads=2"]


def subject(*changes: str) -> Subject:
    experiment = load_experiment("cortexgpt-stable", [*SMALL, *changes])
    model = build_model(experiment.variant, seed=0).eval()
    text = torch.randint(256, (600,), generator=torch.Generator().manual_seed(0))
    return Subject(experiment, model, model.initial_state(2), text)


def record(of: Subject, **changes: object) -> WorthRecord:
    fields = {
        "training": training_sum(of.experiment),
        "data_sha256": load_data(of.experiment).sha256,
        "seeds": (0, 1, 2),
        "whole": (1.2, 1.21, 1.19),
        "memories": {
            "short_term": Trials(disabled=(3.0, 3.0, 3.0), without=(2.0, 2.1, 2.0)),
            "long_term": Trials(disabled=(1.5, 1.5, 1.5), without=(1.45, 1.47, 1.46)),
        },
    }
    return WorthRecord(**(fields | changes))


def judged(name: PropertyName, of: Subject) -> Judgement:
    return judge(REGISTRY[name], Check(), of)


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Subject:
    of = subject()
    _commit(monkeypatch, tmp_path, record(of))
    return of


def _commit(monkeypatch: pytest.MonkeyPatch, folder: Path, made: WorthRecord) -> None:
    made.write("cortexgpt-stable", folder)
    monkeypatch.setattr(records, "RECORDS", folder)


def test_a_record_is_read_as_it_is_written(healthy: Subject, tmp_path: Path) -> None:
    assert WorthRecord.read("cortexgpt-stable", tmp_path) == record(healthy)


def test_memories_of_worth_pass(healthy: Subject) -> None:
    assert judged("each_memory_is_worth_it", healthy).verdict == "pass"
    crutch = judged("memory_is_not_a_crutch", healthy)
    assert (crutch.verdict, crutch.observed) == ("pass", pytest.approx(0.04))


@pytest.mark.parametrize("without", [(1.2, 1.22, 1.19), (1.1, 1.1, 1.1), (1.2, 1.3, 1.5)])
def test_a_worth_within_the_spread_of_seeds_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, without: tuple[float, ...]
) -> None:
    of = subject()
    memories = {**record(of).memories, "long_term": Trials((1.5, 1.5, 1.5), without)}
    _commit(monkeypatch, tmp_path, record(of, memories=memories))
    found = judged("each_memory_is_worth_it", of)
    assert (found.verdict, found.case["memory"]) == ("fail", "long_term")


def test_a_model_that_cannot_do_without_its_memory_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    of = subject()
    memories = {**record(of).memories, "long_term": Trials((2.6, 2.6, 2.6), (1.45, 1.47, 1.46))}
    _commit(monkeypatch, tmp_path, record(of, memories=memories))
    assert judged("memory_is_not_a_crutch", of).verdict == "fail"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"training": "another"}, "of another variant, recipe or data"),
        ({"data_sha256": "another"}, "of another text"),
        ({"seeds": (0,)}, "of one seed"),
    ],
)
def test_a_record_of_something_else_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    of = subject()
    _commit(monkeypatch, tmp_path, record(of, **changes))
    for name in ("each_memory_is_worth_it", "memory_is_not_a_crutch"):
        found = judged(name, of)
        assert found.verdict == "skipped" and reason in found.reason


def test_seed_and_suite_are_no_part_of_what_a_record_is_of() -> None:
    one, other = load_experiment("cortexgpt-stable", []), load_experiment("cortexgpt-stable", ["seed=3"])
    assert training_sum(one) == training_sum(other) != training_sum(subject().experiment)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"memories": {"a": 1}}'])
def test_what_is_no_record_is_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(RecordError, match=r"x\.json: is no such record"):
        WorthRecord.read("x", tmp_path)
    with pytest.raises(RecordError, match="y has no committed record"):
        WorthRecord.read("y", tmp_path)


def test_committed_records_are_of_shipped_experiments() -> None:
    for path in records.RECORDS.glob("*.json"):
        made = WorthRecord.read(path.stem)
        assert set(made.memories) == {"short_term", "long_term"}
        assert len(made.seeds) == len(made.whole) >= 3


def test_a_place_finds_nothing_of_itself() -> None:
    assert judged("no_own_occurrence", subject()).verdict == "pass"


def test_a_store_that_shows_a_place_its_own_continuation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ContextReadOut._own
    monkeypatch.setattr(ContextReadOut, "_own", lambda *arguments: original(*arguments) & False)
    assert judged("no_own_occurrence", subject()).verdict == "fail"


def test_a_document_that_loses_its_place_on_the_way_is_caught() -> None:
    with rewritten(Diary, "_moved_on", "torch.where(self.begins == UNKNOWN, UNKNOWN, self.begins + passed)",
                   "self.begins * 0 + UNKNOWN")():  # fmt: skip
        in_pieces = judge_case(REGISTRY["no_own_occurrence"], Check(), subject(), {"pieces": 3, "again": 1, "full": 0})
        judgement = judged("no_own_occurrence", subject())
    assert in_pieces.verdict == judgement.verdict == "fail"
    assert judgement.case == {"pieces": 1, "again": 1, "full": 0}, "where the open end stands is seen at once"


@pytest.mark.parametrize(
    ("old", "new"),
    [("(sources >= 0).any()", "(sources > 0).any()"), ("& (places >= 0)", "& (places > 0)")],
    ids=["the first token of a text", "the first place of a full memory"],
)
def test_what_hides_at_the_beginning_is_caught(old: str, new: str) -> None:
    with rewritten(ContextReadOut, "_search", old, new)():
        assert judged("no_own_occurrence", subject()).verdict == "fail"


@pytest.mark.parametrize(
    ("old", "new"),
    [(".abs() <= self.spec", ".abs() < self.spec"), (".abs() <= self.spec", ".abs() <= 1 + self.spec")],
    ids=["too narrow", "too wide"],
)
def test_a_span_that_ends_elsewhere_is_caught(old: str, new: str) -> None:
    of, case = subject(), {"span": 6}
    assert judge_case(REGISTRY["no_own_occurrence"], Check(), of, case).verdict == "pass"
    with rewritten(ContextReadOut, "_own", old, new)():
        assert judge_case(REGISTRY["no_own_occurrence"], Check(), of, case).verdict == "fail"


def test_a_memory_without_continuations_is_skipped() -> None:
    of = subject("variant.memory.long_term={kind: raw_ring}")
    assert judged("no_own_occurrence", of).verdict == "skipped"
