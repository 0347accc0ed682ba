"""What the run commands print, write and end with, called as the installed command calls them."""

import json
import re
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from cortexzoo.harness import cli
from cortexzoo.harness.cli import evaluate_command, main
from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, Run
from cortexzoo.harness.tracking.jsonl import JsonlSink
from tests.harness.trained import FEW, SMALL, small, train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_small(tmp_path_factory.mktemp("runs"), FEW)


@pytest.fixture
def runs(run: Run) -> Path:
    return run.path.parent.parent


def copied(run: Run, runs: Path) -> Run:
    """The same run in another folder, to be changed."""
    return Run.open(Path(shutil.copytree(run.path, runs / run.path.parent.name / run.path.name)))


def train(runs: Path, *arguments: str) -> int:
    changes = [part for change in (*SMALL, FEW) for part in ("--set", change)]
    return main(["train", "cortexgpt-stable", *changes, "--runs", str(runs), "--trackers=jsonl", *arguments])


def only_run(runs: Path) -> Run:
    (folder,) = (runs / "cortexgpt-stable").iterdir()
    return Run.open(folder)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line on standard error, which nothing but progress may precede."""
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("step ")]
    assert len(lines) == 1, lines
    return lines[0]


def test_train_prints_the_run_the_result_and_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    assert train(tmp_path / "runs", "--seed", "7", "--json", str(report)) == 1
    output = capsys.readouterr()
    run = only_run(tmp_path / "runs")
    assert run.spec.seed == 7
    assert f"run folder: {run.path}" in output.out
    assert "bytes at a time reaches" in output.out and "not below it" in output.out
    assert re.search(r"better_than_counting +fail !", output.out)
    assert "better_than_counting is fail instead of pass" in output.out
    assert f"cortexzoo generate {run.path}" in output.out
    content = json.loads(report.read_text())
    assert content["outcome"] == "unexpected"
    assert content["folder"] == str(run.path)
    assert content["summary"]["bigram_loss"] == run.summary["bigram_loss"]
    assert content["properties"]["causality"]["verdict"] == "pass"


def test_the_exit_code_follows_the_suites_expectation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expectation = "suite.properties.better_than_counting.expect=fail"
    assert train(tmp_path, "--set", expectation) == 0
    assert "All verdicts as expected." in capsys.readouterr().out


def test_without_check_there_is_no_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(tmp_path, "--no-check") == 0
    run = only_run(tmp_path)
    assert "verdict" not in run.summary
    assert f"next: cortexzoo check {run.path}" in capsys.readouterr().out


def test_check_takes_a_run_folder(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(run.path), "--checkpoint", "last"]) == 1
    told = capsys.readouterr().out
    verdicts = [judgement.verdict for judgement in run.certificate.judgements]
    assert f"{verdicts.count('pass')} of {len(verdicts) - verdicts.count('skipped')} properties hold" in told
    assert "not applicable: " in told and "padding_changes_nothing" in told
    assert run.certificate.circumstances["checkpoint"] == "last"


def test_check_of_a_name_takes_the_run_that_is_there(run: Run, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = [part for change in (*SMALL, FEW) for part in ("--set", change)]
    assert main(["check", "cortexgpt-stable", *changes, "--runs", str(runs), "--trackers=jsonl"]) == 1
    assert "training it first" not in capsys.readouterr().out
    assert only_run(runs).path == run.path


def test_check_of_a_name_trains_when_no_run_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = [part for change in (*SMALL, FEW) for part in ("--set", change)]
    assert main(["check", "cortexgpt-stable", *changes, "--runs", str(tmp_path), "--trackers=jsonl"]) == 1
    assert f"no finished run of cortexgpt-stable with spec hash {small(FEW).hash()}" in capsys.readouterr().out
    assert only_run(tmp_path).finished


def test_generate_prints_text_that_begins_with_the_prompt(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", str(run.path), "--prompt", "Größe ", "--tokens", "30", "--seed", "3"]
    assert main(command) == 0
    first = capsys.readouterr().out
    assert first.startswith("Größe ")
    assert main(command) == 0
    assert capsys.readouterr().out == first
    assert main([*command[:-1], "4"]) == 0
    assert capsys.readouterr().out != first


def test_generate_reads_a_file_before_the_prompt(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "long.txt"
    file.write_text("The class is open. " * 10)
    command = ["generate", str(run.path), "--tokens", "20", "--temperature", "0"]
    assert main([*command, "--prompt-file", str(file), "--prompt", "A class "]) == 0
    after_file = capsys.readouterr().out
    assert main([*command, "--prompt", file.read_text() + "A class "]) == 0
    assert capsys.readouterr().out == file.read_text() + after_file
    assert main([*command, "--prompt-file", str(file)]) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "RUNS/nothing/here"], "nothing/here: no such run folder"),
        (["check", "RUNS"], "RUNS: not a run folder: it has no spec.yaml"),
        (["check", "no-such-name"], "no-such-name"),
        (["check", "RUN", "--seed", "1"], "a run is checked with the spec of its training: remove seed=1"),
        (["check", "RUN", "--budget", "soon"], "--budget: must be a time above 0, as in 60s, 2m or 1h, got 'soon'"),
        (["check", "RUN", "--profile", "fast"], "'fast' is not one of"),
        (["check", "RUN", "--checkpoint", "worst"], "--checkpoint: must be best or last, got 'worst'"),
        (["check", "RUN", "--json", "RUNS/none/x.json"], "no such folder"),
        (["generate", "RUNS/nothing", "--prompt", "a"], "nothing: no such run folder"),
        (["generate", "RUN", "--prompt", ""], "--prompt: must contain at least one byte, got none"),
        (["generate", "RUN"], "--prompt TEXT or --prompt-file FILE: at least one of them is required"),
        (["generate", "RUN", "--prompt-file", "RUNS/none"], "RUNS/none: cannot be read: No such file or directory"),
        (["generate", "RUN", "--prompt", "a", "--top-k", "0"], "--top-k"),
        (["train", "cortexgpt-stabel"], "cortexgpt-stable"),
        (["train", "cortexgpt-stable", "--runs", "FILE/below"], "no run can be written here"),
        (["train", "cortexgpt-stable", "--set", "recipe.sequence_length=999999", "--runs", "RUNS"], "sequence_length"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    run: Run, runs: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    places = {"RUNS": str(runs), "FILE": str(run.path / "spec.yaml")}
    filled = [str(run.path) if part == "RUN" else part for part in arguments]
    for name, place in places.items():
        filled = [part.replace(name, place) for part in filled]
    before = sorted(runs.rglob("*"))
    assert main(filled) == 2
    assert message.replace("RUNS", str(runs)) in one_line(capsys)
    assert sorted(runs.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--limit", "3"], "--limit needs --tasks NAME"),
        (["--tasks", "x", "--write"], "--tasks goes with neither --part, --disable nor --write"),
        (["--tasks", "x"], '--tasks needs lm-evaluation-harness: pip install "cortexzoo[evaluate]"'),
    ],
)
def test_evaluation_on_tasks_that_cannot_be_is_one_line(
    arguments: list[str], line: str, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluate_command, "find_spec", lambda _: None)
    assert main(["evaluate", str(run.path), *arguments]) == 2
    assert one_line(capsys) == line


def test_tasks_of_ones_own_need_permission(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CORTEXZOO_CONFIG", str(tmp_path / "config"))
    monkeypatch.setattr(evaluate_command, "find_spec", lambda _: True)
    assert main(["evaluate", str(run.path), "--tasks", "x", "--tasks-from", str(tmp_path)]) == 2
    assert "such tasks can contain code, which runs with --allow-code only" in one_line(capsys)


def test_a_damaged_checkpoint_is_told_in_one_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copied(run, tmp_path)
    weights = run.path / CHECKPOINTS / "best" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert main(["check", str(run.path)]) == 2
    assert "model.safetensors: is damaged" in one_line(capsys)
    weights.write_bytes(content[: len(content) // 2])
    assert main(["generate", str(run.path), "--prompt", "a"]) == 2
    assert "model.safetensors: is damaged" in one_line(capsys)


def test_a_model_that_is_not_finite_generates_one_line(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Run.load_model

    def broken(self: Run, *arguments: Any) -> Any:
        model, state = real(self, *arguments)
        torch.nn.init.constant_(next(model.parameters()), torch.nan)
        return model, state

    monkeypatch.setattr(Run, "load_model", broken)
    assert main(["generate", str(run.path), "--prompt", "a"]) == 3
    assert one_line(capsys).strip() == "no token can be chosen: the model's logits are not finite"


def test_a_full_disk_ends_with_3_and_keeps_the_last_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = JsonlSink.metrics

    def full(self: JsonlSink, step: int, values: Mapping[str, float]) -> None:
        if step == 7:
            raise RunStopped("metrics.jsonl: cannot be written: No space left on device")
        real(self, step, values)

    monkeypatch.setattr(JsonlSink, "metrics", full)
    assert train(tmp_path) == 3
    assert "No space left on device" in one_line(capsys)
    assert main(["generate", str(only_run(tmp_path).path), "--prompt", "a", "--checkpoint", "last"]) == 0


def test_ctrl_c_ends_with_130_after_saving(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = JsonlSink.metrics

    def interrupting(self: JsonlSink, step: int, values: Mapping[str, float]) -> None:
        real(self, step, values)
        if step == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(JsonlSink, "metrics", interrupting)
    assert train(tmp_path) == 130
    run = only_run(tmp_path)
    line = f"interrupted after step 5, saved; continue with: cortexzoo train --resume {run.path}"
    assert one_line(capsys) == line
    assert main(["generate", str(run.path), "--prompt", "a", "--checkpoint", "last"]) == 0


def test_a_killed_run_resumes_and_a_finished_one_does_not(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(run, tmp_path / "runs")
    (run.path / "summary.json").unlink()
    whole = run.metrics()
    assert train(tmp_path / "runs", "--no-check", "--resume", str(run.path)) == 0
    assert f"resuming at step 12: {run.path}" in capsys.readouterr().out
    assert run.metrics() == whole
    assert train(tmp_path / "runs", "--no-check", "--resume", str(run.path)) == 2
    assert one_line(capsys) == f"{run.path}: has taken all its 12 steps, nothing is left to do"


def test_resume_alone_takes_the_spec_of_the_run(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = copied(run, tmp_path / "runs")
    (run.path / "summary.json").unlink()
    alone = ["train", "--trackers=jsonl", "--no-check", "--runs", str(tmp_path / "runs"), "--resume"]
    assert main([*alone, "latest"]) == 0
    assert f"resuming at step 12: {run.path}" in capsys.readouterr().out
    assert run.summary["spec_hash"] == run.spec.hash()
    assert main([*alone, str(run.path), "--set", "recipe.steps=14"]) == 2
    assert "was trained with another spec: recipe.steps (12, now 14)" in one_line(capsys)
    assert main([*alone, "latest", "--set", "recipe.steps=14", "--allow-changes"]) == 0
    assert run.summary["steps_taken"] == 14


def test_latest_is_the_newest_run(run: Run, runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in (f"{runs}/latest", f"{run.path.parent}/latest"):
        assert main(["generate", name, "--prompt", "a", "--tokens", "1"]) == 0
    capsys.readouterr()
    assert main(["generate", f"{tmp_path}/latest", "--prompt", "a"]) == 2
    assert one_line(capsys) == f"{tmp_path}/latest: there is no run in {tmp_path}"


def test_runs_are_listed_and_shown(run: Run, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def listed(*arguments: str) -> list[dict[str, Any]]:
        file = tmp_path / "runs.json"
        assert main(["runs", "--runs", str(runs), "--json", str(file), *arguments]) == 0
        rows: list[dict[str, Any]] = json.loads(file.read_text())
        return rows

    assert [(row["path"], row["status"], row["steps"]) for row in listed("cortexgpt-stable")] == [
        (str(run.path), "finished", 12)
    ]
    assert listed("transformer") == listed("--status", "unfinished") == []
    assert main(["check", f"{runs}/latest"]) == 1
    assert [row["outcome"] for row in listed("--verdict", "unexpected")] == ["unexpected"]
    assert listed("--verdict", "as-expected") == []
    capsys.readouterr()
    assert main(["show", f"{runs}/latest"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"^status +finished$", output, re.MULTILINE)
    assert "best, last" in output and "better_than_counting" in output
    assert main(["show", str(run.path), "--seed", "1"]) == 2
    assert one_line(capsys) == f"{run.path} is a run: only --json can be combined with it"
    assert main(["runs", "--runs", f"{runs}/none"]) == 2


def test_train_needs_something_to_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train"]) == 2
    assert one_line(capsys) == "train needs an experiment (see `cortexzoo list experiment`) or --resume RUN"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--resume", "nowhere"], "nowhere: no such run folder"),
        (["--allow-changes"], "--allow-changes requires --resume RUN"),
        (["--checkpoint", "step-00000004"], "--checkpoint requires --resume RUN"),
        (
            ["--resume", "a/b/c", "--checkpoint", "best"],
            "--checkpoint: must be last or step- and eight digits with --resume, got 'best'",
        ),
    ],
)
def test_a_resume_that_cannot_be_is_one_line(
    tmp_path: Path, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "cortexgpt-stable", "--trackers=jsonl", *arguments]) == 2
    assert one_line(capsys) == line
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_and_another_spec_end_with_two(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    runs = run.path.parent.parent
    assert train(runs, "--resume", str(run.path), "--seed", "9") == 2
    assert one_line(capsys).startswith(f"{run.path}: was trained with another spec: seed (0, now 9) (--allow-changes")
    file = run.path / CHECKPOINTS / "last" / "memory.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    try:
        assert train(runs, "--resume", str(run.path), "--set", "recipe.steps=14", "--allow-changes") == 2
        assert one_line(capsys).startswith(f"{file}: is damaged: its sha256 is ")
    finally:
        file.write_bytes(content)


def test_ctrl_c_that_cuts_an_import_short_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def cut_short(**options: object) -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise RecursionError("half of a library is there")

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli, "app", lambda *arguments, **options: cut_short())
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(signal.SIGINT) is before
