"""Many experiments: finished runs are used, the others trained, equal ones once."""

from pathlib import Path

import pytest

from harness.training_pool import train_missing
from tests.harness.trained import small, train_small


@pytest.mark.slow
def test_only_what_is_missing_is_trained_and_equal_experiments_once(tmp_path: Path) -> None:
    already = train_small(tmp_path, "seed=1")
    wanted = [small("seed=1"), small("seed=2"), small("seed=2"), small("seed=3")]
    found = {spec.seed: run for spec, run in train_missing(wanted, tmp_path, jobs=2)}
    assert set(found) == {1, 2, 3}
    assert found[1].path == already.path
    assert all(run.finished for run in found.values())
    assert len(list((tmp_path / "cortexgpt-stable").iterdir())) == 3
    again = {spec.seed: run.path for spec, run in train_missing(wanted, tmp_path, jobs=2)}
    assert again == {seed: run.path for seed, run in found.items()}


@pytest.mark.slow
def test_a_process_of_the_pool_trains_what_this_process_would(tmp_path: Path) -> None:
    here = train_small(tmp_path / "here", "seed=5")
    ((_, there),) = train_missing([small("seed=5")], tmp_path / "there", jobs=1)
    assert there.summary["validation_loss"] == here.summary["validation_loss"]
