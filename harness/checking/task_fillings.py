"""What fills documents of memory tasks beside their facts and questions: drawn anew for each, place by place."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations, pairwise
from typing import Any

from cortexzoo.harness.checking.even_draws import DEVIATIONS, FEWEST, apart, even
from cortexzoo.specs.data import PydocTopics
from cortexzoo.specs.task import LETTERS, KeyValue, MultiQueryRecall, PairsOfTokens, SelectiveCopy
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.tasks.document import Document
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.errors import DataError

BEFORE = 40
"""Places before the questions at which it is looked at."""


def with_questions(documents: Sequence[Document]) -> Iterable[tuple[Document, int]]:
    """Each with the place where its questions begin."""
    return ((document, document.placed[1][0]) for document in documents)


def filled(task: Task, documents: Sequence[Document], filler: str) -> Iterator[str]:
    """What fills documents is drawn for each of them anew, place by place."""
    kind: Any = task.spec.task
    if isinstance(kind, SelectiveCopy):
        return  # one blank is all that there is
    stretches = [document.cut(asked - BEFORE, asked)[0].tolist() for document, asked in with_questions(documents)]
    if (alike := len(stretches) - len(set(map(tuple, stretches)))) > FEWEST and not task.noise_in_order:
        yield f"{alike} documents have the {filler} of another one"
    if filler == "text" or task.noise_in_order:
        whole = _words(task) if filler == "text" else _again(task.noise.tolist())
        if strange := sum(_marked(one) not in whole for one in stretches):
            yield f"what fills {strange} documents is no stretch of the text"
    elif filler in ("pairs", "near_keys"):
        yield from _pairs(task, stretches)
        if filler == "near_keys" and isinstance(kind, KeyValue) and kind.key_length > 1:
            yield from _near(task, documents)
    elif isinstance(kind, MultiQueryRecall):  # what there is hangs on the keys
        yield from _repeats(stretches, kind.vocab_size // 2 - kind.num_pairs)
    else:
        usual = set(task.noise.tolist())
        tokens = sorted(usual) if filler == "noise" else sorted({token for one in stretches for token in one})
        drawn = [token for one in stretches for token in one]
        if (set(drawn) <= usual) != (filler == "noise") or _used(task) & set(drawn):
            yield f"{filler} has tokens that it should not have"
            return
        yield from even(f"among {filler}", [tokens.index(token) for token in drawn], len(tokens))
        yield from _repeats(stretches, len(tokens))


def _repeats(stretches: Sequence[Sequence[int]], count: int) -> Iterator[str]:
    again = sum(one[at] == one[at + 1] for one in stretches for at in range(BEFORE - 1))
    yield from apart("the same comes twice in a row", again, len(stretches) * (BEFORE - 1), 1 / count)


def _near(task: Task, documents: Sequence[Document]) -> Iterator[str]:
    """Keys that fill documents are near each of the document's own, as often."""
    kind: Any = task.spec.task
    places = list[int]()
    for document, asked in with_questions(documents):
        pair = rf"(?<![a-z])([a-z]{{{kind.key_length}}})="
        (begin, facts), shown = document.placed[0], task.vocabulary.show
        own = [key[:-1] for key in re.findall(pair, shown(document.cut(begin, begin + len(facts))[0].tolist()))]
        if len(set(own)) == len(own):
            keys = re.findall(pair, shown(document.cut(asked - BEFORE, asked)[0].tolist()))
            places += [own.index(key[:-1]) for key in keys if key[:-1] in own]
    yield from even("near the document's keys", places, kind.num_pairs)


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
                yield from even(f"beside key {key}", own, len(values))
    both = [one == other for some in found for one, other in combinations(some, 2)]
    if sum(both) > len(both) * likely + DEVIATIONS * math.sqrt(len(both) * likely) + FEWEST:
        yield f"of {len(both)} pairs of what fills documents {sum(both)} are alike"
