"""With a key in CORTEXZOO_KEY_FILE, what was written or changed without it is refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.fuzzing.run_damage import _sum_again
from cortexzoo.harness.runs.run_folder import Run, RunFolderError
from cortexzoo.zoo import keyed
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.errors import CheckpointError, SetupError
from tests.harness.trained import train_small

WRONG = "its keyed sum is wrong"
MISSING = "has no keyed sum"


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "key"
    file.write_bytes(bytes(range(32)))
    file.chmod(0o600)
    return file


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(keyed.VARIABLE, str(key))
        return train_small(tmp_path_factory.mktemp("runs")).path


@pytest.fixture
def run(trained: Path, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(keyed.VARIABLE, str(key))
    copy = tmp_path / trained.parent.name / trained.name
    shutil.copytree(trained, copy)
    return copy


def _json(file: str, change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        content = json.loads((run / file).read_text())
        change(content)
        (run / file).write_text(json.dumps(content))

    return damage


def _weights(run: Path) -> None:
    file = run / "checkpoints/last/model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    _sum_again(run)


def _spec(run: Path) -> None:
    text = (run / "spec.yaml").read_text()
    (run / "spec.yaml").write_text(text.replace("seed: 0", "seed: 1", 1))


def _spec_without_sum(run: Path) -> None:
    lines = (run / "spec.yaml").read_text().splitlines(keepends=True)
    (run / "spec.yaml").write_text("".join(lines[:-1]))


def _spec_from_elsewhere(run: Path) -> None:
    """A good sum, of another kind of file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(keyed.VARIABLE, str(run / "key"))
        (run / "key").write_bytes(b"x" * 32)
        (run / "key").chmod(0o600)
        (run / "spec.yaml").write_text(keyed.signed_text("spec.yaml", (run / "spec.yaml").read_text()))


def _linked(run: Path) -> None:
    (run / "spec.yaml").rename(run / "real.yaml")
    (run / "spec.yaml").symlink_to(run / "real.yaml")


def _manifest_of_a_checkpoint(run: Path) -> None:
    shutil.copyfile(run / "checkpoints/last/manifest.json", run / "manifest.json")


@pytest.mark.parametrize(
    ("damage", "file", "said"),
    [
        (_weights, "checkpoints/last/manifest.json", WRONG),
        (_json("checkpoints/last/manifest.json", lambda c: c.pop("keyed")), "last/manifest.json", MISSING),
        (_json("checkpoints/last/manifest.json", lambda c: c.update(keyed=None)), "last/manifest.json", MISSING),
        (_json("checkpoints/last/manifest.json", lambda c: c.update(keyed=["é"])), "last/manifest.json", WRONG),
        (_json("checkpoints/last/manifest.json", lambda c: c.update(keyed="\ud800")), "last/manifest.json", WRONG),
        (_json("manifest.json", lambda c: c.update(threads=7)), "manifest.json", WRONG),
        (_json("summary.json", lambda c: c.pop("keyed")), "summary.json", MISSING),
        (_manifest_of_a_checkpoint, "manifest.json", WRONG),
        (_spec, "spec.yaml", WRONG),
        (_linked, "spec.yaml", "is a link"),
        (_spec_without_sum, "spec.yaml", MISSING),
        (_spec_from_elsewhere, "spec.yaml", WRONG),
    ],
)
def test_a_resume_refuses_what_was_changed_without_the_key(
    damage: Callable[[Path], None], file: str, said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(run)
    more = ("--allow-changes", "--set", "recipe.steps=14")
    assert main(["train", "--resume", str(run), "--trackers=jsonl", "--no-check", *more]) in (2, 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert file in line and said in line


def test_with_the_key_a_run_is_resumed_and_stays_signed(run: Path) -> None:
    more = ("--allow-changes", "--set", "recipe.steps=14")
    assert main(["train", "--resume", str(run), "--trackers=jsonl", "--no-check", *more]) == 0
    again = Run.open(run)
    assert again.finished and again.spec.recipe.steps == 14 and keyed.FIELD not in again.manifest
    assert "keyed" in json.loads((run / "summary.json").read_text())
    again.load_model()


def test_a_parsed_spec_without_the_key_is_not_used(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _json(".spec.json", lambda c: c.update(spec=str(c["spec"]).replace('"seed":0', '"seed":5')))(run)
    assert Run.open(run).spec.seed == 0
    monkeypatch.delenv(keyed.VARIABLE)
    assert Run.open(run).spec.seed == 5, "without the key this file is taken as it is"


def test_without_the_key_the_sums_are_not_looked_at(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keyed.VARIABLE)
    _json("manifest.json", lambda c: c.update(keyed="0"))(run)
    assert Run.open(run).manifest["seed"] == 0
    Run.open(run).write_json("manifest.json", Run.open(run).manifest)
    assert "keyed" not in json.loads((run / "manifest.json").read_text())
    Run.open(run).load_model()


def test_another_key_opens_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"1" * 32)
    other.chmod(0o600)
    monkeypatch.setenv(keyed.VARIABLE, str(other))
    with pytest.raises(RunFolderError, match=WRONG):
        Run.open(run).spec  # noqa: B018 - reads the file
    with pytest.raises(CheckpointError, match=WRONG):
        CheckpointReader(run / "checkpoints/last")


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [(b"short", 0o600, "must have 32 to 4096 bytes"), (b"x" * 32, 0o644, "chmod 600"), (None, 0, "cannot be read")],
)
def test_a_bad_key_is_named(
    content: bytes | None, mode: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    monkeypatch.setenv(keyed.VARIABLE, str(file))
    with pytest.raises(SetupError, match=said):
        keyed.signed("a", {})


MODULE = """
import torch

def make():
    return torch.nn.Embedding(16, 4)
"""


@pytest.mark.slow
def test_the_certificate_of_a_module_has_its_sum_too(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(keyed.VARIABLE, str(key))
    (tmp_path / "plain.py").write_text(MODULE)
    module = f"{tmp_path / 'plain.py'}:make"
    assert main(["check", "--module", module, "--budget", "5s", "--runs", str(tmp_path / "runs")]) in (0, 1)
    certificate = next((tmp_path / "runs").rglob("verdict.json"))
    assert main(["diff-certificates", str(certificate), str(certificate)]) == 0
    content = json.loads(certificate.read_text())
    for name, changed in (("sum", {**content, "format": content["format"], "more": 1}), ("no sum", dict(content))):
        if name == "no sum":
            del changed[keyed.FIELD]
        certificate.write_text(json.dumps(changed))
        for command in (["replay", str(certificate), "--property", "causality"], ["badge", str(certificate), "b.svg"]):
            capsys.readouterr()
            assert main(command) == 2
            assert (MISSING if name == "no sum" else WRONG) in capsys.readouterr().err
    monkeypatch.delenv(keyed.VARIABLE)
    assert main(["diff-certificates", str(certificate), str(certificate)]) == 0
