"""Bubblewrap around the whole check of a module."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cortexzoo.harness.checking.modules import sandbox
from cortexzoo.harness.cli import main

MODULE = """
import os, socket
from pathlib import Path
from torch import nn

def make():
    try:
        socket.create_connection(("127.0.0.1", {port}), 2).close()
        network = True
    except OSError:
        network = False
    seen = [name for name in ("MINE", "OTHER") if name in os.environ]
    raise ValueError(f"sees {{seen}}, file {{Path({file!r}).exists()}}, network {{network}}")
"""
SUITE = "kind: suite\nname: one\nproperties:\n  determinism: {}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x", "--sandbox"), "--sandbox: needs --module"),
        (("--hf", "x", "--sandbox"), "--sandbox: needs --module"),
        (("--module", "a.py:make", "--sandbox"), "bubblewrap is not installed"),
    ],
)
def test_a_wrong_option_is_one_line(
    arguments: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", "no-such-program")
    assert main(["check", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_what_is_given_is_bound_over_what_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "runs").mkdir()
    line = sandbox.command("bwrap", [tmp_path / "mine"], [tmp_path / "runs"])
    places = [line[at : at + 3] for at in range(len(line))]
    hidden = line.index("--tmpfs", line.index("--tmpfs") + 1)
    assert ["--tmpfs", str(tmp_path)] in [place[:2] for place in places]
    for bound in (["--ro-bind", str(tmp_path / "mine")] * 1, ["--bind", str(tmp_path / "runs")]):
        assert places.index([*bound, bound[1]]) > hidden
    assert "--unshare-all" in line and "--die-with-parent" in line


def _works() -> bool:
    program = shutil.which("bwrap")
    line = [program or "", "--ro-bind", "/", "/", "--unshare-all", "--proc", "/proc", "true"]
    return program is not None and subprocess.run(line, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not _works(), reason="bubblewrap is not installed, or may not make namespaces here")
def test_in_the_sandbox_there_is_no_network_no_secret_and_no_file_of_the_user(tmp_path: Path) -> None:
    import socket

    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").touch()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "one.yaml").write_text(SUITE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = MODULE.format(port=server.getsockname()[1], file=str(tmp_path / "home" / "secret"))
        (tmp_path / "code" / "module.py").write_text(text)
        module, suite = tmp_path / "code" / "module.py", tmp_path / "code" / "one.yaml"
        done = subprocess.run(
            [
                *(sys.executable, "-W", "ignore", "-m", "cortexzoo", "check", "--module", f"{module}:make"),
                *("--suite", str(suite), "--env", "MINE", "--sandbox", "--runs", str(tmp_path / "runs")),
            ],
            env={**os.environ, "HOME": str(tmp_path / "home"), "MINE": "1", "OTHER": "2"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "sees ['MINE'], file False, network False" in done.stderr
