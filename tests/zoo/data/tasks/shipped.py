"""The shipped tasks, small enough for a test, and answers worked out from the text alone."""

import re
from collections.abc import Sequence
from functools import cache

from cortexzoo import specs
from cortexzoo.specs.task import SelectiveCopy, TaskSpec
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.document import Document
from cortexzoo.zoo.data.tasks.task import Task

NAMES = [name for name in specs.shipped_names("data") if specs.load(name, "data").family == "task"]
SMALL = {"selective-copy": ["task.sequence_length=200"], "mqar-512-64": ["task.vocab_size=512"]}


@cache
def spec_of(name: str, *overrides: str) -> TaskSpec:
    spec = specs.load(name, "data", [*SMALL.get(name, []), *overrides])
    assert isinstance(spec, TaskSpec)
    return spec


@cache
def task_of(name: str, *overrides: str, seed: int = 0) -> Task:
    return build_task(spec_of(name, *overrides), seed)


def answers_of(document: Document) -> list[tuple[int, list[int]]]:
    """Where each answer begins, and its tokens."""
    tokens, numbers = document.tokens, document.answers
    found = []
    for number in range(1, numbers.max() + 1):
        places = (numbers == number).nonzero()[0]
        assert (places == range(places[0], places[0] + len(places))).all()
        found.append((int(places[0]), tokens[places].tolist()))
    return found


def solved(task: Task, before: Sequence[int]) -> list[int] | None:
    """The answer that follows from the tokens before it, found by reading as a person would. None: it does not."""
    kind = task.spec.task.kind
    if kind in ("kv_tokens", "overwrite", "mqar"):
        return _last_bound(before)
    if isinstance(task.spec.task, SelectiveCopy):
        content = [token for token in before if token < task.spec.task.vocab_size - 2]
        return content if len(content) == task.spec.task.num_copied else None
    text = bytes(before).decode()
    written = {"kv": _value, "copy": _backwards, "nback": _back, "add": _sum, "passkey": _passkey}[kind](text)
    return None if written is None else list(written.encode())


def _last_bound(before: Sequence[int]) -> list[int] | None:
    *earlier, key = before
    places = [place for place, token in enumerate(earlier) if token == key]
    return [before[places[-1] + 1]] if places else None


def _value(text: str) -> str | None:
    key = text[-5:]
    assert re.fullmatch(r"\?[a-z]{3}=", key)
    found = re.findall(rf"(?<![a-z]){key[1:]}([a-z]{{4}});", text)
    return found[0] if len(found) == 1 else None


def _backwards(text: str) -> str | None:
    found = re.search(r"\(([a-z]{16})\)", text)
    return found and found[1][::-1]


def _back(text: str) -> str | None:
    found, asked = re.search(r"\(([a-z]{8})\)", text), re.search(r"\?(\d\d)=$", text)
    assert asked
    return found and found[1][-int(asked[1])]


def _sum(text: str) -> str | None:
    found = re.search(r"(?<!\d)(\d{32})\+(\d{32})(?!\d)", text)
    return found and str(int(found[1]) + int(found[2])).zfill(33)


def _passkey(text: str) -> str | None:
    assert text.endswith("The pass key is ")
    found = re.search(r"The pass key is (\d{5}),", text)
    return found and found[1]
