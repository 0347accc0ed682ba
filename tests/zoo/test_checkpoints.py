"""Checkpoint folders: whole or not at all, summed, without code, and exact for shared and empty tensors."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.checkpoints import CheckpointReader, load_weights
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.state import snapshot
from tests.zoo.training.tiny import same_tensors, tiny_data, tiny_model, tiny_spec, weights

WRITES = 10
"""fsync calls of one save: seven files with shared tensors' names, manifest, and two folders; the last comes after the
new checkpoint has taken its place."""


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    trainer(steps=7).save(tmp_path / "last")
    return tmp_path / "last"


def trainer(seed: int = 0, **recipe: object) -> TrainingLoop:
    made = TrainingLoop(tiny_model(), tiny_spec(seed, **recipe), tiny_data())
    made.run()
    return made


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "a": base, "tied": base, "transposed": base.t(), "row": base[1], "scalar": torch.tensor(3),
        "empty": torch.zeros(2, 0, 3), "also_empty": torch.zeros(2, 0, 3), "flags": base > 3, "half": base.bfloat16(),
    }  # fmt: skip
    folder = tmp_path / "x"
    checkpoints.begin(folder)
    checkpoints.write_files(folder, {"some": tensors}, {"text": {"a": [1, None]}})
    checkpoints.publish(folder)
    reader = CheckpointReader(folder)
    assert same_tensors(reader.tensors("some"), tensors)
    assert reader.json("text") == {"a": [1, None]}
    assert reader.tensors("some")["half"].dtype == torch.bfloat16
    size = (folder / "some.safetensors").stat().st_size
    assert size < 1500, "tied tensors are stored once"


def test_the_folder_holds_safetensors_and_json_only(saved: Path) -> None:
    names = sorted(path.name for path in saved.iterdir())
    assert names == [
        "manifest.json", "memory.safetensors", "model.safetensors", "model.shared.json", "optimizer.safetensors",
        "policy-recovery.safetensors", "rng.safetensors", "trainer.json",
    ]  # fmt: skip
    assert [path.name for path in saved.parent.iterdir()] == ["last"]


def test_weights_go_into_a_fresh_model(saved: Path) -> None:
    model = tiny_model(seed=5)
    load_weights(model, saved)
    assert same_tensors(weights(model), weights(trainer(steps=7).model))
    assert model.head.weight is model.embedding.weight
    assert snapshot.load_memory(model, saved).sizes() == {"stm": 1, "ltm": 8}


@pytest.mark.parametrize("damage", ["flip", "truncate"])
@pytest.mark.parametrize("file", ["model.safetensors", "memory.safetensors", "optimizer.safetensors", "trainer.json"])
def test_a_damaged_file_is_named_and_nothing_is_loaded(saved: Path, file: str, damage: str) -> None:
    content = bytearray((saved / file).read_bytes())
    content[-1] ^= 1
    (saved / file).write_bytes(content if damage == "flip" else content[:-1])
    fresh = TrainingLoop(tiny_model(seed=3), tiny_spec(steps=7), tiny_data())
    before = weights(fresh.model)
    with pytest.raises(
        CheckpointError, match=rf"last/{file}: is damaged: its sha256 is .+, manifest\.json states"
    ) as raised:
        fresh.load(saved)
    assert "\n" not in str(raised.value)
    assert same_tensors(weights(fresh.model), before)
    assert fresh.position == 0


def test_what_is_no_checkpoint_is_named(saved: Path, tmp_path: Path) -> None:
    model = tiny_model()
    with pytest.raises(CheckpointError, match=r"nowhere: is no checkpoint: manifest\.json is missing"):
        load_weights(model, tmp_path / "nowhere")
    (saved / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read: No such file"):
        load_weights(model, saved)
    manifest = json.loads((saved / "manifest.json").read_text())
    del manifest["files"]["memory.safetensors"]
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"last: memory\.safetensors is missing"):
        snapshot.load_memory(model, saved)
    (saved / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    with pytest.raises(CheckpointError, match="format 1 is required, got 2"):
        load_weights(model, saved)
    for text, message in (("{", "is not JSON"), ("[]", "lists no files")):
        (saved / "manifest.json").write_text(text)
        with pytest.raises(CheckpointError, match=message):
            load_weights(model, saved)


def test_weights_of_another_model_are_refused(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"embedding\.weight must be \[100, 6\], got \[256, 6\]"):
        load_weights(tiny_model(vocab_size=100), saved)
    with pytest.raises(CheckpointError, match="only the model has bias"):
        load_weights(torch.nn.Linear(2, 2), saved)


def test_a_checkpoint_of_another_run_is_refused(saved: Path) -> None:
    for other, key in (
        (TrainingLoop(tiny_model(), tiny_spec(seed=1, steps=7), tiny_data()), "experiment"),
        (TrainingLoop(tiny_model(), tiny_spec(steps=7), tiny_data(1999)), "data"),
    ):
        with pytest.raises(CheckpointError, match=f"belongs to another run: {key} must be"):
            other.load(saved)


def test_a_checkpoint_of_another_layout_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(snapshot, "LAYOUT", None)
    trainer(steps=7).save(tmp_path / "old")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"old: has layout None, written by another version of cortexzoo"):
        TrainingLoop(tiny_model(), tiny_spec(steps=7), tiny_data()).load(tmp_path / "old")


def test_a_folder_that_is_no_checkpoint_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match="exists and is no checkpoint, so it is not replaced"):
        TrainingLoop(tiny_model(), tiny_spec(), tiny_data()).save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"last: cannot be written: (Not a directory|File exists)"):
        TrainingLoop(tiny_model(), tiny_spec(), tiny_data()).save(tmp_path / "file" / "last")


@pytest.mark.parametrize("failing", range(WRITES))
def test_a_full_disk_leaves_the_last_good_checkpoint(
    saved: Path, failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = {path.name: path.read_bytes() for path in saved.iterdir()}
    later = trainer(steps=12)
    calls = iter(range(WRITES))
    synchronise = os.fsync

    def fsync(descriptor: int) -> None:
        if next(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        synchronise(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(CheckpointError) as raised:
        later.save(saved)
    assert str(raised.value) == f"{saved}: cannot be written: No space left on device"
    monkeypatch.undo()
    if failing < WRITES - 1:
        assert {path.name: path.read_bytes() for path in saved.iterdir()} == good
        assert [path.name for path in saved.parent.iterdir()] == ["last"]
    load_weights(tiny_model(), saved)
    later.save(saved)
    assert CheckpointReader(saved).json("trainer")["position"] == 12


def test_a_real_limit_on_file_size_is_one_clear_line(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    unsaved = TrainingLoop(tiny_model(), tiny_spec(), tiny_data())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(CheckpointError) as raised:
            unsaved.save(tmp_path / "last")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(raised.value) == f"{tmp_path}/last: cannot be written: File too large"
    assert list(tmp_path.iterdir()) == []


def test_a_failed_swap_keeps_the_checkpoint_before(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def move(self: Path, target: Path) -> Path:
        if self.name == ".last.partial":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", move)
    with pytest.raises(CheckpointError, match="cannot be written: Input/output error"):
        trainer(steps=12).save(saved)
    assert CheckpointReader(saved).json("trainer")["position"] == 7


def test_the_one_before_can_be_kept_and_old_ones_pruned(tmp_path: Path) -> None:
    made = trainer(steps=2)
    made.save(tmp_path / "last")
    for step in (4, 6, 8):
        made.save(tmp_path / "last", tmp_path / f"step-{step - 2:08d}")
    (tmp_path / "step-notes").mkdir()
    for enough in (3, 4, 5, 6, 7):
        checkpoints.prune(tmp_path, "step-", enough)
        assert all(checkpoints.exists(tmp_path / f"step-{step:08d}") for step in (2, 4, 6)), enough
    checkpoints.prune(tmp_path, "step-", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "step-00000006", "step-notes"]
    checkpoints.prune(tmp_path, "step-", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last", "step-notes"]


def test_a_swap_that_was_cut_short_still_has_the_checkpoint_before(saved: Path) -> None:
    saved.rename(saved.with_name(".last.previous"))
    load_weights(tiny_model(), saved)
    later = trainer(steps=12)
    later.save(saved)
    assert CheckpointReader(saved).json("trainer")["position"] == 12
    assert [path.name for path in saved.parent.iterdir()] == ["last"]
