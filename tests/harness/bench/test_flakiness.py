"""A property that fails for some seeds only is named with the seed and the case."""

import json
from pathlib import Path

import pytest

from cortexzoo.harness.checking.mutants.base import after, replaced
from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.run_folder import SPEC
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.models.columns import Columns
from tests.harness.trained import train_small


@pytest.mark.slow
def test_what_only_some_seeds_meet_is_told_with_seed_and_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_small(tmp_path, "recipe.steps=4")
    properties = {"finite_gradients": Check(), "repeatability": Check(), "padding_changes_nothing": Check()}
    run.write_spec(SPEC, run.spec.model_copy(update={"suite": SuiteSpec(name="few", properties=properties)}))
    report = tmp_path / "table.json"
    command = ["bench", "flakiness", str(run.path), "--seeds", "4", "--examples", "5", "--json", str(report)]
    nan_at_70s = after(lambda out, _self, x: out + ((x - x).abs().sqrt() if 70 <= x.shape[1] <= 110 else 0.0))
    with replaced(Columns, "forward", nan_at_70s)():
        assert main(command) == 1
    told = capsys.readouterr().out
    content = json.loads(report.read_text())
    verdicts = content["finite_gradients"]["verdicts"]
    assert set(verdicts) == {"pass", "fail"} and sum(verdicts.values()) == 4
    unexpected = content["finite_gradients"]["unexpected"]
    assert len(unexpected) == verdicts["fail"]
    assert all(f"finite_gradients, seed {unexpected['seed']}: fail: " in told for unexpected in unexpected)
    assert content["repeatability"]["verdicts"] == {"pass": 4}
    assert "1 of 3 properties are as expected with all 4 seeds" in told, "padding is skipped and expected to pass"
