"""The almanac: every question was stated once, far before, in the same part; the facts of each part are its own."""

import re
from collections import Counter

import pytest

from cortexzoo.specs import SpecError, load_experiment
from cortexzoo.specs.data import Almanac
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.data.almanac import VALUES, questions_in, text_of
from cortexzoo.zoo.data.text import TextData

ENTRY = re.compile(r"^(\w+ \w+), (\w+): (\w+)$", re.MULTILINE)
SMALL = Almanac(volumes=5, people=6, others=110, seed=3)


def parts() -> dict[str, str]:
    data = load_data(load_experiment("cortexgpt-stable", ("data=almanac",)))
    assert isinstance(data, TextData)
    return {name: getattr(data, name).tobytes().decode("ascii") for name in ("train", "validation", "test")}


def test_a_fact_is_stated_once_and_asked_for_once_more_than_10000_bytes_later_in_the_same_part() -> None:
    for name, text in parts().items():
        entries = list(ENTRY.finditer(text))
        places: dict[str, list[int]] = {}
        for entry in entries:
            places.setdefault(entry[0], []).append(entry.start())
        asked = {line: found for line, found in places.items() if len(found) == 2}
        assert max(map(len, places.values())) == 2, name
        assert len(asked) >= 300, name
        assert min(second - first for first, second in asked.values()) > 10_000, name
        facts = {line.split(": ")[0] for line in places}
        assert len(facts) == len(places), "a fact has one value"


def test_no_person_stands_in_two_parts() -> None:
    people = {name: {entry[1] for entry in ENTRY.finditer(text)} for name, text in parts().items()}
    assert not people["train"] & people["validation"]
    assert not people["train"] & people["test"]
    assert not people["validation"] & people["test"]


def test_values_are_drawn_evenly_so_that_guessing_is_right_in_one_of_sixteen() -> None:
    counts = Counter(entry[2] + entry[3] for text in parts().values() for entry in ENTRY.finditer(text))
    assert len(counts) == 4 * 16
    assert max(counts.values()) < 2 * min(counts.values())
    assert all(len({value[0] for value in values}) == 16 for values in VALUES.values())


def test_many_people_share_a_given_or_a_family_name() -> None:
    names = {entry[1] for entry in ENTRY.finditer(text_of(SMALL).decode())}
    given, family = (Counter(name.split()[side] for name in names) for side in (0, 1))
    assert len(given) < len(names) / 4
    assert len(family) < len(names) / 4


def test_the_seed_draws_the_facts() -> None:
    assert text_of(SMALL) == text_of(SMALL)
    other = {entry[0] for entry in ENTRY.finditer(text_of(SMALL.model_copy(update={"seed": 4})).decode())}
    assert not other & {entry[0] for entry in ENTRY.finditer(text_of(SMALL).decode())}


def test_questions_are_found_by_their_places() -> None:
    text = b"Ada Lorn, pet: cat\nBo Lorn, pet: cat\nPage 2\nAda Lorn, home: Dover\nAda Lorn, pet: cat\n"
    (question,) = questions_in(text)
    assert text[question.asked : question.asked + question.length] == b"cat"
    assert question.stated == text.index(b"cat")
    assert question.asked == text.rindex(b"cat")


def test_a_part_that_ends_within_a_volume_is_refused() -> None:
    with pytest.raises(SpecError, match=r"test_fraction must be a whole number of the 10 volumes, got 0\.15"):
        load_experiment("cortexgpt-stable", ("data=almanac", "data.test_fraction=0.15"))
