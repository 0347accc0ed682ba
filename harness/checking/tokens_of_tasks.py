"""Tasks in the tokens of a base: tokenizers that are written down here, and what documents are in them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from string import ascii_lowercase, ascii_uppercase, digits
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken, wrong_ends
from cortexzoo.harness.checking.task_chances import Answers, best_guess
from cortexzoo.harness.checking.task_readers import Read, mistakes
from cortexzoo.specs.filler import NoiseFiller, OneFiller, UnseenNoise
from cortexzoo.specs.task import (
    Addition,
    Copy,
    KeyValue,
    MemoryTask,
    NBack,
    Passkey,
    SelectiveCopy,
    TaskSpec,
    TokenPairs,
)
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.document import Document
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.data.tasks.vocabulary import TokenizerVocabulary

UNKNOWN, BEGINNING = "<unk>", "<s>"
MARKS = "=;?()+"
EVERY = f"{ascii_lowercase}{digits}{MARKS}{ascii_uppercase}"
ASIDE = "\ue000"
"""Behind a character: the token that it is at the beginning of a text."""
DOCUMENTS, CHUNK = 24, 16
NOISE = NoiseFiller()
TASKS: dict[str, MemoryTask] = {
    "kv": KeyValue(num_pairs=3, key_length=2, value_length=2, num_queries=2),
    "copy": Copy(num_letters=7),
    "nback": NBack(num_letters=9, num_queries=3),
    "add": Addition(num_digits=3),
}


@dataclass(frozen=True)
class Written:
    """A tokenizer of the kind that Hugging Face has. Each name is a token; a character may be several."""

    names: Sequence[str]
    spelled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    merges: bool = False
    """A line break is one token with what follows it."""

    @property
    def all_special_ids(self) -> Collection[int]:
        return [self.names.index(name) for name in (UNKNOWN, BEGINNING)]

    @property
    def unk_token_id(self) -> int | None:
        return self.names.index(UNKNOWN)

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """The first character may be another token than within a text."""
        found = [BEGINNING] if add_special_tokens else []
        at = 0
        while at < len(text):
            for special in (UNKNOWN, BEGINNING):
                if text.startswith(special, at):
                    found.append(special)
                    at += len(special)
                    break
            else:
                size = 2 if self.merges and text[at] == "\n" and at + 1 < len(text) else 1
                name = text[at : at + size] + (ASIDE if at == 0 and text[at : at + size] + ASIDE in self.names else "")
                found += self.spelled.get(name, (name,))
                at += size
        return [self.names.index(name if name in self.names else UNKNOWN) for name in found]

    def decode(self, token_ids: list[int]) -> str:
        """What begins a text looks as within it; half a character cannot be shown."""
        whole = "".join(self.names[token] for token in token_ids).replace(ASIDE, "")
        for character, names in self.spelled.items():
            whole = whole.replace("".join(names), character)
        return "".join("\ufffd" if "\ue100" <= one < "\ue200" else one for one in whole)


def _begun() -> list[str]:
    """Those of the beginning of a text come first."""
    return [UNKNOWN, BEGINNING, *(f"{one}{ASIDE}" for one in EVERY), "\n", "\ue100", *EVERY]


def _halves() -> Written:
    """Of small letters all but the first are two tokens; capitals, digits and marks are one."""
    spelled = {letter: (chr(0xE100 + at // 6), chr(0xE110 + at % 6)) for at, letter in enumerate(ascii_lowercase) if at}
    names = [UNKNOWN, BEGINNING, "\n", *(chr(0xE100 + at) for at in (*range(5), *range(16, 22)))]
    return Written([*names, *"a", *digits, *MARKS, *ascii_uppercase], spelled)


def _split_digits() -> Written:
    """Of digits the first five are one token and the others two; everything else is one."""
    spelled = {digit: ("\ue100", chr(0xE110 + at)) for at, digit in enumerate(digits[5:])}
    names = [UNKNOWN, BEGINNING, "\n", "\ue100", *(second for _, second in spelled.values()), *digits[:5]]
    return Written([*names, *ascii_lowercase, *ascii_uppercase, *" ,.?"], spelled)


def of_tokens() -> list[str]:
    """What of tasks in such tokens is not as it was written down."""
    wrong = [*_known_beforehand()]
    for name, kind in TASKS.items():
        for what, tokenizer in (("beginnings", Written(_begun())), ("halves", _halves())):
            task = _task(kind, tokenizer)
            wrong += [f"{name} in {what}: {flaw}" for flaw in _documents(task, tokenizer)]
    number, tokenizer = Passkey(num_digits=12), _split_digits()
    wrong += [f"passkey in split digits: {flaw}" for flaw in _documents(_task(number, tokenizer), tokenizer)]
    return wrong + wrong_ends(_refused())


def _task(kind: MemoryTask, tokenizer: Written, filler: OneFiller = NOISE) -> Task:
    spec = TaskSpec(name="t", task=kind, vocabulary="tokenizer", chunk_size=CHUNK, gaps=(1,), filler=filler)
    return build_task(spec, 0, tokenizer)


def _known_beforehand() -> Iterator[str]:
    names = _begun()
    vocabulary, merging = TokenizerVocabulary(Written(names)), TokenizerVocabulary(Written([*names, "\na"], {}, True))
    within = [names.index(one) for one in EVERY]
    line = names.index("\n")
    if vocabulary.spell("a") != (names.index("a"),) or vocabulary.spell("ba") != tuple(map(names.index, "ba")):
        yield f"a is spelled {vocabulary.spell('a')} within a text, and is {names.index('a')}"
    if merging.spell("a") != (names.index(f"a{ASIDE}"),):
        yield f"a, which is one with a line break, is spelled {merging.spell('a')}, not as it is on its own"
    found = vocabulary.distinct(len(within)).tolist()
    if found != sorted({line, *within})[: len(within)] and found != within:
        yield f"tokens of use are {found[:5]} and so on, not {within[:5]}"
    if vocabulary.size != len(names):
        yield f"{len(names)} tokens are {vocabulary.size}"
    for kind in (TokenPairs(num_pairs=2, num_queries=2, num_keys=9, num_values=5, num_noise=6), SelectiveCopy(
        sequence_length=20, vocab_size=7, num_copied=5)):  # fmt: skip
        task = _task(kind, Written(names))
        tokens = {token for index in range(DOCUMENTS) for token in task.example("train", index, 1).tokens.tolist()}
        if not tokens <= set(found):
            yield f"{kind.kind} has token {min(tokens - set(found))}, which is of no use"


def _documents(task: Task, tokenizer: Written) -> Iterator[str]:
    """Read as text, they have the facts and the answers that they should; and chance is that of their tokens."""
    wrong = set[str]()
    for index in range(DOCUMENTS):
        document = task.example("validation", index, 1)
        (begin, facts), (asked, questions) = document.placed
        if asked + len(questions) > document.length or begin < 0:
            yield f"a document of {document.length} tokens has questions up to {asked + len(questions)}"
            return
        if asked // CHUNK - (begin + len(facts) - 1) // CHUNK - 1 < 1:
            yield "facts and questions are in chunks beside each other"
        wrong |= set(mistakes(_read(task, document, tokenizer)))
    yield from sorted(wrong)
    yield from _chance(task, tokenizer)


def _read(task: Task, document: Document, tokenizer: Written) -> Read:
    """The document in characters, each with the answer that its first token belongs to."""
    tokens, answers = document.tokens.tolist(), document.answers.tolist()
    firsts, text, at = list[int](), "", 0
    while at < len(tokens):
        two = tokenizer.decode(tokens[at : at + 2])
        size = 2 if len(two) == 1 else 1
        text += two if size == 2 else tokenizer.decode(tokens[at : at + 1])
        firsts.append(at)
        at += size
    place = {first: number for number, first in enumerate([*firsts, len(tokens)])}
    spans = [(place.get(start, -1), place.get(start + len(passage), -1)) for start, passage in document.placed]
    marked = [
        [number for number, first in enumerate(firsts) if answers[first] == one] for one in range(1, max(answers) + 1)
    ]
    shown = SimpleNamespace(spec=task.spec, vocabulary=SimpleNamespace(show=lambda _: text))
    return Read(cast(Any, shown), [ord(one) for one in text], marked, (spans[0], spans[1]), "noise")


def _chance(task: Task, tokenizer: Written) -> Iterator[str]:
    """Of answers of two letters at most, all written down."""
    kind = task.spec.task
    if isinstance(kind, Addition | Copy | Passkey):
        return
    count = kind.value_length if isinstance(kind, KeyValue) else 1
    spelled = [tuple(tokenizer.encode(f"\n{one}", add_special_tokens=False)[1:]) for one in ascii_lowercase]
    # A letter that is one token is known to be over; one of two tokens is known when its first is.
    letters: Answers = dict.fromkeys(spelled, 1)
    exact, token = best_guess(letters)
    found = task.chance()
    if not np.allclose((found.exact, found.token), (exact**count, token)):
        yield f"by chance {found.exact:.6g} and {found.token:.6g} are said to be right, {exact**count:.6g}, {token:.6g}"


def _refused() -> Iterator[Attempt]:
    """Tokenizers in which a task cannot be written."""
    names = _begun()
    kv, copy, add = TASKS["kv"], TASKS["copy"], TASKS["add"]
    lacks: Callable[[str], Written] = lambda some: Written([one for one in names if one[0] not in some])  # noqa: E731
    alike = {one: (other,) for one, other in zip("bB", "aC", strict=True)}
    yield fits("a task in tokens that there are", partial(_task, kv, Written(names)))
    yield fits("sums without letters", partial(_task, add, lacks("abc")))
    yield mistaken("pairs in a tokenizer without a letter", partial(_task, kv, lacks("q")))
    yield mistaken("pairs in a tokenizer without a mark", partial(_task, kv, lacks(";")))
    yield mistaken("noise in a tokenizer without a capital", partial(_task, copy, lacks("K")))
    yield mistaken("letters that are written alike", partial(_task, copy, Written(names, {"b": alike["b"]})))
    yield fits("capitals that are written alike", partial(_task, copy, Written(names, {"B": alike["B"]})))
    yield mistaken("a capital that is a letter", partial(_task, copy, Written(names, {"K": ("k",)})))
    yield mistaken("a capital of two tokens", partial(_task, copy, Written(names, {"K": ("K", "\ue100")})))
    yield mistaken("digits of two tokens", partial(_task, add, Written(names, {"7": ("7", "\ue100")})))
    shared = Written(names, {"7": ("K",)})
    yield fits("a digit that is a capital", partial(_task, kv, shared))
    unseen = partial(_unseen, kv)
    yield fits("unseen noise of digits", partial(unseen, Written(names)))
    yield mistaken("unseen noise that is among the usual", partial(unseen, shared))
    of_use = len(EVERY) + 1
    for more, works in ((0, True), (2, False)):
        pairs = TokenPairs(num_pairs=2, num_queries=2, num_keys=9, num_values=5, num_noise=of_use - 15 + more)
        act = partial(_task, pairs, Written(names))
        yield Attempt(f"{pairs.num_tokens} of {of_use - 1} tokens that are of use", act, works)


def _unseen(kind: MemoryTask, tokenizer: Written) -> None:
    _task(kind, tokenizer, UnseenNoise()).example("train", 0, 1)
