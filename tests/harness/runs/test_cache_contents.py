"""The cache folder is listed, verified by its sums, and bounded: what other code made goes first, then the oldest."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.cache import cache
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.cache import CACHE_VARIABLE
from cortexzoo.zoo.ops import compiled, kernel_choice


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    for age, name in enumerate(("bases/new", "bases/old", "trained/0123456789ab/x/run/checkpoints/last")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.begin(path)
        checkpoints.write_files(path, {"model": {"weight": torch.zeros(1000)}}, {})
        checkpoints.publish(path)
        for file in path.iterdir():
            os.utime(file, (1e9 - age, 1e9 - age))
    current = cache() / "x" / "run"
    current.mkdir(parents=True)
    (current / "manifest.json").write_text("{}")
    os.utime(current / "manifest.json", (1e9 + 1, 1e9 + 1))
    return tmp_path


def listed(file: Path, *arguments: str, code: int = 0) -> dict[str, str | None]:
    assert main(["cache", *arguments, "--json", str(file)]) == code
    return {Path(entry["path"]).name: entry["state"] for entry in json.loads(file.read_text())}


def test_it_lists_and_verifies(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "list.json"
    other = {"0123456789ab": "of other code"}
    assert listed(report) == {**other, "old": None, "new": None, cache().name: None}
    assert listed(report, "--verify") == {**other, "old": "whole", "new": "whole", cache().name: "whole"}
    weights = folder / "bases" / "old" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert listed(report, "--verify", code=3)["old"] == "damaged"


def test_it_removes_what_other_code_made_then_the_oldest(folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "list.json"
    assert set(listed(report, "--prune")) == {"old", "new", cache().name}
    assert set(listed(report, "--prune", "--max-size", "0.005MB")) == {"new", cache().name}
    assert listed(report, "--prune", "--max-size", "0MB") == {}


def test_what_is_being_made_stays(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FileLock(folder / "bases" / "old.lock"):
        assert "old" in listed(tmp_path / "list.json", "--prune", "--max-size", "0MB")
    assert "kept: it is in use" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--max-size", "much"], "--max-size: must be a size as in 500MB or 20GB, got 'much'"),
        (["--list", "--prune"], "--list: cannot be combined with --prune"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", *arguments]) == 2
    assert capsys.readouterr().err.strip() == said


def test_kernels_are_listed_and_verified_as_well(folder: Path, tmp_path: Path) -> None:
    kernel = folder / "kernels" / "gated_delta-0123456789abcdef"
    kernel.mkdir(parents=True)
    (kernel / compiled.LIBRARY).write_bytes(b"code")
    digest = hashlib.sha256(b"code").hexdigest()
    (kernel / compiled.NOTE).write_text(json.dumps({"sha256": digest}))
    file = tmp_path / "listed.json"
    assert listed(file, "--verify")[kernel.name] == "whole"
    assert {entry["kind"] for entry in json.loads(file.read_text()) if entry["path"] == str(kernel)} == {"kernel"}
    (kernel / compiled.LIBRARY).write_bytes(b"other code")
    assert listed(file, "--verify", code=3)[kernel.name] == "damaged"


def test_trainings_with_compiled_kernels_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    without = cache()
    monkeypatch.setenv(kernel_choice.VARIABLE, "1")
    assert cache() != without
