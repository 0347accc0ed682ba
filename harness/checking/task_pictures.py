"""Documents of memory tasks as they are drawn for the eye, against their tokens."""

from collections.abc import Iterator
from itertools import groupby
from typing import Literal

from cortexzoo.specs.task import Copy, KeyValue, MultiQueryRecall, SelectiveCopy, TaskSpec
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.document import Document
from cortexzoo.zoo.data.tasks.drawing import draw
from cortexzoo.zoo.data.tasks.task import Task

CHUNK, GAPS, DOCUMENTS = 8, (0, 1, 3), 3
OWN: Literal["own"] = "own"
BYTES: Literal["bytes"] = "bytes"
KINDS = (
    (KeyValue(num_pairs=3, key_length=2, value_length=2, num_queries=2), OWN),
    (Copy(num_letters=5), BYTES),
    (MultiQueryRecall(vocab_size=18, sequence_length=21, num_pairs=4), OWN),
    (SelectiveCopy(sequence_length=20, vocab_size=7, num_copied=5), OWN),
)
END, LONGEST = 6, 12
"""Tokens of noise at either end that are shown, and of a stretch that is shown whole."""
NOISE, GIVEN = -2, -1
"""What a token is; an answer has its number."""


def of_pictures() -> list[str]:
    """Of documents of several tasks and gaps."""
    wrong = []
    for kind, vocabulary in KINDS:
        task = build_task(TaskSpec(name="drawn", task=kind, vocabulary=vocabulary, chunk_size=CHUNK, gaps=GAPS), 0)
        for gap in GAPS:
            for index in range(DOCUMENTS):
                document = task.example("train", index, gap)
                found, wanted = draw(task, document), task.vocabulary.separator.join(_stretches(task, document))
                if found != wanted:
                    wrong.append(f"{kind.kind} over {gap} chunks is drawn as {found!r}, should be {wanted!r}")
    return wrong


def _stretches(task: Task, document: Document) -> Iterator[str]:
    """Noise cut short, what is given, and each answer in brackets; none goes across the border of a passage."""
    kinds = [(0, NOISE)] * document.length
    for number, (begin, passage) in enumerate(document.placed, start=1):
        for at, (token, answer) in enumerate(zip(passage.tokens.tolist(), passage.answers.tolist(), strict=True)):
            kinds[begin + at] = (number, NOISE if token < 0 else answer or GIVEN)
        end = begin + len(passage)
        kinds[end:] = [(-number, NOISE)] * (document.length - end)
    tokens = document.tokens.tolist()
    for (_, kind), places in groupby(range(document.length), key=kinds.__getitem__):
        own = [tokens[at] for at in places]
        shown = task.vocabulary.show(own)
        if kind == NOISE and len(own) > LONGEST:
            ends = task.vocabulary.show(own[:END]), task.vocabulary.show(own[-END:])
            shown = f"{ends[0]}…({len(own) - LONGEST:,})…{ends[1]}"
        yield f"[{shown}]" if kind > 0 else shown
