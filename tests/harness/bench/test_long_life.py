"""What a long-lived process takes is judged after its caches are full, and time does not count."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cortexzoo.harness.bench.long_life import CommandFailed, Taken, grown, lived


def taken(count: int, megabytes: float = 0.0, descriptors: float = 0.0, temporary: float = 0.0) -> list[Taken]:
    """So many rounds with this growth a round."""
    return [Taken(500 + megabytes * n, 16 + int(descriptors * n), 8, int(temporary * n), 9.0 + n) for n in range(count)]


@pytest.mark.parametrize(
    ("rounds", "found"),
    [
        (taken(40), []),
        (taken(40, megabytes=0.5), []),
        (taken(40, megabytes=3), ["604 MB after 544 MB"]),
        (taken(40, descriptors=1), ["50 descriptors after 30"]),
        (taken(40, temporary=1), ["34 temporary files after 14"]),
        ([Taken(900, 90, 90, 9, 1.0)] * 5 + taken(15), []),
    ],
)
def test_growth_is_found_once_caches_are_full(rounds: list[Taken], found: list[str]) -> None:
    assert grown(rounds) == found


def test_rounds_begin_until_there_are_enough_runs(tmp_path: Path) -> None:
    called: list[str] = []

    def command(arguments: Sequence[str]) -> int:
        called.append(arguments[0])
        if arguments[0] == "train":
            (tmp_path / "runs" / arguments[1] / str(len(called))).mkdir(parents=True)
        return 0

    assert len(lived(command, 0.0, 4, tmp_path, lambda _: None)) == 2
    assert called == ["train", "check", "train", "compare", "runs"] * 2


def test_a_command_that_fails_ends_it(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"cortexzoo train cortexgpt-stable .*: exit code 2"):
        lived(lambda _: 2, 0.0, 4, tmp_path, lambda _: None)
