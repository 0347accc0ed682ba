"""The report is one file that shows everything and asks nobody for anything."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cortexzoo.harness.bench.generated_runs import experiment, generated_run
from cortexzoo.harness.checking.verdict import VERDICT, Certificate, Judgement
from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.export import card
from cortexzoo.harness.runs.run_folder import MANIFEST, Run
from cortexzoo.harness.studies.comparison.comparing import compared, folder_of, telling_apart
from cortexzoo.harness.studies.comparison.contenders import Incomparable, contenders
from cortexzoo.harness.studies.comparison.reading import Record
from cortexzoo.harness.studies.comparison.report import write_report
from cortexzoo.harness.studies.comparison.result import Comparison
from cortexzoo.specs import load_experiment
from tests.browser import browser_page, installed

NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    runs = tmp_path_factory.mktemp("runs")
    made = [
        generated_run(runs, experiment(seed, name), steps=30)
        for name in ("cortexgpt-original", "cortexgpt-stable")
        for seed in (0, 1)
    ]
    failed = Judgement(
        "causality", "clause", "fail", "pass", 0.0, "at_most", "max |Δ logit|", NASTY, 0.5, -0.5, {"length": 3}
    )
    passed = replace(failed, verdict="pass", observed=0.0, margin=0.0)
    for run, judgement in zip(made, (failed, passed, passed, passed), strict=True):
        run.write_json(VERDICT, Certificate((judgement,), {}).as_json())
    sides = contenders([str(run.path) for run in made], None, ())
    return compared(sides, [side.runs for side in sides], command=("cortexzoo", "compare"), allow_different=False)


def test_all_of_it_is_written(comparison: Comparison, tmp_path: Path) -> None:
    report = write_report(comparison, tmp_path / "new" / "folder")
    names = {path.name for path in report.parent.iterdir()}
    assert names == {"report.html", "report.json", "losses.png", "stability.png", "gates.png"}
    content = json.loads((report.parent / "report.json").read_text())
    assert content["command"] == ["cortexzoo", "compare"]
    assert content["variants"]["cortexgpt-stable"]["measures"]["held-out loss, last"] == {
        "mean": 2.0,
        "sd": 0.0,
        "count": 2,
    }
    assert content["variants"]["cortexgpt-original"]["verdicts"] == {"causality": "1 fail, 1 pass"}
    assert content["differences"]["recipe.clipping.max_norm"] == {"cortexgpt-original": 1.0, "cortexgpt-stable": 0.5}


def test_the_page_shows_everything_and_runs_nothing(comparison: Comparison, tmp_path: Path) -> None:
    page = write_report(comparison, tmp_path).read_text(encoding="utf-8")
    assert page.count("data:image/svg+xml;base64,") == 3
    for part in ("1 fail, 1 pass !", "recipe.clipping.max_norm", "cortexzoo compare", comparison.records[0].spec_hash,
                 "{&#34;length&#34;: 3}"):  # fmt: skip
        assert part in page, part
    assert "<script" not in page and "http:" not in page and "https:" not in page
    assert "&lt;script&gt;alert(1)" in page


def with_words(comparison: Comparison, words: str) -> Comparison:
    """The comparison with these words wherever somebody else may have written them."""
    changed = [
        replace(record, certificate=Certificate((replace(j, reason=words, case={"a": words}),), {}))
        for record in comparison.records
        if (certificate := record.certificate) is not None
        for j in certificate.judgements
    ]
    result = comparison.contenders[0]
    contender = replace(result, records=tuple(r for r in changed if r.path in {k.path for k in result.records}))
    return replace(comparison, contenders=(contender, *comparison.contenders[1:]), command=("cortexzoo", words))


def test_hostile_words_are_text(comparison: Comparison, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>\x1b[31m\u202e[x](javascript:alert(1))\"'[bold]$\\frac$"
    page = write_report(with_words(comparison, hostile), tmp_path).read_text(encoding="utf-8")
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "\x1b" not in page and "\u202e" not in page and "\\u202e" in page
    assert "default-src 'none'" in page and "form-action 'none'" in page


OWNED = "document.title='owned'"
HOSTILE = (
    f"<script>{OWNED}</script><img src=x onerror={OWNED}>\"><svg onload={OWNED}>' onmouseover={OWNED} "
    f"</style></script>[x](javascript:{OWNED})<javascript:{OWNED}>]]>--><a href=javascript:{OWNED}>x</a>"
    "\x1b]0;owned\x07\u202e"
)


@pytest.mark.skipif(installed() is None, reason="no Chromium is installed")
def test_nothing_of_others_runs_in_a_browser(comparison: Comparison, tmp_path: Path) -> None:
    markdown = pytest.importorskip("markdown")
    run = generated_run(tmp_path, load_experiment("cortexgpt-stable"), steps=2)
    run.write_spec("spec.yaml", run.spec.model_copy(update={"description": HOSTILE}))
    run.write_json(MANIFEST, {**run.manifest, "command": ["cortexzoo", HOSTILE], "data_sha256": HOSTILE})
    run.write_json(VERDICT, with_words(comparison, HOSTILE).records[0].certificate.as_json())  # type: ignore[union-attr]
    html = markdown.markdown(card(Run.open(run.path), HOSTILE), extensions=["tables", "fenced_code"])
    with (run.path / "events.jsonl").open("a") as file:
        file.write(json.dumps({"step": 2, "time": 0.0, "kind": "rollback", "detail": {"cause": HOSTILE}}) + "\n")
    assert main(["monitor", str(run.path), "--snapshot", str(tmp_path / "monitor.svg")]) == 0
    (tmp_path / "card.html").write_text(html, encoding="utf-8")
    report = write_report(with_words(comparison, HOSTILE), tmp_path / "report")
    with browser_page() as page:
        (tmp_path / "owned.html").write_text(HOSTILE, encoding="utf-8")
        page.open((tmp_path / "owned.html").as_uri())
        page.wait(0.2)
        assert page.evaluate("document.title") == "owned", "this page runs what it contains"
        for file in (report, tmp_path / "card.html", tmp_path / "monitor.svg"):
            page.events.clear()
            page.open(file.as_uri())
            page.evaluate("document.querySelectorAll('*').forEach(e => e.dispatchEvent(new Event('mouseover')))")
            links = page.evaluate("Array.from(document.querySelectorAll('a')).map(a => String(a.href))")
            page.wait(0.2)
            assert page.evaluate("document.title") != "owned", file.name
            assert page.requests == [file.as_uri()], file.name
            assert not [link for link in links if link.lower().startswith("javascript:")], file.name


@pytest.mark.skipif(installed() is None, reason="no Chromium is installed")
def test_a_browser_has_nothing_to_complain_of_and_asks_nobody(comparison: Comparison, tmp_path: Path) -> None:
    report = write_report(comparison, tmp_path)
    with browser_page() as page:
        page.open(report.as_uri())
        page.wait(0.5)
        widths = page.evaluate("Array.from(document.images).map(image => image.naturalWidth)")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert page.requests == [report.as_uri()]
    assert page.complaints == []
    assert len(widths) == 3 and all(widths)
    assert overflow <= 0


def test_the_same_comparison_has_the_same_folder(comparison: Comparison, tmp_path: Path) -> None:
    folder = folder_of(comparison, tmp_path)
    assert folder == folder_of(comparison, tmp_path)
    assert folder.parent == tmp_path / "comparisons"
    assert folder.name.startswith("cortexgpt-original-vs-cortexgpt-stable-")


def test_a_text_that_changed_between_runs_is_noticed(tmp_path: Path) -> None:
    made = [
        generated_run(tmp_path, experiment(0, name), steps=2) for name in ("cortexgpt-original", "cortexgpt-stable")
    ]
    made[0].write_json(MANIFEST, {**made[0].manifest, "data_sha256": "1" * 64})
    sides = contenders([str(run.path) for run in made], None, ())
    with pytest.raises(Incomparable, match="texts differ"):
        compared(sides, [side.runs for side in sides], command=(), allow_different=False)
    allowed = compared(sides, [side.runs for side in sides], command=(), allow_different=True)
    assert any(line.startswith("Read with care: texts differ") for line in allowed.in_words())


def test_the_answer_in_words(comparison: Comparison) -> None:
    loss, ratio, speed, properties = comparison.in_words()
    assert loss.startswith("Lowest held-out loss: cortexgpt-original, 2.000 nats a byte (cortexgpt-stable 2.000)")
    assert loss.endswith("the difference lies within the spread of the seeds.")
    assert ratio.startswith("Smallest loss ratio: ") and ratio.endswith("; all stay below 1.5.")
    assert speed.startswith("Fastest: ")
    held = "Properties that hold for every seed: cortexgpt-original 0 of 1, cortexgpt-stable 1 of 1."
    assert properties == held


def with_summaries(comparison: Comparison, *summaries: dict[str, object]) -> Comparison:
    """The comparison with other loss ratios or failures, run by run."""
    left = list(summaries)
    sides = tuple(
        replace(side, records=tuple(replace(record, summary=record.summary | left.pop(0)) for record in side.records))
        for side in comparison.contenders
    )
    return replace(comparison, contenders=sides)


def test_no_mean_hides_a_run_above_the_bound(comparison: Comparison) -> None:
    above = with_summaries(comparison, {"loss_ratio": 1.0}, {"loss_ratio": 1.8}, {"loss_ratio": 1.1}, {"loss_ratio": 1})
    (ratio,) = [line for line in above.in_words() if line.startswith("Smallest loss ratio")]
    assert "all stay below" not in ratio


def test_a_run_that_gave_up_wins_nothing(comparison: Comparison) -> None:
    lost = with_summaries(comparison, {"loss_ratio": 1.0}, {"gave_up_at": 3}, {"loss_ratio": 1.2}, {"loss_ratio": 1.2})
    (ratio,) = [line for line in lost.in_words() if line.startswith("Smallest loss ratio")]
    assert ratio == "Smallest loss ratio: cortexgpt-stable, 1.200 (cortexgpt-original not finite)."


def test_what_was_skipped_neither_holds_nor_fails(comparison: Comparison) -> None:
    verdicts = iter(("pass", "skipped", "skipped", "skipped"))

    def judged(record: Record) -> Record:
        assert record.certificate is not None
        (found,) = record.certificate.judgements
        other = replace(found, name="gate_balance", verdict=next(verdicts))
        return replace(record, certificate=Certificate((found, other), {}))

    sides = tuple(replace(s, records=tuple(judged(record) for record in s.records)) for s in comparison.contenders)
    skipped = replace(comparison, contenders=sides)
    held = "Properties that hold for every seed: cortexgpt-original 1 of 2, cortexgpt-stable 1 of 1."
    assert held in skipped.in_words()
    assert [(judgement.name, judgement.verdict) for _, _, judgement in skipped.falsified] == [("causality", "fail")]


def test_how_aim_tells_sides_apart(comparison: Comparison) -> None:
    first, second = (side.contender for side in comparison.contenders)
    assert telling_apart([first, second]) == ("variant",)
    other_recipe = replace(second, experiments=(load_experiment("cortexgpt-stable", ["recipe=phase-1"]),))
    assert telling_apart([second, other_recipe]) == ("variant", "recipe")
    other_rate = replace(second, experiments=(load_experiment("cortexgpt-stable", ["recipe.steps=1"]),))
    assert telling_apart([second, other_rate]) == ("spec_hash",)


def test_speeds_beside_unequal_other_work_are_named(comparison: Comparison) -> None:
    busy = [{"other_busy_cores": cores} for cores in (0.0, 0.1, 1.9, 0.2)]
    line = (
        "Speeds were measured unequally: other processes kept between 0.0 and 1.9 cores busy; train again with "
        "--jobs 1 to compare them."
    )
    assert line in with_summaries(comparison, *busy).in_words()
    idle = [{"other_busy_cores": cores} for cores in (0.0, 0.1, 0.3, 0.2)]
    assert not any("unequally" in words for words in with_summaries(comparison, *idle).in_words())
