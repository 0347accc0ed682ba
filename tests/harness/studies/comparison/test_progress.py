"""The steps of runs that others train, counted from their folders."""

from pathlib import Path

from cortexzoo.harness.bench.generated_runs import experiment, generated_run, metrics_of
from cortexzoo.harness.studies.comparison.progress import StepsTaken
from cortexzoo.harness.tracking.jsonl import JsonlSink


def test_runs_that_begin_are_counted_and_those_of_others_are_not(tmp_path: Path) -> None:
    taken = StepsTaken(tmp_path, [experiment(0), experiment(1)])
    assert (taken.total, taken.to_go_on, taken.look()) == (1000, 0, 0)
    generated_run(tmp_path, experiment(0), steps=3, finished=False)
    generated_run(tmp_path, experiment(7), steps=5, finished=False)
    assert taken.look() == 3
    generated_run(tmp_path, experiment(1), steps=4)
    assert taken.look() == 7


def test_a_run_that_goes_on_counts_with_the_steps_it_has_behind_it(tmp_path: Path) -> None:
    generated_run(tmp_path, experiment(0), steps=9, finished=False)
    newest = generated_run(tmp_path, experiment(0), steps=5, finished=False)
    generated_run(tmp_path, experiment(1), steps=500)
    taken = StepsTaken(tmp_path, [experiment(0)])
    assert (taken.to_go_on, taken.look()) == (1, 5)
    sink = JsonlSink(newest.path)
    sink.metrics(6, metrics_of(6))
    sink.close()
    assert taken.look() == 6


def test_a_run_that_was_trained_anew_counts_instead_of_the_one_cut_short(tmp_path: Path) -> None:
    generated_run(tmp_path, experiment(0), steps=9, finished=False)
    taken = StepsTaken(tmp_path, [experiment(0)])
    assert taken.look() == 9
    generated_run(tmp_path, experiment(0), steps=2, finished=False)
    assert taken.look() == 2
