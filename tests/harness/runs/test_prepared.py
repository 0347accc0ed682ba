"""A run on a prepared corpus, or on one mixed with another text, killed and resumed."""

import json
from pathlib import Path

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.resume import resume_run
from tests.harness.trained import QUIET, killed_small, small, train_small


@pytest.mark.parametrize("way", ["carry", "reset", "mixture"])
def test_killed_and_resumed_equals_never_killed(way: str, tmp_path: Path) -> None:
    rows = [json.dumps({"text": f"Ship {n} left with {n * n} crates of tea. " * (1 + n % 4)}) for n in range(200)]
    (tmp_path / "ships.jsonl").write_text("\n".join(rows))
    assert main(["prepare", str(tmp_path / "ships"), str(tmp_path / "ships.jsonl")]) == 0
    changes = f"data={{family: prepared, name: ships, path: {tmp_path / 'ships'}, documents: {way}}}"
    if way == "mixture":
        prepared = f"{{kind: prepared, weight: 1, path: {tmp_path / 'ships'}}}"
        parts = f"{prepared}, {{kind: text, weight: 3, source: {{kind: pydoc_topics}}}}"
        changes = f"data={{family: mixture, name: ships, parts: [{parts}]}}"
    whole = train_small(tmp_path / "whole", changes)
    begun = killed_small(tmp_path / "parts", 9, changes)
    resumed = resume_run(begun.path, small(changes), options=QUIET)
    assert resumed.summary["test_loss"] == whole.summary["test_loss"]
    losses = [[line["train/loss"] for line in run.metrics()] for run in (whole, resumed)]
    assert losses[0] == losses[1]
