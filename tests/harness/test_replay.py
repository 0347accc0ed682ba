"""The certificate of a run, replayed on the same machine, gives the same verdicts."""

import json
from pathlib import Path

import jsonschema
import pytest

from harness.certificate_schema import certificate_schema
from harness.replay import ReplayError, replay_case
from harness.run_folder import VERDICT, Run
from harness.runner import check_run
from tests.harness.trained import train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = train_small(tmp_path_factory.mktemp("runs"))
    check_run(run, warn=pytest.fail)
    return run


def test_every_property_of_a_run_can_be_replayed(run: Run) -> None:
    tried = [judgement for judgement in run.certificate.judgements if judgement.verdict != "skipped"]
    assert {judgement.verdict for judgement in tried} >= {"pass", "fail"}
    for judgement in tried:
        again = replay_case(run.path / VERDICT, judgement.name)
        assert again.same, judgement.name
        if judgement.name == "linear_memory":  # measured on the machine, to about a hundredth
            assert again.now.observed == pytest.approx(judgement.observed, abs=0.02)
        elif judgement.name != "linear_time":  # measured by the clock
            assert again.now.observed == judgement.observed, judgement.name


def test_the_certificate_of_a_run_fits_the_schema(run: Run) -> None:
    jsonschema.validate(json.loads((run.path / VERDICT).read_text()), certificate_schema())


@pytest.mark.parametrize("content", ["", "[]", '{"properties": 3, "format": 2}'])
def test_what_is_no_certificate_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / VERDICT).write_text(content)
    with pytest.raises(ReplayError, match="is no certificate"):
        replay_case(tmp_path, "causality")
