"""Killed and resumed, or on a disk that fails: the run ends bit by bit as an undisturbed one."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.fuzzing import disk, kills
from cortexzoo.harness.fuzzing.killing import failing_from, in_a_process, until_call


def _writes(folder: Path) -> None:
    (folder / "a").mkdir()
    os.rename(folder / "a", folder / "b")
    (folder / "c").mkdir()


def test_a_process_dies_right_before_its_call(tmp_path: Path) -> None:
    assert in_a_process(until_call, 2, ("mkdir", "rename"), _writes, tmp_path) == -9
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_calls_fail_from_one_of_them_on(tmp_path: Path) -> None:
    def target(folder: Path) -> None:
        for name in ("a", "b", "c"):
            try:
                (folder / name).mkdir()
            except OSError as problem:
                (folder.parent / f"{folder.name}-{name}-{problem.errno}").touch()

    folder = tmp_path / "x"
    folder.mkdir()
    assert in_a_process(failing_from, 2, errno.ENOSPC, ("mkdir",), target, folder) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", f"x-b-{errno.ENOSPC}", f"x-c-{errno.ENOSPC}"]


def test_without_descriptors_a_command_ends_in_one_line(tmp_path: Path) -> None:
    def command(arguments: Sequence[str]) -> int:
        return main(list(arguments))

    words = tmp_path / "words"
    assert in_a_process(disk.limited, "RLIMIT_NOFILE", 5, words, command, ["show", "robust"]) == 3
    (line,) = words.read_text().splitlines()
    assert "Too many open files" in line


@pytest.mark.slow
def test_a_few_kills_and_disks_break_no_rule(tmp_path: Path) -> None:
    (tmp_path / "kills").mkdir()
    (tmp_path / "disk").mkdir()
    killed = kills.attacked(0, 2, tmp_path / "kills", lambda _: None)
    assert (killed.cases, killed.failures) == (2, [])
    failed = disk.attacked(0, 2, tmp_path / "disk", lambda arguments: main(list(arguments)), lambda _: None)
    assert (failed.cases, failed.failures) == (2, [])
