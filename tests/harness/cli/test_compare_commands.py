"""What compare, sweep, aim-sync and monitor print, write and end with."""

import json
import shutil
from pathlib import Path

import pytest

from cortexzoo.harness.bench.generated_runs import experiment, generated_run
from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.run_folder import MANIFEST, Run
from tests.harness.trained import SMALL

NAMES = ("cortexgpt-original", "cortexgpt-stable")
TINY = tuple(
    part
    for change in SMALL
    if not {"steps", "every"} & set(change.partition("=")[0].split("."))
    for part in ("--set", change)
)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two variants with two seeds each, as if trained."""
    for name in NAMES:
        for seed in (0, 1):
            generated_run(tmp_path / "runs", experiment(seed, name), steps=5)
    return tmp_path / "runs"


def paths(runs: Path) -> list[str]:
    return sorted(str(spec.parent) for spec in runs.glob("*/*/spec.yaml"))


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_runs_are_compared_in_tables_in_a_report_and_as_json(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.json"
    assert main(["compare", *paths(runs), "--runs", str(runs), "--no-check", "--json", str(file)]) == 0
    output = capsys.readouterr().out
    head, *rows = output.splitlines()
    assert head.split() == list(NAMES)
    assert next(row for row in rows if row.startswith("held-out loss, last")).split()[3:5] == ["2.000", "2.000"]
    assert "recipe.clipping.max_norm" in output and "Lowest held-out loss" in output
    (folder,) = (runs / "comparisons").iterdir()
    assert f"report: {folder / 'report.html'}" in output
    assert json.loads(file.read_text()) == json.loads((folder / "report.json").read_text())
    assert main(["compare", *paths(runs), "--runs", str(runs), "--no-check", "--out", str(tmp_path / "here")]) == 0
    assert (tmp_path / "here" / "report.html").is_file()


@pytest.mark.slow
def test_what_is_missing_is_trained_and_checked_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["compare", *NAMES, "--runs", str(tmp_path), "--steps", "6", *TINY]
    assert main(command) == 1, "models of six steps are no better than counting"
    first = capsys.readouterr()
    assert "2 runs to train, 2 at a time" in first.out
    assert "causality" in first.out
    made = paths(tmp_path)
    assert len(made) == 2 and all(Run.open(path).spec.recipe.steps == 6 for path in made)
    assert all((Path(path) / "verdict.json").is_file() for path in made)
    assert main(command) == 1
    again = capsys.readouterr()
    assert "to train" not in again.out and paths(tmp_path) == made


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "cortexgpt-stable"], "at least two contenders that differ"),
        (["compare", "cortexgpt-stabel", "transformer"], "did you mean cortexgpt-stable?"),
        (["compare", "RUNS/nothing", "transformer"], "nothing: no such run folder"),
        (
            ["compare", "transformer", "RUN", "--steps", "3"],
            "not compared: steps differ (3 for transformer, 500 for cortex",
        ),
        (["compare", "RUN", "OTHER", "--seeds", "2"], "remove --seeds"),
        (["compare", "RUN", "OTHER", "--json", "RUNS/none/x.json"], "no such folder"),
        (["compare", "OTHER", "HALF"], "manifest.json: missing"),
        (["aim-sync", "--runs", "RUNS/none"], "contains no run"),
        (["aim-sync", "RUNS/none"], "none: no such run folder"),
        (["monitor", "RUNS/none"], "none: no such run folder"),
        (["monitor", "RUNS"], "monitor needs a terminal: --snapshot FILE.svg draws a picture without one"),
        (
            ["monitor", "RUN", "--snapshot", "x.svg", "--size", "9x9"],
            "--size: must be WIDTHxHEIGHT, at least 44x20, got",
        ),
        (["sweep", "no-such-matrix"], "no matrix called 'no-such-matrix' is shipped"),
        (["sweep", "variants-and-recipes", "--job", "mem_gb=1"], "--job mem_gb=1: requires --executor"),
        (
            ["sweep", "variants-and-recipes", "--executor", "local", "--job", "mem_gb"],
            "--job mem_gb: must be KEY=VALUE, as in slurm_partition=gpu",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    runs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    half = generated_run(runs, experiment(5), steps=1)
    (half.path / MANIFEST).unlink()
    known = {"RUN": paths(runs)[-2], "OTHER": paths(runs)[0], "HALF": str(half.path)}
    assert main([known.get(part, part.replace("RUNS", str(runs))) for part in arguments]) == 2
    assert message in one_line(capsys)


def test_a_port_in_use_is_told_before_anything_is_trained(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    pytest.importorskip("aim", reason="Aim is not available for this Python or system")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["compare", "transformer", "cortexgpt-stable", "--open", "--port", str(port)]) == 2
    assert f"--port {port}: cannot be used" in one_line(capsys)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_runs_come_into_aim_once_and_are_linked(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aim", reason="Aim is not available for this Python or system")
    from tests.aim_reading import decoded

    assert main(["aim-sync", "--runs", str(runs)]) == 0
    assert capsys.readouterr().out == "Aim: 4 written, 0 up to date\n"
    assert main(["aim-sync", paths(runs)[0]]) == 0
    assert capsys.readouterr().out == "Aim: 0 written, 1 up to date\n"
    assert main(["compare", *paths(runs), "--runs", str(runs), "--no-check", "--print-link"]) == 0
    link = capsys.readouterr().out.rpartition("and open: ")[2].splitlines()[0]
    query = decoded(link.rpartition("select=")[2])["query"]
    assert all(Run.open(path).manifest["trackers"]["aim"] in query for path in paths(runs))


def test_without_a_browser_the_link_is_left_to_the_reader(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import webbrowser
    from contextlib import nullcontext
    from types import SimpleNamespace

    from cortexzoo.harness.cli import aim_commands

    monkeypatch.setattr(
        "cortexzoo.harness.runs.aim_sync.sync",
        lambda run: run.write_json(MANIFEST, {**run.manifest, "trackers": {"aim": "a"}}),
    )
    monkeypatch.setattr("cortexzoo.harness.tracking.aim.server.require_free", lambda _: None)
    guard = SimpleNamespace(address="http://here", entrance=lambda link: link)
    monkeypatch.setattr("cortexzoo.harness.tracking.aim.server.serving", lambda *_: nullcontext(guard))
    monkeypatch.setattr(aim_commands, "_wait_for_ctrl_c", lambda: None)

    def none_found(_: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", none_found)
    assert main(["compare", *paths(runs), "--runs", str(runs), "--no-check", "--open"]) == 0
    output = capsys.readouterr()
    assert "Aim is open until Ctrl-C: http://here/metrics?" in output.out
    assert output.err == "no browser found: open the link above\n"


def test_a_sweep_shows_what_it_would_train(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["sweep", "variants-and-recipes", "--dry-run", "--runs", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert output.startswith("variants-and-recipes: 8 combinations × 3 seeds, 24 runs to train\n")
    assert len(output.splitlines()) == 2 + 8


def test_a_picture_of_the_dashboard(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "board.svg"
    assert main(["monitor", str(runs), "--snapshot", str(picture), "--size", "100x50"]) == 0
    assert picture.read_text(encoding="utf-8").count("finished") == 2, "the others are scrolled to"
    assert main(["monitor", str(runs), "--snapshot", str(picture)]) == 0
    text = picture.read_text(encoding="utf-8").replace("&#160;", " ")
    assert text.count("finished") == 4 and "cortexgpt-stable" in text and "step 5 of 500" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace("https://www.textualize.io", "")
    assert f"picture: {picture}" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_picture_of_the_dashboard_from_aim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aim", reason="Aim is not available for this Python or system")
    from cortexzoo.harness.runs.aim_sync import sync

    picture = tmp_path / "board.svg"
    arguments = ["monitor", str(tmp_path / "runs"), "--source", "aim", "--snapshot", str(picture)]
    run = generated_run(tmp_path / "runs", experiment(3), steps=5)
    assert main(arguments) == 3
    assert "contains no Aim repository: `cortexzoo aim-sync --runs" in one_line(capsys)
    sync(run)
    shutil.rmtree(run.path)
    assert main(arguments) == 0
    text = picture.read_text(encoding="utf-8").replace("&#160;", " ")
    assert all(told in text for told in ("cortexgpt-stable · seed 3", "finished", "step 5 of 500"))
