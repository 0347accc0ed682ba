"""Damaged run folders are refused in one line and stay as they are, as in `cortexzoo fuzz checkpoints`."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.fuzzing import run_damage
from cortexzoo.harness.fuzzing.campaign import called
from cortexzoo.harness.fuzzing.run_damage import _contents, _sum_again
from cortexzoo.harness.runs.run_folder import Run, RunFolderError
from cortexzoo.harness.studies.comparison.making import check_missing
from tests.harness.trained import train_small

QUICK = tuple(reader for reader in run_damage.READERS if reader[0] in ("monitor", "runs", "show"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_small(tmp_path_factory.mktemp("runs")).path


def _changed(file: str, **values: object) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        content = json.loads((run / file).read_text())
        (run / file).write_text(json.dumps({**content, **values}))
        _sum_again(run)

    return damage


def _endless(run: Path) -> None:
    (run / "metrics.jsonl").unlink()
    (run / "metrics.jsonl").symlink_to("/dev/zero")


def _pipe(run: Path) -> None:
    (run / "manifest.json").unlink()
    os.mkfifo(run / "manifest.json")


def _twice(run: Path) -> None:
    first, *others = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join([first, first, *others]))


def _appended(line: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        with (run / "metrics.jsonl").open("a") as file:
            file.write(line + "\n")

    return damage


def _event(run: Path) -> None:
    with (run / "events.jsonl").open("a") as file:
        file.write('{"step": 1}\n')


def _deep(run: Path) -> None:
    (run / "summary.json").write_text("[" * 100_000)


MONITOR = ("monitor", "{}", "--snapshot", os.devnull)
TRAINER = "checkpoints/last/trainer.json"
RESUME = (
    "train",
    "--resume",
    "{}",
    "--trackers=jsonl",
    "--no-check",
    "--allow-changes",
    "--set",
    "recipe.monitor.probe_every=3",
)


@pytest.mark.parametrize(
    ("damage", "command", "said"),
    [
        (_event, MONITOR, "events.jsonl: is damaged: must have a kind and a detail"),
        (_appended('{"step": "1"}'), MONITOR, "metrics.jsonl: is damaged: has no step"),
        (_endless, MONITOR, "is a link, a regular file is required"),
        (_endless, RESUME, "is a link, a regular file is required"),
        (_pipe, RESUME, "is not a regular file"),
        (_twice, RESUME, "metrics.jsonl:2: has step 1, which must be above 1"),
        (_appended('{"step": 1' + "0" * 30 + "}"), RESUME, "metrics.jsonl:13: step must be a number"),
        (_appended('{"step": 99, "train/loss": 1' + "0" * 400 + "}"), RESUME, "train/loss must be a number"),
        (_deep, RESUME, "cannot be read as JSON"),
        (_changed("summary.json", steps_taken="many"), RESUME, "is damaged: steps_taken"),
        (_changed("manifest.json", resumed=3), RESUME, "is damaged: resumed"),
        (_changed(TRAINER, position=10**18), RESUME, "is damaged: position"),
        (_changed(TRAINER, position="1"), RESUME, "is damaged: position"),
        (_changed(TRAINER, policies=[]), RESUME, "is damaged: policies"),
        (_changed("checkpoints/last/manifest.json", files=[]), RESUME, "lists no files"),
        (_changed("checkpoints/last/manifest.json", files={"../../spec.yaml": ""}), RESUME, "lists no files"),
    ],
)
def test_damage_is_named_and_left_alone(
    damage: Callable[[Path], None],
    command: tuple[str, ...],
    said: str,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / finished.parent.name / finished.name
    shutil.copytree(finished, run)
    damage(run)
    before = _contents(run)
    code = main([part.format(run) for part in command])
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert code in (2, 3) and said in line
    assert _contents(run) == before


def test_a_comparison_writes_no_verdict_into_a_run_that_it_cannot_read(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / finished.parent.name / finished.name
    shutil.copytree(finished, run)
    _twice(run)
    before = _contents(run)
    assert "verdict.json" not in before
    with pytest.raises(RunFolderError, match=r"metrics\.jsonl:2: has step 1"):
        check_missing([Run.open(finished), Run.open(run)], 1, lambda _: None)
    assert _contents(run) == before and not (finished / "verdict.json").exists()


@pytest.mark.parametrize("reader", QUICK)
def test_a_reader_reads_a_sound_run(reader: tuple[str, ...], finished: Path, tmp_path: Path) -> None:
    arguments = [part.format(run=finished, runs=tmp_path) for part in reader]
    assert called(main, arguments).code == 0


@pytest.mark.slow
def test_every_reader_reads_a_sound_run(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / finished.parent.name / finished.name
    shutil.copytree(finished, run)
    assert called(main, ["check", str(run), "--budget", "1s"]).code in (0, 1)
    other = run_damage._other(run, tmp_path / "others")
    for reader in run_damage.READERS:
        outcome = called(main, [part.format(run=run, other=other, runs=tmp_path) for part in reader])
        nothing_left = reader[0] == "train" and "nothing is left to do" in outcome.errors
        assert outcome.code in (0, 1) or nothing_left, (reader, outcome.errors)


def test_some_damaged_folders_keep_the_rules(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_damage, "READERS", QUICK)
    report = run_damage.attacked(5, 60, finished, tmp_path, main, lambda _: None)
    assert (report.cases, report.failures) == (60, [])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "has no verdict, which `compare` needs: run `cortexzoo check"),
        (["--processes", "--seed", "1"], "has no verdict"),
    ],
)
def test_a_campaign_needs_a_checked_run(
    options: list[str], said: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not (finished / "verdict.json").exists()
    assert main(["fuzz", "checkpoints", "--run", str(finished), "--cases", "1", *options]) == 2
    assert said in capsys.readouterr().err


def test_processes_are_for_campaigns_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fuzz", "edges", "--processes", "--cases", "1"]) == 2
    assert "--processes: is for specs and checkpoints; edges has processes" in capsys.readouterr().err
