"""Two certificates become a comment in Markdown, one becomes a badge."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cortexzoo.harness.checking.reports.difference import badge, difference
from cortexzoo.harness.checking.verdict import VERDICT, Certificate, Judgement
from cortexzoo.harness.cli import main
from cortexzoo.harness.tracking.jsonl import to_json_value


def judgement(name: str, verdict: str, reason: str = "a reason", expected: str = "pass") -> Judgement:
    return Judgement(name, "a claim", verdict, expected, 0.0, "at_most", "unit", reason)  # type: ignore[arg-type]


BEFORE = Certificate(
    (judgement("causality", "pass"), judgement("determinism", "fail"), judgement("gate_balance", "pass")), {}
)


def test_only_changes_are_listed_and_the_worse_are_counted() -> None:
    after = Certificate((judgement("causality", "fail", "a | b\n`c` <d>"), judgement("determinism", "pass")), {})
    told, worse = difference(BEFORE, after)
    assert worse == 2
    assert told.startswith("### cortexzoo: 3 verdicts have changed, 2 for the worse")
    assert "| 🔴 | causality | pass (version 1) | fail (version 1) | a \\| b 'c' &lt;d&gt; |" in told
    assert "| 🟢 | determinism |" in told
    assert "| 🔴 | gate_balance | pass (version 1) | – | is no longer checked |" in told


def test_numbers_and_reasons_alone_are_no_change() -> None:
    after = Certificate(tuple(replace(j, reason="another", observed=0.5, seconds=3.0) for j in BEFORE.judgements), {})
    assert difference(BEFORE, after) == (
        "### cortexzoo: no verdict has changed\n\n2 of 3 verdicts as expected.\n", 0,
    )  # fmt: skip


def test_a_badge_is_green_where_all_is_as_expected() -> None:
    good = Certificate((judgement("causality", "pass"), judgement("linear_time", "fail", expected="fail")), {})
    for certificate, told, colour in ((good, "2 of 2", "#2c974b"), (BEFORE, "2 of 3", "#cf222e")):
        image = badge(certificate)
        ElementTree.fromstring(image)
        assert f"{told} as expected" in image and colour in image


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, verdict in (("before", "pass"), ("after", "fail")):
        (tmp_path / name).mkdir()
        content = to_json_value(Certificate((judgement("causality", verdict),), {"suite": "some"}).as_json())
        (tmp_path / name / VERDICT).write_text(json.dumps(content))
    before, after = str(tmp_path / "before"), str(tmp_path / "after" / VERDICT)
    assert main(["diff-certificates", before, before]) == 0
    assert main(["diff-certificates", before, after]) == 1
    assert "🔴 | causality" in capsys.readouterr().out
    assert main(["diff-certificates", before, after, "--output", str(tmp_path / "comment.md")]) == 1
    assert "🔴 | causality" in (tmp_path / "comment.md").read_text()
    assert main(["badge", after, str(tmp_path / "verdict.svg")]) == 0
    assert "0 of 1 as expected" in (tmp_path / "verdict.svg").read_text()
    assert main(["diff-certificates", before, str(tmp_path / "none")]) == 2
