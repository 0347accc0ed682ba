"""The search finds, shrinks, keeps to its kind of failure, and ends when the time is over."""

from hypothesis import strategies as st

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.search import Case, Clock, Result, search

LENGTHS = st.fixed_dictionaries({"length": st.integers(1, 300)})


def tried(falsifies: dict[Result, range], effort: Effort) -> list[tuple[int, Result]]:
    seen: list[tuple[int, Result]] = []

    def attempt(case: Case) -> Result:
        length = int(case["length"])
        result = next((kind for kind, lengths in falsifies.items() if length in lengths), "holds")
        seen.append((length, result))
        return result

    search(LENGTHS, attempt, effort, Clock(effort.seconds))
    return seen


def test_what_fails_is_shrunk_to_the_smallest() -> None:
    seen = tried({"fail": range(90, 301)}, Effort(100))
    assert min(length for length, result in seen if result == "fail") == 90


def test_shrinking_stays_with_the_kind_that_was_found_first() -> None:
    seen = tried({"fail": range(200, 301), "error": range(50, 60)}, Effort(100, seed=1))
    first = next(result for _, result in seen if result != "holds")
    smallest = {"fail": 200, "error": 50}[first]
    assert min(length for length, result in seen if result == first) == smallest


def test_no_case_is_tried_twice_nor_after_the_time() -> None:
    seen = tried({}, Effort(80))
    assert len(seen) == len({length for length, _ in seen})
    assert tried({"fail": range(1, 301)}, Effort(80, seconds=-1)) == []


def test_the_same_seed_tries_the_same() -> None:
    assert tried({}, Effort(30, seed=3)) == tried({}, Effort(30, seed=3))
    assert tried({}, Effort(30, seed=3)) != tried({}, Effort(30, seed=4))
