"""Valid specs at the edges of their ranges are built or refused in plain lines; `cortexzoo fuzz edges` makes many."""

import random
from pathlib import Path
from typing import Annotated

import pytest
from annotated_types import Gt, Le

from cortexzoo.harness.cli import main
from cortexzoo.harness.fuzzing import edge_specs
from cortexzoo.harness.fuzzing.campaign import Report
from cortexzoo.specs.loading.slots import Slot


def test_values_are_at_their_bounds() -> None:
    found = edge_specs.edges(int, Slot.of_type(Annotated[int, Gt(0), Le(9)]).metadata)
    assert {1, 2, 9, 8} <= set(found)
    assert edge_specs.edges(bool, ()) == [True, False] and edge_specs.edges(str, ()) == []


def test_equal_dice_draw_equal_valid_specs() -> None:
    drawn = [edge_specs.drawn(random.Random("1/1"), True) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(drawn[0][1]) >= 2


def test_some_edges_break_no_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_specs, "SHOWN_EVERY", 100)
    monkeypatch.setattr(edge_specs, "TRAINED_EVERY", 100)
    monkeypatch.setattr(edge_specs, "shipped_names", lambda kind: ["transformer"] if kind == "experiment" else [])
    monkeypatch.setattr(edge_specs.random.Random, "random", lambda _: 1.0)
    report = edge_specs.attacked(3, 8, tmp_path, main, lambda _: None)
    assert (report.cases, report.failures) == (8, [])


@pytest.mark.slow
def test_a_traceback_is_a_breach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr("cortexzoo.zoo.build.build_model", broken)
    monkeypatch.setattr(edge_specs, "SHOWN_EVERY", 100)
    seen: list[Report] = []
    report = edge_specs.attacked(1, 2, tmp_path, main, seen.append)
    assert "an exception: AttributeError: no such thing" in report.failures[-1]["breaches"][0] and len(seen) == 2
