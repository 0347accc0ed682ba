"""Mean and spread over seeds, and what stands where something was not measured or not finite."""

import math
from pathlib import Path

import numpy as np
import pytest

from cortexzoo.harness.studies.comparison.measures import FINAL_LOSS, LOSS_RATIO, Spread, measures
from cortexzoo.harness.studies.comparison.reading import Record, Series


def record(seed: int = 0, **summary: object) -> Record:
    losses = Series(np.arange(1, 21), np.array([2.0] * 19 + [40.0]))
    return Record(Path("run"), seed, "hash", summary, {}, None, {"train/loss": losses})


def row(name: str, *records: Record) -> str:
    measure = next(each for each in measures(records) if each.name == name)
    return measure.text(measure.spread(records))


def test_mean_and_sample_standard_deviation() -> None:
    assert Spread.of([1.0, 2.0, 3.0]) == Spread(2.0, 1.0, 3)
    assert Spread.of([1.0]) == Spread(1.0, None, 1)
    assert Spread.of([]) is None
    assert row("held-out loss, last", record(validation_loss=1.0), record(1, validation_loss=2.0)) == "1.500 ± 0.707"


def test_a_run_that_gave_up_makes_the_loss_not_finite() -> None:
    runs = record(validation_loss=1.0), record(1, validation_loss=2.0, gave_up_at=7)
    assert FINAL_LOSS.spread(runs) == Spread(math.inf, None, 2)
    assert row("held-out loss, last", *runs) == "not finite"


def test_a_run_that_gave_up_swings_without_bound_and_recalls_nothing() -> None:
    runs = record(loss_ratio=1.1, recall={"pairs": {"4": 1.0}}), record(1, gave_up_at=7)
    assert LOSS_RATIO.spread(runs) == Spread(math.inf, None, 2)
    assert row("answers right, longest gap", *runs) == "50.0 ± 70.7"


def test_what_nobody_measured_is_a_dash() -> None:
    assert row("recoveries", record()) == "–"
    assert [each.name for each in measures([record()]) if "gate" in each.name] == []


def test_spikes_are_counted_by_one_rule() -> None:
    assert row("loss spikes", record()) == "1.0"


@pytest.mark.parametrize("source", ["long_term", "current"])
def test_each_source_of_the_gate_has_a_row(source: str) -> None:
    assert row(f"gate share, {source.replace('_', ' ')}", record(gate_shares={source: 0.25})) == "0.250"


def test_held_out_losses_have_the_unit_of_their_data() -> None:
    text, task = [record()], [record(recall={"pairs": {"4": 1.0}})]
    units = [{measure.unit for measure in measures(runs) if "loss, " in measure.name} for runs in (text, task)]
    assert units == [{"nats a byte"}, {"nats a token"}]


def test_what_a_task_recalls_over_its_longest_gap_has_a_row() -> None:
    recalled = record(recall={"pairs": {"4": 1.0, "16": 0.5}}), record(1, recall={"pairs": {"4": 1.0, "16": 0.75}})
    assert row("answers right, longest gap", *recalled, record(2)) == "62.5 ± 17.7"
    assert [each.name for each in measures([record()]) if "answers" in each.name] == []
