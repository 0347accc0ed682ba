"""Modules that attack their check get an error in one line and leave nothing behind."""

import ast
import json
from pathlib import Path

import pytest

from cortexzoo.harness.checking.verdict import VERDICT
from cortexzoo.harness.cli import main
from cortexzoo.harness.fuzzing import module_attacks
from cortexzoo.harness.fuzzing.attacking_code import ACTS, MOMENTS
from cortexzoo.harness.fuzzing.campaign import Report
from tests.quick import in_slow


@pytest.mark.parametrize(
    ("name", "moment", "reason"),
    [
        ("forges through every descriptor", "loaded", "did not send: no verdict of the process counts"),
        in_slow(("skips everything", "made", "a planted defect passed")),
        ("leaves a daemon and kills its parent", "loaded", "died with signal SIGKILL"),
        in_slow(("fills standard error and crashes", "called", "wrote more than 64 MB to standard error")),
        ("starts a hundred", "loaded", "more than 64 processes"),
    ],
)
def test_an_attack_is_an_error_with_its_reason(name: str, moment: str, reason: str, tmp_path: Path) -> None:
    report = attacked(name, moment, tmp_path)
    assert report.failures == []
    certificate = json.loads((tmp_path / "runs" / "modules" / "attacking.make" / VERDICT).read_text())
    errors = [found["reason"] for found in certificate["properties"].values() if found["verdict"] == "error"]
    assert any(reason in error for error in errors), errors


def test_a_module_does_not_see_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(module_attacks.SECRET, module_attacks.VALUE)
    report = attacked("shows the environment", "loaded", tmp_path)
    assert report.failures == [] and report.codes["2"] == 1


def attacked(name: str, moment: str, folder: Path) -> Report:
    (folder / "suite.yaml").write_text(module_attacks.SUITE)
    report = Report("modules", 0)
    module_attacks.attack(report, 0, name, moment, folder, lambda arguments: main(list(arguments)))
    return report


def test_every_attack_is_a_program_of_its_own_that_leaves_its_mark() -> None:
    sources = [module_attacks.source(name, moment, "the-mark") for name in ACTS for moment in MOMENTS]
    programs = {ast.dump(ast.parse(source)) for source in sources}
    assert len(programs) == len(ACTS) * len(MOMENTS)
    assert all("the-mark" in program for program in programs)
