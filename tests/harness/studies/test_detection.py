"""`cortexzoo study detection`: what is caught, what is accused, and what a file of cases must be."""

import json
from pathlib import Path

import pytest

from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.studies.detection import (
    Outcome,
    Task,
    false_alarms,
    judged,
    mutant_rows,
    outcomes,
    subjects_of,
    table,
    tasks,
)

CASES = Path("tests/harness/subjects/cases.py")
FILE = Path("cases.py")


def test_a_table_counts_what_is_caught_by_any_property_and_by_its_own() -> None:
    found = {
        Task(FILE, "one", True): Outcome({"causality": "fail: …"}, ("causality",)),
        Task(FILE, "two", True): Outcome({"repeatability": "fail: …"}, ("causality", "chunk_invariance")),
        Task(FILE, "three", True): Outcome({}, ("finite_gradients",)),
        Task(FILE, "well", False, 0): Outcome({}),
        Task(FILE, "well", False, 1): Outcome({"causality": "fail: seen"}),
    }
    assert table(found)[1:] == [
        ("causality", "2", "2 (100%)", "1", "–"),
        ("finite_gradients", "1", "0 (0%)", "0", "three"),
        ("all", "3", "2 (67%)", "1", "three"),
    ]
    assert false_alarms(found) == ["well, seed 1: causality: fail: seen"]


def test_a_defect_is_caught_and_a_healthy_module_is_not_accused() -> None:
    wanted = {(task.name, task.seed): task for task in tasks([CASES], 2)}
    assert len(wanted) == len({task.name for task in wanted.values() if task.defect}) + 2 * len(
        subjects_of(CASES).healthy
    )
    caught = judged(wanted["unused", 0], 0.2)
    assert set(caught.verdicts) == {"every_parameter_learns"} == set(caught.about)
    assert judged(wanted["bare", 1], 0.1).verdicts == {}


def test_what_is_kept_is_not_judged_again(tmp_path: Path) -> None:
    wanted = [task for task in tasks([CASES], 1) if task.name in ("unused", "bare")]
    keep, told = tmp_path / "kept.jsonl", list[tuple[str, bool]]()

    def done(task: Task, outcome: Outcome) -> None:
        told.append((task.name, bool(outcome.verdicts)))

    first = outcomes(wanted, 0.1, 1, done, keep)
    assert sorted(told) == [("bare", False), ("unused", True)]
    lines = keep.read_text(encoding="utf-8").splitlines()
    keep.write_text(lines[0] + "\n" + lines[1][:20], encoding="utf-8")  # as an interruption leaves it
    assert outcomes(wanted, 0.1, 1, done, keep) == first
    assert len(keep.read_text(encoding="utf-8").splitlines()) == 3
    assert outcomes(wanted, 0.2, 1, keep=keep).keys() == first.keys()
    assert len(keep.read_text(encoding="utf-8").splitlines()) == 5  # other seconds are another question


@pytest.mark.parametrize(("content", "told"), [
    ("x = 1", "must have DEFECTS"),
    ("1 / 0", "importing it raised ZeroDivisionError"),
    ("DEFECTS = {'a': len}", r"DEFECTS\['a'\] must be"),
    ("DEFECTS = {'a': (len, 'causalty')}", r"DEFECTS\['a'\] must be"),
])  # fmt: skip
def test_a_file_without_cases_is_refused_in_one_line(
    content: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"refused_{abs(hash(content))}"
    Path(f"{name}.py").write_text(content, encoding="utf-8")
    with pytest.raises(ModuleError, match=told):
        subjects_of(Path(f"{name}.py"))
    with pytest.raises(ModuleError, match="there is no such file"):
        subjects_of(Path("nowhere.py"))
    with pytest.raises(ModuleError, match="must lie in the current folder"):
        subjects_of(Path("/nowhere.py"))


def test_rows_of_mutants_come_from_their_records(tmp_path: Path) -> None:
    record = tmp_path / "generated.json"
    results = [{"operator": "flip", "fate": fate} for fate in ("caught", "hangs", "survives", "not reached")]
    record.write_text(json.dumps({"results": results}), encoding="utf-8")
    assert mutant_rows(None, record) == [("by machine: flip", "4", "2 (50%)"), ("by machine: all", "4", "2 (50%)")]
    with pytest.raises(ModuleError, match="is no file of"):
        mutant_rows(record, None)
