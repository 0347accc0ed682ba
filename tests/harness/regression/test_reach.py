"""Which properties come to the lines of a sample: measured for these lines alone, and once."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.mutants.base import Host
from cortexzoo.harness.checking.mutants.generated import Site, sites_of
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.regression import reach
from cortexzoo.harness.regression.reach import Hosts, lines_of, measured_reaches, traced
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training import schedule
from tests.harness import tiny


def site(change: str) -> Site:
    return next(s for s in sites_of(schedule) if s.change == change)


WARMUP = site("taken < warmup → taken <= warmup")
PERIODS = site("period *= multiplier → pass")
FILE = "training/schedule.py"


class Tiny(Hosts):
    """A tiny transformer that two properties are asked of; what is asked is noted."""

    asked: ClassVar[list[PropertyName]] = []

    def pairs(self) -> list[tuple[Host, PropertyName]]:
        return [("transformer", "steps_match_a_reference"), ("transformer", "memory_matters")]

    def judge(self, host: Host, name: PropertyName) -> Judgement:
        self.asked.append(name)
        return judge(REGISTRY[name], Check(), tiny.subject())


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    def here(tasks: Iterable[tuple[Any, Callable[[], Any]]], _: int) -> Iterable[tuple[Any, Any]]:
        return ((key, task()) for key, task in tasks)

    monkeypatch.setattr(reach, "in_processes", here)
    monkeypatch.setattr(Tiny, "asked", [])


def test_the_wanted_lines_that_run_are_traced() -> None:
    with traced({FILE: [WARMUP.line, PERIODS.line], "training/steps.py": [1]}) as lines:
        for step in range(3):
            schedule.rate_factor(tiny.experiment().recipe.schedule, step, 20)
    assert lines == {FILE: {WARMUP.line}}, "the other one needs restarts"


def test_the_lines_of_a_sample_are_those_of_its_sites_by_file() -> None:
    assert lines_of([PERIODS, WARMUP, WARMUP]) == {FILE: sorted([WARMUP.line, PERIODS.line])}


def test_a_property_that_passes_is_kept_with_its_lines(tmp_path: Path) -> None:
    (found,) = measured_reaches(tmp_path, Tiny({}), [WARMUP, PERIODS], 1)
    assert (found.property, found.verdict) == ("steps_match_a_reference", "pass"), "the other one is skipped"
    assert found.reaches(WARMUP) and found.seconds > 0


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    hosts, told = Tiny({}), list[tuple[int, int]]()
    first = measured_reaches(tmp_path, hosts, [WARMUP], 1, lambda *step: told.append(step))
    assert told == [(0, 2), (1, 2), (2, 2)] and len(hosts.asked) == 2
    (file,) = tmp_path.iterdir()
    one = file.read_text().splitlines()[0]
    file.write_text(one + "\n" + one[:30])  # cut short in the second line
    assert measured_reaches(tmp_path, hosts, [WARMUP], 1) == first
    assert hosts.asked[2:] == ["memory_matters"]
    measured_reaches(tmp_path, hosts, [PERIODS], 1)
    assert len(hosts.asked) == 5, "other lines are measured anew"
