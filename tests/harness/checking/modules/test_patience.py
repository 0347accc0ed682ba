"""What computes or idles for too long is given up; what gets little of a busy machine is not."""

import os

import pytest

from cortexzoo.harness.checking.modules.patience import Patience, cpu_seconds


class Process:
    """A clock and what a process has computed on it."""

    def __init__(self) -> None:
        self.now = self.computed = 0.0

    def pass_by(self, seconds: float, share: float) -> None:
        """Some time, of which the process gets a share."""
        self.now += seconds
        self.computed += share * seconds

    def patience(self, limit: float) -> Patience:
        return Patience(0, limit, lambda: self.now, lambda _: self.computed)


@pytest.mark.parametrize(
    ("share", "seconds", "over"),
    [
        (1.0, 2.9, False),
        (1.0, 3.1, True),
        (0.0, 2.9, False),
        (0.0, 3.1, True),
        (0.1, 29.0, False),
        (0.1, 31.0, True),
        (4.0, 1.0, False),
    ],
    ids=["computing", "computed too long", "idle", "idle too long", "slowed down", "slowed down, too long", "threads"],
)
def test_the_limit_is_one_of_computing_or_of_idling(share: float, seconds: float, over: bool) -> None:
    process = Process()
    patience = process.patience(3.0)
    process.pass_by(seconds, share)
    assert patience.is_over == over


def test_news_begin_it_anew() -> None:
    process = Process()
    patience = process.patience(3.0)
    process.pass_by(2.0, 1.0)
    patience.renew(2.0)
    process.pass_by(1.5, 1.0)
    assert not patience.is_over
    process.pass_by(1.0, 1.0)
    assert patience.is_over and patience.limit == 2.0


def test_what_a_process_has_computed_is_that_of_the_system() -> None:
    before = cpu_seconds(os.getpid())
    sum(range(3_000_000))
    assert before > 0 and cpu_seconds(os.getpid()) >= before
    assert cpu_seconds(2**22 + 1) == 0.0
