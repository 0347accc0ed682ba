"""Fault specs: every kind is shipped, names are paths, and a mistake names the fault it is in."""

from typing import get_args

from cortexzoo.specs import load, shipped_names
from cortexzoo.specs.fault import Expectation, FaultsSpec
from cortexzoo.specs.loading.slots import Slot
from tests.specs.conftest import Mistakes, Write

KINDS = set(Slot.of_type(FaultsSpec).enter("faults", None).enter("any", None).classes())  # type: ignore[union-attr]


def test_the_drill_has_every_kind_of_fault_and_every_outcome() -> None:
    faults = load("every-fault", "faults").faults
    assert {fault.kind for fault in faults.values()} == KINDS
    assert not any(getattr(fault, "rank", None) for fault in faults.values()), "a drill has one process"
    assert {fault.expect for fault in faults.values()} == set(get_args(Expectation))
    assert {fault.harms for fault in faults.values()} == {True, False}
    places = {(fault.kind, getattr(fault, "place", getattr(fault, "content", None))) for fault in faults.values()}
    assert {("non_finite", place) for place in ("loss", "gradient", "weight", "moment", "memory")} <= places
    assert {("scaled", place) for place in ("loss", "gradient", "learning_rate")} <= places
    assert {("bad_batch", content) for content in ("random", "padding", "empty", "out_of_vocabulary")} <= places


def test_a_declaration_that_surprises_is_explained() -> None:
    silent = {"skip": True, "rollback": True, "stop": False}
    unexplained = [
        name
        for name, fault in load("every-fault", "faults").faults.items()
        if silent.get(fault.expect, fault.harms) != fault.harms and not fault.reason
    ]
    assert set(unexplained) <= {"random-batch", "padding-batch"}


def test_a_file_may_change_one_fault_of_another(write: Write) -> None:
    write("mine.yaml", "kind: faults\nname: mine\nextends: nan-gradient\nfaults: {nan-gradient: {value: inf}}\n")
    (fault,) = load("mine.yaml", "faults", ["faults.nan-gradient.step=7"]).faults.values()
    assert (fault.kind, fault.model_dump()["value"], fault.step, fault.expect) == ("non_finite", "inf", 7, "skip")


def test_mistakes_name_the_fault(write: Write, mistakes: Mistakes) -> None:
    write(
        "mine.yaml",
        """\
        kind: faults
        name: mine
        faults:
          a: {kind: nonfinite, step: 3, expect: skip, harms: true}
          b: {kind: bit_flip, bit: 32, step: 3, expect: skp, harms: true}
          c: {kind: kill, step: 3, harms: true}
        """,
    )
    lines = mistakes("mine.yaml")
    assert lines[0].startswith("mine.yaml:4:13: faults.a.kind must be non_finite, scaled, bit_flip")
    assert lines[0].endswith("got 'nonfinite'; did you mean non_finite?")
    assert lines[1] == "mine.yaml:5:28: faults.b.bit must be <= 31, got 32"
    assert "faults.b.expect must be skip, rollback, stop, harmless or undetected, got 'skp'" in lines[2]
    assert {line.split(": ", 1)[1] for line in lines[3:]} == {
        "faults.c.expect is missing",
        "faults.c.during is missing",
    }


def test_the_shipped_sets_fit_the_runs_they_are_for() -> None:
    steps = {
        name: max(fault.step for fault in load(name, "faults").faults.values()) for name in shipped_names("faults")
    }
    assert steps == {"every-fault": 67, "bad-batches": 95, "nan-gradient": 50, "one-rank": 85}
