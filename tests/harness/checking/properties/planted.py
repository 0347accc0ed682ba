"""Changes planted in the code that a property judges."""

from collections.abc import Callable

from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.verdict import Judgement


def is_caught(owner: object, function: str, old: str, new: str, judged: Callable[[], Judgement]) -> bool:
    """Whether a property fails while `old` is `new` in the source of a function; a crash would say nothing."""
    with rewritten(owner, function, old, new)():
        judgement = judged()
    assert judgement.verdict != "error", judgement.reason
    return judgement.verdict == "fail"
