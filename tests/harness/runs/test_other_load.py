"""Processor time of other processes counts, that of this one does not."""

import pytest

from cortexzoo.harness.runs import other_load


def test_only_what_others_take_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, busy, own = iter((0.0, 10.0)), iter((100.0, 125.0)), iter((5.0, 15.0))
    monkeypatch.setattr(other_load.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(other_load, "_busy_seconds", lambda: next(busy))
    monkeypatch.setattr(other_load, "_own_seconds", lambda: next(own))
    assert other_load.OtherLoad().cores() == 1.5


def test_own_work_is_no_other_load() -> None:
    load = other_load.OtherLoad()
    own = other_load._own_seconds()
    while other_load._own_seconds() < own + 0.2:
        sum(range(10_000))
    assert load.cores() >= 0
    assert other_load._busy_seconds() >= other_load._own_seconds() - own
