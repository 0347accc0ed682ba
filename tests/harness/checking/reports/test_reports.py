"""The same verdicts for continuous integration: JUnit, SARIF and annotations."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cortexzoo.harness.checking.reports.annotations import annotations
from cortexzoo.harness.checking.reports.junit import junit_xml
from cortexzoo.harness.checking.reports.sarif import sarif_text
from cortexzoo.harness.checking.verdict import Certificate, Judgement


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificate:
    monkeypatch.chdir(tmp_path)
    cause = {"module": "norm", "class": "BatchNorm1d", "words": "…", "file": str(tmp_path / "src/m.py"), "line": 12}
    numbers = (0.0, "at_most", "unit")
    judgements = (
        Judgement("causality", "a claim", "pass", "pass", *numbers, "fine"),  # type: ignore[arg-type]
        Judgement(
            "batch_isolation", "a claim", "fail", "pass", *numbers, "100 % wrong,\nin <rows>\x07", 1.0, -1.0,  # type: ignore[arg-type]
            cause=cause,
        ),
        Judgement("determinism", "a claim", "error", "pass", *numbers, "crashed"),  # type: ignore[arg-type]
        Judgement("linear_time", "a claim", "fail", "fail", *numbers, "slow", expected_reason="attention"),  # type: ignore[arg-type]
        Judgement("gate_balance", "a claim", "skipped", "skipped", *numbers, "no gate"),  # type: ignore[arg-type]
    )  # fmt: skip
    return Certificate(judgements, {"module": f"{tmp_path}/m.py:make", "suite": "bare-module"})


def test_junit_counts_only_what_is_unexpected(certificate: Certificate) -> None:
    (suite,) = ElementTree.fromstring(junit_xml(certificate))
    counts = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "5", "failures": "1", "errors": "1", "skipped": "2"}
    kinds = {case.get("name"): [child.tag for child in case] for case in suite}
    assert kinds == {
        "causality": [], "batch_isolation": ["failure"], "determinism": ["error"], "linear_time": ["skipped"],
        "gate_balance": ["skipped"],
    }  # fmt: skip
    failed = suite[1]
    assert (failed.get("file"), failed.get("line")) == ("src/m.py", "12")


def test_sarif_places_each_result(certificate: Certificate) -> None:
    (run,) = json.loads(sarif_text(certificate))["runs"]
    assert [result["ruleId"] for result in run["results"]] == ["batch_isolation", "determinism"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "src/m.py"}, "region": {"startLine": 12}}
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} >= {"batch_isolation", "determinism"}


def test_annotations_are_single_escaped_lines(certificate: Certificate) -> None:
    isolation, determinism = annotations(certificate)
    assert isolation.startswith(
        "::error file=src/m.py,line=12,title=cortexzoo%3A batch_isolation is fail::100 %25 wrong,%0A"
    )
    assert determinism.startswith("::error file=m.py,line=1,")
