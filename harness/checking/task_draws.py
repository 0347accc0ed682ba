"""How documents of memory tasks are drawn: which facts are asked for and where, what fills them, how they are filed."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np

from cortexzoo.harness.checking.even_draws import DEVIATIONS, FEWEST, apart, even
from cortexzoo.harness.checking.task_fillings import filled, with_questions
from cortexzoo.specs.task import LETTERS, KeyValue, MultiQueryRecall, NBack, Overwrite, PairsOfTokens, SelectiveCopy
from cortexzoo.zoo.data.tasks.document import Document
from cortexzoo.zoo.data.tasks.task import Task


def wrongly_drawn(task: Task, documents: Sequence[Document], filler: str) -> Iterator[str]:
    """What is drawn otherwise than evenly, of some documents at one gap of whole chunks."""
    asked = [asked_for(task, document) for document in documents]
    if all(each is not None for each in asked):
        yield from _asked([each for each in asked if each is not None])
    yield from _places(task, documents)
    yield from _rebound(task, documents)
    yield from _bound(task, documents)
    yield from _alike(task, documents)
    yield from _apart_from_each_other(task, documents)
    yield from filled(task, documents, filler)


def _asked(asked: Sequence[tuple[list[int], int]]) -> Iterator[str]:
    """Each of the facts as often as the others, and in an order that tells nothing."""
    facts, per = asked[0][1], len(asked[0][0])
    often = Counter(fact for places, _ in asked for fact in places)
    for fact in range(facts):
        yield from apart(f"fact {fact + 1} of {facts} is asked for", often[fact], len(asked), per / facts)
    pairs = per * (per - 1) // 2
    rising = sum(one < other for places, _ in asked for one, other in combinations(places, 2))
    # Pairs of one document hang together: at most as if there were one a document.
    if pairs and abs(rising / pairs - len(asked) / 2) > DEVIATIONS * math.sqrt(len(asked) / 4) + FEWEST:
        yield f"of {pairs * len(asked)} pairs of questions {rising} are in the order of the facts"


def asked_for(task: Task, document: Document) -> tuple[list[int], int] | None:
    """Which of its facts a document asks for, in turn, and how many there are; None: it has one fact."""
    kind, facts = task.spec.task, facts_of(document).tolist()
    begin, passage = document.placed[1]
    tokens = document.tokens
    questions = tokens[begin : begin + len(passage)].tolist()
    match kind:
        case KeyValue(key_length=key, value_length=value):
            size = key + value + 2
            names = [tuple(facts[at : at + key]) for at in range(0, len(facts), size)]
            asked: list[Any] = [tuple(questions[at + 1 : at + 1 + key]) for at in range(0, len(questions), size)]
        case PairsOfTokens() | MultiQueryRecall():
            names = facts[: 2 * kind.num_pairs : 2]
            asked = [int(tokens[at - 1]) for at in _answered(document)]
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
            found = [np.flatnonzero(facts_of(document) != blank).tolist() for document in documents]
            shares = [kind.num_copied / kind.sequence_length] * kind.sequence_length
        case MultiQueryRecall():
            found = [[(at - begin) // 2 for at in _answered(document)] for document, begin in with_questions(documents)]
            shares = _by_a_power(kind.sequence_length // 2 - kind.num_pairs, kind.num_pairs, kind.power)
        case _:
            return
    often = Counter(place for places in found for place in places)
    if max(often) >= len(shares):
        yield f"something stands at place {max(often)} of {len(shares)}"
    for place, share in enumerate(shares):
        yield from apart(f"something stands at place {place}", often[place], len(documents), min(share, 1.0))
    likely = np.array(shares) / sum(shares)
    middle = float(likely @ np.arange(len(shares)))
    spread = math.sqrt(float(likely @ (np.arange(len(shares)) - middle) ** 2) / often.total())
    mean = sum(place * times for place, times in often.items()) / often.total()
    if abs(mean - middle) > DEVIATIONS * spread + FEWEST / often.total():
        yield f"what is scattered stands around place {mean:.2f}, expected {middle:.2f}"


def _answered(document: Document) -> list[int]:
    return [int(at) for at in np.flatnonzero(document.answers)]


def facts_of(document: Document) -> Any:
    begin, passage = document.placed[0]
    return document.cut(begin, begin + len(passage))[0]


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
        tokens = facts_of(document).tolist()
        first = dict(zip(tokens[: 2 * kind.num_pairs : 2], tokens[1 : 2 * kind.num_pairs : 2], strict=True))
        names = list(first)
        for key, value in zip(tokens[2 * kind.num_pairs :: 2], tokens[2 * kind.num_pairs + 1 :: 2], strict=True):
            keys[names.index(key)] += 1
            steps[(every.index(value) - every.index(first[key])) % kind.num_values] += 1
    for key in range(kind.num_pairs):
        share = kind.num_rebound / kind.num_pairs
        yield from apart(f"key {key + 1} is bound again", keys[key], len(documents), share)
    for step in range(1, kind.num_values):
        yield from apart(f"values move by {step}", steps[step], steps.total(), 1 / (kind.num_values - 1))


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
        found = [token for document in documents for token in facts_of(document)[place : kind.num_pairs * size : size]]
        yield from even(f"at place {place} of keys", [possible.index(token) for token in found], len(possible))


def _alike(task: Task, documents: Sequence[Document]) -> Iterator[str]:
    """Answers of a document are alike as often as two that are drawn apart."""
    kind = task.spec.task
    match kind:
        case PairsOfTokens():
            count = kind.num_values
        case KeyValue() | NBack():
            count = LETTERS
        case _:
            return
    both = 0, 0
    for document in documents:
        tokens, answers = document.tokens, document.answers
        firsts = [int(tokens[answers == one][0]) for one in range(1, answers.max() + 1)]
        same = [one == other for one, other in combinations(firsts, 2)]
        both = both[0] + sum(same), both[1] + len(same)
    if both[1]:
        yield from apart("two answers of a document are alike", both[0], both[1], 1 / count)


def _apart_from_each_other(task: Task, documents: Sequence[Document]) -> Iterator[str]:
    """Where facts begin in their chunk tells nothing of where questions begin in theirs."""
    begins = np.array([[start % task.chunk_size for start, _ in document.placed] for document in documents], float)
    if begins.std(0).min() > 1:
        related = float(np.corrcoef(begins.T)[0, 1])
        if abs(related) > DEVIATIONS / math.sqrt(len(documents)):
            yield f"the places of facts and questions hang together, by {related:.2f}"


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
        again, tokens = set(facts_of(document).tolist()[2 * kind.num_pairs :: 2]), document.tokens
        wanted["rebound"] = [int(tokens[at - 1] in again) for at in _answered(document)]
    if task.depth_chunks and gap and task.spec.gap_unit == "chunks":
        size = task.chunk_size
        (begin, facts), (_, questions) = document.placed
        needed = task.depth_chunks - (-len(facts) // size) + gap - (-len(questions) // size)
        wanted["depth"] = [begin // size - (document.length // size - needed)] * count
    elif task.depth_chunks:
        wanted["depth"] = [task.depth_chunks] * count  # what is not at random lies as deep as it may
    found: Mapping[str, Sequence[int]] = {name: values.tolist() for name, values in document.slices.items()}
    for name, values in wanted.items():
        if list(found.get(name, ())) != list(values):
            yield f"answers are filed under {name} {list(found.get(name, ()))}, not {list(values)}"
