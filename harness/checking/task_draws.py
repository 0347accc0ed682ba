"""How documents of memory tasks are drawn: which facts are asked for and where, what fills them, how they are filed."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import combinations, pairwise
from typing import Any

import numpy as np

from cortexzoo.specs.data import PydocTopics
from cortexzoo.specs.task import LETTERS, KeyValue, MultiQueryRecall, NBack, Overwrite, PairsOfTokens, SelectiveCopy
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.tasks.document import Document
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.errors import DataError

DEVIATIONS = 7.0
FEWEST = 2.0
"""Added to what may be off by chance: one draw of something rare proves nothing."""
BEFORE = 40
"""Places before the questions at which noise is looked at."""


def wrongly_drawn(task: Task, documents: Sequence[Document], filler: str) -> Iterator[str]:
    """What is drawn otherwise than evenly, of some documents at one gap of whole chunks."""
    asked = [asked_for(task, document) for document in documents]
    if all(each is not None for each in asked):
        yield from _asked([each for each in asked if each is not None])
    yield from _places(task, documents)
    yield from _rebound(task, documents)
    yield from _bound(task, documents)
    yield from _filled(task, documents, filler)


def _apart(what: str, times: float, count: float, share: float) -> Iterator[str]:
    if abs(times - count * share) > DEVIATIONS * math.sqrt(count * share * (1 - share)) + FEWEST:
        yield f"{what} {times:.0f} times of {count:.0f}, expected {count * share:.1f}"


def _asked(asked: Sequence[tuple[list[int], int]]) -> Iterator[str]:
    """Each of the facts as often as the others, and in an order that tells nothing."""
    facts, per = asked[0][1], len(asked[0][0])
    often = Counter(fact for places, _ in asked for fact in places)
    for fact in range(facts):
        yield from _apart(f"fact {fact + 1} of {facts} is asked for", often[fact], len(asked), per / facts)
    pairs = per * (per - 1) // 2
    rising = sum(one < other for places, _ in asked for one, other in combinations(places, 2))
    # Pairs of one document hang together: at most as if there were one a document.
    if pairs and abs(rising / pairs - len(asked) / 2) > DEVIATIONS * math.sqrt(len(asked) / 4) + FEWEST:
        yield f"of {pairs * len(asked)} pairs of questions {rising} are in the order of the facts"


def asked_for(task: Task, document: Document) -> tuple[list[int], int] | None:
    """Which of its facts a document asks for, in turn, and how many there are; None: it has one fact."""
    kind, facts = task.spec.task, _facts(document).tolist()
    begin, passage = document.placed[1]
    questions = document.tokens[begin : begin + len(passage)].tolist()
    match kind:
        case KeyValue(key_length=key, value_length=value):
            size = key + value + 2
            names = [tuple(facts[at : at + key]) for at in range(0, len(facts), size)]
            asked: list[Any] = [tuple(questions[at + 1 : at + 1 + key]) for at in range(0, len(questions), size)]
        case PairsOfTokens() | MultiQueryRecall():
            names = facts[: 2 * kind.num_pairs : 2]
            asked = [int(document.tokens[at - 1]) for at in _answered(document)]
        case NBack():
            digits = [task.vocabulary.show(questions[at - 3 : at - 1]) for at in np.flatnonzero(passage.answers)]
            return [kind.num_letters - int(far) for far in digits], kind.num_letters
        case _:
            return None
    return [names.index(name) for name in asked], len(names)


def _places(task: Task, documents: Sequence[Document]) -> Iterator[str]:
    """Where what is scattered stands: anywhere alike, or by the power law of `mqar`."""
    kind = task.spec.task
    match kind:
        case SelectiveCopy():
            blank = int(task.vocabulary.distinct(kind.vocab_size)[-1])
            found = [np.flatnonzero(_facts(document) != blank).tolist() for document in documents]
            shares = [kind.num_copied / kind.sequence_length] * kind.sequence_length
        case MultiQueryRecall():
            found = [
                [(at - begin) // 2 for at in _answered(document)] for document, begin in _with_questions(documents)
            ]
            shares = _by_a_power(kind.sequence_length // 2 - kind.num_pairs, kind.num_pairs, kind.power)
        case _:
            return
    often = Counter(place for places in found for place in places)
    if max(often) >= len(shares):
        yield f"something stands at place {max(often)} of {len(shares)}"
    for place, share in enumerate(shares):
        yield from _apart(f"something stands at place {place}", often[place], len(documents), min(share, 1.0))


def _with_questions(documents: Sequence[Document]) -> Iterable[tuple[Document, int]]:
    return ((document, document.placed[1][0]) for document in documents)


def _answered(document: Document) -> list[int]:
    return [int(at) for at in np.flatnonzero(document.answers)]


def _facts(document: Document) -> Any:
    begin, passage = document.placed[0]
    return document.tokens[begin : begin + len(passage)]


@lru_cache
def _by_a_power(places: int, count: int, power: float) -> list[float]:
    """How likely each place is among `count` that are drawn one after the other, place i with weight i^(power - 1)."""
    weights = [(place + 1) ** (power - 1) for place in range(places)]
    reached: dict[frozenset[int], float] = {frozenset(): 1.0}
    for _ in range(count):
        following: dict[frozenset[int], float] = {}
        for taken, likely in reached.items():
            rest = sum(weights) - sum(weights[place] for place in taken)
            for place in set(range(places)) - taken:
                more = taken | {place}
                following[more] = following.get(more, 0.0) + likely * weights[place] / rest
        reached = following
    return [sum(likely for taken, likely in reached.items() if place in taken) for place in range(places)]


def _rebound(task: Task, documents: Sequence[Document]) -> Iterator[str]:
    """Which keys are bound again, and how far their new value is from the old one."""
    kind = task.spec.task
    if not isinstance(kind, Overwrite):
        return
    every = task.vocabulary.distinct(kind.num_tokens).tolist()
    keys, steps = Counter[int](), Counter[int]()
    for document in documents:
        tokens = _facts(document).tolist()
        first = dict(zip(tokens[: 2 * kind.num_pairs : 2], tokens[1 : 2 * kind.num_pairs : 2], strict=True))
        names = list(first)
        for key, value in zip(tokens[2 * kind.num_pairs :: 2], tokens[2 * kind.num_pairs + 1 :: 2], strict=True):
            keys[names.index(key)] += 1
            steps[(every.index(value) - every.index(first[key])) % kind.num_values] += 1
    for key in range(kind.num_pairs):
        share = kind.num_rebound / kind.num_pairs
        yield from _apart(f"key {key + 1} is bound again", keys[key], len(documents), share)
    for step in range(1, kind.num_values):
        yield from _apart(f"values move by {step}", steps[step], steps.total(), 1 / (kind.num_values - 1))


def _bound(task: Task, documents: Sequence[Document]) -> Iterator[str]:
    """Each key, or each letter at each place of a key, is bound as often as the others."""
    kind: Any = task.spec.task
    if not isinstance(kind, KeyValue | PairsOfTokens | MultiQueryRecall):
        return
    length = kind.key_length if isinstance(kind, KeyValue) else 1
    size = length + kind.value_length + 2 if isinstance(kind, KeyValue) else 2
    if isinstance(kind, KeyValue):
        possible = [task.vocabulary.spell(letter)[0] for letter in "abcdefghijklmnopqrstuvwxyz"]
    else:
        keys = kind.vocab_size // 2 if isinstance(kind, MultiQueryRecall) else kind.num_keys
        possible = task.vocabulary.distinct(kind.num_tokens)[:keys].tolist()
    for place in range(length):
        found = [token for document in documents for token in _facts(document)[place : kind.num_pairs * size : size]]
        yield from _even(f"at place {place} of keys", [possible.index(token) for token in found], len(possible))


def _even(where: str, ranks: Sequence[int], count: int) -> Iterator[str]:
    """Numbers below `count`, each of which is as likely as the others: how often each came, and their mean."""
    often = Counter(ranks)
    for rank in range(count):
        yield from _apart(f"{where} comes number {rank}", often[rank], len(ranks), 1 / count)
    middle, spread = (count - 1) / 2, math.sqrt((count**2 - 1) / 12 / len(ranks))
    if abs(sum(ranks) / len(ranks) - middle) > DEVIATIONS * spread + FEWEST / len(ranks):
        yield f"{where} come numbers around {sum(ranks) / len(ranks):.1f}, expected {middle:.1f}"


def _filled(task: Task, documents: Sequence[Document], filler: str) -> Iterator[str]:
    """What fills documents is drawn for each of them anew, place by place."""
    kind: Any = task.spec.task
    if isinstance(kind, SelectiveCopy):
        return  # one blank is all that there is
    stretches = [document.cut(asked - BEFORE, asked)[0].tolist() for document, asked in _with_questions(documents)]
    if (alike := len(stretches) - len(set(map(tuple, stretches)))) > FEWEST and not task.noise_in_order:
        yield f"{alike} documents have the {filler} of another one"
    if filler == "text" or task.noise_in_order:
        whole = _words(task) if filler == "text" else _again(task.noise.tolist())
        if strange := sum(_marked(one) not in whole for one in stretches):
            yield f"what fills {strange} documents is no stretch of the text"
    elif filler in ("pairs", "near_keys"):
        yield from _pairs(task, stretches)
    elif not isinstance(kind, MultiQueryRecall):  # there it hangs on the keys
        usual = set(task.noise.tolist())
        tokens = sorted(usual) if filler == "noise" else sorted({token for one in stretches for token in one})
        drawn = [token for one in stretches for token in one]
        if (set(drawn) <= usual) != (filler == "noise") or _used(task) & set(drawn):
            yield f"{filler} has tokens that it should not have"
            return
        yield from _even(f"among {filler}", [tokens.index(token) for token in drawn], len(tokens))
        again = sum(one[at] == one[at + 1] for one in stretches for at in range(BEFORE - 1))
        yield from _apart("the same comes twice in a row", again, len(stretches) * (BEFORE - 1), 1 / len(tokens))


def _marked(tokens: Sequence[int]) -> str:
    return "".join(f"<{token}>" for token in tokens)


def _again(tokens: Sequence[int]) -> str:
    return _marked([*tokens] * (BEFORE // len(tokens) + 2))


def _words(task: Task) -> str:
    """The embedded text as it fills documents: letter by letter in tokens of noise, or words with capitals between."""
    content, noise = read_source(PydocTopics()), task.noise.tolist()
    if not isinstance(task.spec.task, KeyValue):
        return _marked([noise[byte % len(noise)] for byte in content])
    spelled = {letter: task.vocabulary.spell(letter) for letter in "abcdefghijklmnopqrstuvwxyz"}
    tokens = list[int]()
    for count, word in enumerate(re.findall("[a-z]+", content.decode().lower())):
        tokens += [token for letter in word for token in spelled[letter]]
        tokens.append(noise[count % len(noise)])
    return _marked(tokens)


def _used(task: Task) -> set[int]:
    """Tokens of facts and questions."""
    kind: Any = task.spec.task
    if isinstance(kind, PairsOfTokens):
        return set(task.vocabulary.distinct(kind.num_keys + kind.num_values).tolist())
    return {
        token
        for mark in "abcdefghijklmnopqrstuvwxyz=;?()+"
        if _can(task, mark)
        for token in task.vocabulary.spell(mark)
    }


def _can(task: Task, mark: str) -> bool:
    with suppress(DataError):
        return bool(task.vocabulary.spell(mark))
    return False


def _pairs(task: Task, stretches: Sequence[Sequence[int]]) -> Iterator[str]:
    """Pairs of a document come independently of each other, and a key has each value as often as the others."""
    kind: Any = task.spec.task
    if isinstance(kind, KeyValue):
        size, likely = kind.key_length + kind.value_length + 2, LETTERS**-kind.value_length
        found = [[tuple(one[at : at + size]) for at in range(0, BEFORE - size + 1, size)] for one in stretches]
    else:
        every = task.vocabulary.distinct(kind.num_keys + kind.num_values).tolist()
        keys, values = every[: kind.num_keys], every[kind.num_keys :]
        found = [[(a, b) for a, b in pairwise(one) if a in keys and b in values] for one in stretches]
        likely = 1 / kind.num_values
        for key in keys:
            own = [values.index(value) for one in found for other, value in one if other == key]
            if own:
                yield from _even(f"beside key {key}", own, len(values))
    both = [one == other for some in found for one, other in combinations(some, 2)]
    if sum(both) > len(both) * likely + DEVIATIONS * math.sqrt(len(both) * likely) + FEWEST:
        yield f"of {len(both)} pairs of what fills documents {sum(both)} are alike"


def wrongly_filed(task: Task, document: Document, gap: int) -> Iterator[str]:
    """What the accuracy of a document's answers is broken down by."""
    wanted: dict[str, Sequence[int]] = {}
    asked, kind = asked_for(task, document), task.spec.task
    count = int(document.answers.max())
    wanted["gap"] = [gap] * count
    if asked is not None and not isinstance(kind, NBack):
        wanted |= {"pair": asked[0], "pairs": [asked[1]] * count}
    if asked is not None and isinstance(kind, NBack):
        wanted["distance"] = [asked[1] - place for place in asked[0]]
    if isinstance(kind, Overwrite):
        again = set(_facts(document).tolist()[2 * kind.num_pairs :: 2])
        wanted["rebound"] = [int(document.tokens[at - 1] in again) for at in _answered(document)]
    if task.depth_chunks and gap and task.spec.gap_unit == "chunks":
        size = task.chunk_size
        (begin, facts), (_, questions) = document.placed
        needed = task.depth_chunks - (-len(facts) // size) + gap - (-len(questions) // size)
        wanted["depth"] = [begin // size - (document.length // size - needed)] * count
    found: Mapping[str, Sequence[int]] = {name: values.tolist() for name, values in document.slices.items()}
    for name, values in wanted.items():
        if list(found.get(name, ())) != list(values):
            yield f"answers are filed under {name} {list(found.get(name, ()))}, not {list(values)}"
