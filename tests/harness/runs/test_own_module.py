"""A run of a module from a file of the user's: kept with its code, resumed exactly, never run without permission."""

import json
import multiprocessing
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.options import RunOptions
from cortexzoo.harness.runs.resume import resume_run
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import train_run
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.specs import ExperimentSpec, allowed_code, load_experiment
from cortexzoo.zoo import load_exported
from cortexzoo.zoo.models.own_source import CODE, copies

MODELS = Path(__file__).parents[2] / "zoo" / "models" / "own_models.py"
SMALL = (
    "recipe={extends: robust, steps: 8, batch_size: 2, sequence_length: 16}",
    "recipe.monitor.validate_every=4",
    "recipe.monitor.validation_sequences=2",
    "recipe.monitor.checkpoint_every=4",
    "recipe.sleep={kind: generated, every: 4, steps: 1, batch_size: 2, length: 8}",
)


@pytest.fixture(scope="module", autouse=True)
def allowed() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(allowed_code.VARIABLE, "1")
        patch.setattr(allowed_code, "_INHERITED", "1")
        yield


def experiment_in(folder: Path) -> ExperimentSpec:
    (folder / "mine.py").write_text(MODELS.read_text())
    (folder / "mine.yaml").write_text(
        "kind: experiment\nname: mine\nextends: transformer\nsuite: own-variant\n"
        "variant: {family: module, name: carried, source: 'mine.py:carried', arguments: {width: 6}}\n"
    )
    return load_experiment(str(folder / "mine.yaml"), SMALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return train_run(experiment_in(folder), folder / "runs", RunOptions(trackers=(), warn=pytest.fail))


def test_it_trains_and_sleeps(run: Run) -> None:
    assert run.summary["status"] == "finished"
    assert run.summary["parameters"] == 256 * 6 + 2 * (18 * 6 + 18) + 7 * 256
    assert [event["kind"] for event in run.events()].count("sleep") == 2


def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(run: Run, folder: Path, tmp_path: Path) -> None:
    class Deadly(JsonlSink):
        def metrics(self, at: int, values: Mapping[str, float]) -> None:
            if at == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            super().metrics(at, values)

    def die() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cortexzoo.harness.runs.train.JsonlSink", Deadly)
            train_run(run.spec, tmp_path, RunOptions(trackers=()))

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    (begun,) = (tmp_path / "mine").iterdir()
    resumed = resume_run(begun, Run.open(begun).spec, options=RunOptions(trackers=(), warn=pytest.fail))
    assert resumed.summary["test_loss"] == run.summary["test_loss"]
    whole, continued = run.load_model("last"), resumed.load_model("last")
    assert all(torch.equal(a, b) for a, b in zip(whole[0].parameters(), continued[0].parameters(), strict=True))


def test_the_hash_follows_the_file(tmp_path: Path) -> None:
    before = experiment_in(tmp_path)
    (tmp_path / "mine.py").write_text(MODELS.read_text() + "\n# changed\n")
    assert load_experiment(str(tmp_path / "mine.yaml"), SMALL).hash() != before.hash()


def test_the_copy_counts_when_the_file_has_changed(tmp_path: Path) -> None:
    run = train_run(experiment_in(tmp_path), tmp_path / "runs", RunOptions(trackers=(), warn=pytest.fail))
    assert main(["export", str(run.path), str(tmp_path / "out"), "--allow-code"]) == 0
    copies.clear()
    (tmp_path / "mine.py").unlink()
    assert (run.path / CODE).read_text() == MODELS.read_text()
    model, _ = Run.open(run.path).load_model()
    copies.clear()
    exported, memory = load_exported(tmp_path / "out")
    tokens = torch.zeros(1, 3, dtype=torch.long)
    assert torch.equal(exported(tokens, memory).logits, model(tokens).logits)


def test_without_permission_nothing_runs(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(allowed_code, "_INHERITED", None)
    monkeypatch.setenv("CORTEXZOO_CONFIG", str(folder / "config"))
    generate = ["generate", str(run.path), "--prompt", "x", "--tokens", "1"]
    assert main([*generate, "--allow-code"]) == 0
    capsys.readouterr()
    train = ["train", str(folder / "mine.yaml"), "--runs", str(folder / "others")]
    for command in (train, generate, ["show", str(folder / "mine.yaml")]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "mine.py:carried is code of its own, which runs with --allow-code only" in line
    assert not (folder / "others").exists()
    assert main(["validate", str(folder / "mine.yaml")]) == 0, "reading runs nothing"
    assert main(["allow-code", str(folder)]) == 0
    assert main(generate) == 0
    assert main(["allow-code", str(folder), "--forget"]) == 0
    assert main(generate) == 2
    assert json.loads((folder / "config" / "allowed-code.json").read_text()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--forget"], "--forget needs the folder"),
        (["nowhere"], "nowhere: no such folder"),
        ([".", "--forget"], "is not an allowed folder"),
    ],
)
def test_what_cannot_be_allowed(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CORTEXZOO_CONFIG", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["allow-code", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_an_error_in_the_users_code_names_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment_in(tmp_path)
    late = "class Late(Windowed):\n    def forward(self, tokens):\n        if self.training and tokens.shape[1] > 2:\n"
    late += "            raise KeyError('late')\n        return super().forward(tokens)\n"
    late += "\n\ndef make():\n    return Late(4, 64)\n"
    (tmp_path / "mine.py").write_text(MODELS.read_text() + late)
    (tmp_path / "late.yaml").write_text((tmp_path / "mine.yaml").read_text().replace(
        "'mine.py:carried', arguments: {width: 6}", "'mine.py:make'"
    ))  # fmt: skip
    code = main([
        "train", str(tmp_path / "late.yaml"), "--set", "recipe.steps=1", "--allow-code", "--no-check",
        "--trackers", "jsonl", "--runs", str(tmp_path / "runs"),
    ])  # fmt: skip
    assert code == 2
    assert re.search(r"mine.py:\d+: raised KeyError: 'late'$", capsys.readouterr().err)
