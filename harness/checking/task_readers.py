"""Documents of memory tasks as a reader sees them: what their tokens alone say the answers are.

Each reader is given the tokens of one document, those of its two passages, and where answers are marked. It tells what
is wrong with what is marked, with how many facts there are, and with what fills the rest.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cortexzoo.specs.task import (
    Addition,
    Copy,
    KeyValue,
    MultiQueryRecall,
    NBack,
    Overwrite,
    PairsOfTokens,
    Passkey,
    SelectiveCopy,
)
from cortexzoo.zoo.data.tasks.document import Document
from cortexzoo.zoo.data.tasks.task import Task


@dataclass(frozen=True)
class Read:
    """A document and its task."""

    task: Task
    tokens: list[int]
    marked: list[list[int]]
    """Places of each answer's tokens, in the order of the answers."""
    spans: tuple[tuple[int, int], tuple[int, int]]
    """Where facts and questions begin and end."""
    filler: str

    @classmethod
    def of(cls, task: Task, document: Document, filler: str) -> "Read":
        """Which filler surrounds the passages is the caller's to know."""
        answers = document.answers.tolist()
        marked = [[at for at, one in enumerate(answers) if one == number] for number in range(1, max(answers) + 1)]
        spans = [(start, start + len(passage)) for start, passage in document.placed]
        return cls(task, document.tokens.tolist(), marked, (spans[0], spans[1]), filler)

    @property
    def kind(self) -> Any:
        """The task's own settings."""
        return self.task.spec.task

    @property
    def text(self) -> str:
        """One character a token, which holds for vocabularies of bytes and of the task's own characters."""
        return self.task.vocabulary.show(self.tokens)

    @property
    def answers(self) -> list[str]:
        """What is marked, as text."""
        return ["".join(self.text[at] for at in places) for places in self.marked]

    @property
    def facts(self) -> str:
        """The first passage as text."""
        return self.text[slice(*self.spans[0])]

    @property
    def questions(self) -> str:
        """The second passage as text."""
        return self.text[slice(*self.spans[1])]

    def outside(self, begin: int, end: int) -> bool:
        """Whether a stretch touches neither passage."""
        return all(end <= first or begin >= last for first, last in self.spans)


def mistakes(read: Read) -> list[str]:
    """What its reader finds; nothing for a task that no reader knows, such as that of a plugin."""
    reader = next((each for kind, each in READERS.items() if isinstance(read.kind, kind)), None)
    return [] if reader is None else reader(read)


def _spelled_pairs(read: Read) -> list[str]:
    """`abc=wxyz;` and `?abc=[wxyz]`."""
    kind: KeyValue = read.kind
    pair = f"([a-z]{{{kind.key_length}}})=([a-z]{{{kind.value_length}}})"
    bound = dict(re.findall(f"{pair};", read.facts))
    asked = re.findall(rf"\?{pair}", read.questions)
    wrong = _counts(len(bound), kind.num_pairs, len(asked), kind.num_queries)
    wrong += _asked([key for key, _ in asked], [value for _, value in asked], bound, read.answers)
    others = [found[1] for found in re.finditer(f"(?<![a-z]){pair};", read.text) if read.outside(*found.span())]
    if any(key in bound for key in others):
        wrong.append("what fills it binds a key of the document")
    if read.filler == "near_keys" and not all(any(key[:-1] == own[:-1] for own in bound) for key in others):
        wrong.append("a key that fills it is near none of the document")
    if others and read.filler not in ("pairs", "near_keys"):
        wrong.append(f"{read.filler} has facts")
    return wrong


def _token_pairs(read: Read) -> list[str]:
    """A key and a value beside each other bind; the last time counts."""
    kind: PairsOfTokens = read.kind
    every = read.task.vocabulary.distinct(kind.num_tokens).tolist()
    keys, values = every[: kind.num_keys], every[kind.num_keys : kind.num_keys + kind.num_values]
    is_key, is_value = set(keys), set(values)
    begin, end = read.spans[0]
    facts, bound = read.tokens[begin:end], dict[int, list[int]]()
    for key, value in zip(facts[::2], facts[1::2], strict=True):
        if key not in is_key or value not in is_value:
            return ["the facts are not keys with values"]
        bound.setdefault(key, []).append(value)
    rebound = kind.num_rebound if isinstance(kind, Overwrite) else 0
    wrong = _counts(len(bound), kind.num_pairs, len(read.marked), kind.num_queries)
    if sorted(Counter(map(len, bound.values())).items()) != sorted(
        (times, count) for times, count in ((1, kind.num_pairs - rebound), (2, rebound)) if count
    ):
        wrong.append(f"{sum(len(each) > 1 for each in bound.values())} keys are bound again, not {rebound}")
    if any(len(each) > 1 and each[-1] == each[-2] for each in bound.values()):
        wrong.append("a key is bound again to the value that it had")
    asked = [read.tokens[places[0] - 1] for places in read.marked]
    wrong += _asked(asked, [read.tokens[places[0]] for places in read.marked], {k: v[-1] for k, v in bound.items()})
    others = [
        key
        for at, (key, value) in enumerate(pairwise(read.tokens))
        if key in is_key and value in is_value and read.outside(at, at + 2)
    ]
    if any(key in bound for key in others):
        wrong.append("what fills it binds a key of the document")
    if others and read.filler not in ("pairs", "near_keys"):
        wrong.append(f"{read.filler} has facts")
    if read.filler == "near_keys" and (far := set(others) - {_next_free(key, keys, bound) for key in bound}):
        wrong.append(f"key {min(far)}, which fills it, is not next to one of the document")
    return wrong


def _next_free(key: int, keys: Sequence[int], bound: dict[int, list[int]]) -> int:
    at = keys.index(key)
    return next(other for other in [*keys[at + 1 :], *keys[:at]] if other not in bound)


def _counts(bound: int, pairs: int, asked: int, queries: int) -> list[str]:
    wrong = [] if bound == pairs else [f"{bound} keys are bound, not {pairs}"]
    return wrong if asked == queries else [*wrong, f"{asked} questions are asked, not {queries}"]


def _asked(keys: Sequence[Any], values: Sequence[Any], bound: dict[Any, Any], marked: Sequence[Any] = ()) -> list[str]:
    wrong = ["a key is asked for twice"] if len(set(keys)) < len(keys) else []
    if [bound.get(key) for key in keys] != list(values):
        wrong.append(f"answers are {list(values)}, by the facts {[bound.get(key) for key in keys]}")
    if marked and list(marked) != list(values):
        wrong.append(f"{list(marked)} are marked as answers, {list(values)} stand there")
    return wrong


def _copied(read: Read) -> list[str]:
    kind: Copy = read.kind
    (string,) = re.findall(rf"\(([a-z]{{{kind.num_letters}}})\)", read.text) or [""]
    return _says(read, [string[::-1] if kind.order == "reversed" else string])


def _letters_back(read: Read) -> list[str]:
    kind: NBack = read.kind
    (string,) = re.findall(rf"\(([a-z]{{{kind.num_letters}}})\)", read.text) or [""]
    asked = [int(far) for far in re.findall(r"\?(\d\d)=", read.questions)]
    wrong = [] if len(set(asked)) == kind.num_queries else [f"{len(set(asked))} distances, not {kind.num_queries}"]
    if not all(1 <= far <= len(string) for far in asked):
        return [*wrong, f"distances {asked} in {len(string)} letters"]
    return wrong + _says(read, [string[len(string) - far] for far in asked])


def _added(read: Read) -> list[str]:
    kind: Addition = read.kind
    number = rf"(\d{{{kind.num_digits}}})"
    (summands,) = re.findall(rf"(?<!\d){number}\+{number}(?!\d)", read.facts) or [("0", "0")]
    total = str(sum(map(int, summands)))
    return _says(read, ["0" * (kind.num_digits + 1 - len(total)) + total])


def _passkey(read: Read) -> list[str]:
    kind: Passkey = read.kind
    named = re.findall(rf"The pass key is (\d{{{kind.num_digits}}}), so keep (\d+) in mind\.", read.text)
    if len(named) != 1 or len(set(named[0])) != 1:
        return [f"the pass key is named as {named}"]
    is_asked = read.questions.endswith(f"What is the pass key? The pass key is {named[0][0]}")
    return ([] if is_asked else ["the pass key is not asked for"]) + _says(read, [named[0][0]])


def _says(read: Read, wanted: list[str]) -> list[str]:
    return [] if read.answers == wanted else [f"answers are {read.answers}, by the facts {wanted}"]


def _scattered(read: Read) -> list[str]:
    kind: SelectiveCopy = read.kind
    *content, cue, blank = read.task.vocabulary.distinct(kind.vocab_size).tolist()
    copied = [token for token in read.tokens[: read.spans[1][0]] if token != blank]
    answers = [read.tokens[at] for places in read.marked for at in places]
    wrong = [] if len(copied) == kind.num_copied else [f"{len(copied)} tokens are scattered, not {kind.num_copied}"]
    if not set(copied) <= set(content) or read.tokens[read.spans[1][0]] != cue:
        wrong.append("a token is no content, or the cue is missing")
    return wrong if answers == copied else [*wrong, f"answers are {answers}, by the facts {copied}"]


def _many_queries(read: Read) -> list[str]:
    kind: MultiQueryRecall = read.kind
    every = read.task.vocabulary.distinct(kind.vocab_size).tolist()
    keys, values = set(every[: kind.vocab_size // 2]), set(every[kind.vocab_size // 2 :])
    begin, end = read.spans[0]
    facts = read.tokens[begin:end]
    bound = dict(zip(facts[::2], facts[1::2], strict=True))
    wrong = _counts(len(bound), kind.num_pairs, len(read.marked), kind.num_pairs)
    if not set(bound) <= keys or not set(bound.values()) <= values or len(set(bound.values())) < len(bound):
        wrong.append("the facts are not keys with values of their own")
    asked = [read.tokens[places[0] - 1] for places in read.marked]
    wrong += _asked(asked, [read.tokens[places[0]] for places in read.marked], bound)
    said = {at for places in read.marked for at in (places[0] - 1, places[0])} | set(range(begin, end))
    others = {token for at, token in enumerate(read.tokens) if at not in said}
    return wrong if others <= keys - set(bound) else [*wrong, "what fills it is not keys that are never bound"]


READERS: dict[type, Callable[[Read], list[str]]] = {
    KeyValue: _spelled_pairs,
    PairsOfTokens: _token_pairs,
    Copy: _copied,
    NBack: _letters_back,
    Addition: _added,
    Passkey: _passkey,
    SelectiveCopy: _scattered,
    MultiQueryRecall: _many_queries,
}
