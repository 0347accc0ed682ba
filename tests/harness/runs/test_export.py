"""An exported model loads to the same bits, says what it is, and shows when it was edited."""

from pathlib import Path

import pytest
import torch

from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.export import CARD, export
from cortexzoo.harness.runs.run_folder import Run, RunFolderError
from cortexzoo.zoo import load_exported
from cortexzoo.zoo.errors import CheckpointError
from tests.harness.trained import train_small


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_small(tmp_path_factory.mktemp("runs"), "description=<script>alert(1)</script>")


def test_what_is_loaded_gives_the_same_logits(run: Run, tmp_path: Path) -> None:
    expected, memory = run.load_model("best")
    model, state = load_exported(export(run, tmp_path / "shared"))
    tokens = torch.randint(256, (1, 50), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model(tokens, state).logits, expected(tokens, expected.between_batches(memory, 1)).logits)
    assert not model.training
    assert state.sizes()["ltm"] > 0, "the memory came along"


def test_the_card_holds_the_command_the_loader_and_no_markup_of_others(run: Run, tmp_path: Path) -> None:
    text = (export(run, tmp_path / "shared") / CARD).read_text()
    assert "load_exported(" in text
    assert "No property was checked" in text
    assert run.spec.hash() in text
    assert "<script>" not in text


@pytest.mark.parametrize("file", ["model.safetensors", "variant.yaml", "README.md"])
def test_an_edited_file_is_named(file: str, run: Run, tmp_path: Path) -> None:
    folder = export(run, tmp_path / "shared")
    content = bytearray((folder / file).read_bytes())
    content[-1] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{file}: is damaged"):
        load_exported(folder)


def test_a_folder_that_holds_something_else_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="so it is not replaced"):
        export(run, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(RunFolderError, match="no such checkpoint"):
        export(run, tmp_path / "new", "step-7")
    assert not (tmp_path / "new").exists()


def test_the_command_writes_and_replaces(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["export", str(run.path), str(tmp_path / "out")]) == 0
        assert capsys.readouterr().out.strip() == f"wrote {tmp_path / 'out'}"


def test_uploading_without_an_account_is_one_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_TOKEN", "")
    assert main(["export", str(run.path), str(tmp_path / "out"), "--push", "me/model"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("--push me/model: not uploaded")
