"""Two processes train on a memory task as one does: the same documents, and memories that have fewer rows."""

from pathlib import Path

import pytest

from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS
from tests.tolerances import PROCESSES
from tests.zoo.training.objectives.two_processes import main
from tests.zoo.training.test_processes import found, launch_two

NORMS = ("memory/state_norm", "memory/output_share")
"""The mean of two processes' norms, and of their quotients, is not that of all rows."""


@pytest.mark.slow
def test_two_processes_recall_as_one(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    main(folders[0])
    launch_two(folders[1], "objectives.two_processes")
    one, two = map(found, folders)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["recall"] == two["recall"]
    compared = 0
    for (step, alone), (other_step, together) in zip(one["rows"], two["rows"], strict=True):
        assert step == other_step
        assert alone.keys() == together.keys()
        for name in alone.keys() - WALL_CLOCK_METRICS:
            if not name.startswith(NORMS):
                assert together[name] == pytest.approx(alone[name], rel=PROCESSES, nan_ok=True), (step, name)
                compared += 1
    assert compared > 80
