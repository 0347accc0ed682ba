"""The certificate of a run, replayed on the same machine, gives the same verdicts."""

import json
import math
import re
import runpy
import shutil
from pathlib import Path

import jsonschema
import pytest

from cortexzoo.harness.checking.effort import Profile
from cortexzoo.harness.checking.mutants.base import after, replaced
from cortexzoo.harness.checking.schema import certificate_schema
from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.regression.pytest_file import PytestFileError, write_pytest_file
from cortexzoo.harness.regression.replay import ReplayError, named_judgement, replay_case
from cortexzoo.harness.runs.run_folder import SPEC, Run
from cortexzoo.harness.runs.train import check_run
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.models.columns import Columns
from tests.harness.trained import FEW, train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = train_small(tmp_path_factory.mktemp("runs"), FEW)
    check_run(run, warn=pytest.fail)
    return run


@pytest.mark.parametrize("changes", [(FEW,), pytest.param((), marks=pytest.mark.slow)], ids=["few", "every"])
def test_every_property_of_a_run_can_be_replayed(changes: tuple[str, ...], tmp_path: Path) -> None:
    run = train_small(tmp_path, *changes)
    check_run(run, warn=pytest.fail)
    tried = [judgement for judgement in run.certificate.judgements if judgement.verdict != "skipped"]
    assert {judgement.verdict for judgement in tried} >= {"pass", "fail"}
    for judgement in tried:
        again = replay_case(run.path / VERDICT, judgement.name)
        assert again.same, judgement.name
        if judgement.name == "linear_memory":  # measured on the machine, to about a hundredth
            assert again.now.observed == pytest.approx(judgement.observed, abs=0.02)
        elif judgement.name != "linear_time":  # measured by the clock
            assert again.now.observed == judgement.observed, judgement.name


def test_a_case_that_only_a_search_met_is_shrunk_and_replayed(run: Run, tmp_path: Path) -> None:
    """No listed length is a multiple of 70."""
    copied = Run(Path(shutil.copytree(run.path, tmp_path / "run")))
    suite = SuiteSpec(name="one", properties={"finite_gradients": Check()})
    copied.write_spec(SPEC, run.spec.model_copy(update={"suite": suite}))
    nan_at_70 = after(lambda out, _self, x: out + ((x - x).abs().sqrt() if x.shape[1] % 70 == 0 else 0.0))
    with replaced(Columns, "forward", nan_at_70)():
        check_run(copied, warn=pytest.fail)
        certificate = check_run(copied, warn=pytest.fail, profile=Profile("ci", 300, math.inf, fixed_seed=True))
        (found,) = certificate.judgements
        assert (found.verdict, found.case["length"]) == ("fail", 70)
        assert certificate.circumstances["profile"] == "ci"
        again = replay_case(copied.path / VERDICT, "finite_gradients")
        assert again.same and again.now.observed == found.observed
    assert not replay_case(copied.path / VERDICT, "finite_gradients").same


def test_a_failing_case_of_a_run_becomes_a_test_file(run: Run, tmp_path: Path) -> None:
    certificate, then = named_judgement(run.path, "better_than_counting")
    assert then.verdict == "fail"
    file = tmp_path / "test_run.py"
    write_pytest_file(file, certificate, then, run.path)
    assert VERDICT not in file.read_text()
    with pytest.raises(AssertionError, match=re.escape(then.reason[:20])):
        runpy.run_path(str(file))["test_better_than_counting"]()
    passed = next(j for j in run.certificate.judgements if j.verdict == "pass")
    with pytest.raises(PytestFileError, match="only a failing case makes a test"):
        write_pytest_file(tmp_path / "test_other.py", certificate, passed, run.path)


def test_the_certificate_of_a_run_fits_the_schema(run: Run) -> None:
    judge = jsonschema.Draft202012Validator(certificate_schema())
    content = json.loads((run.path / VERDICT).read_text())
    assert [error.message for error in judge.iter_errors(content)] == []
    assert not judge.is_valid({**content, "format": 1})


@pytest.mark.parametrize("content", ["", "[]", '{"properties": 3, "format": 2}'])
def test_what_is_no_certificate_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / VERDICT).write_text(content)
    with pytest.raises(ReplayError, match="is no certificate"):
        replay_case(tmp_path, "causality")
