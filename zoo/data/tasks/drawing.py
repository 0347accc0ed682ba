"""A document for the eye: answers in brackets, long noise cut short."""

from itertools import groupby

import numpy as np

from cortexzoo.zoo.data.tasks.document import BLANK, Document, Passage
from cortexzoo.zoo.data.tasks.task import Task

SHOWN_NOISE = 6
"""Tokens shown at either end of a stretch of noise."""


def draw(task: Task, document: Document) -> str:
    """One line: `…AQXabc=wxyz;MRK…(4,096)…PFN?abc=[wxyz]QWE`; in parentheses how many tokens of noise are left out."""
    ends = [start + len(passage) for start, passage in document.placed]
    starts = [start for start, _ in document.placed]
    drawn = [_noise(task, document, 0, starts[0])]
    for index, (start, passage) in enumerate(document.placed):
        drawn.append(_passage(task, document, start, passage))
        following = starts[index + 1] if index + 1 < len(starts) else document.length
        drawn.append(_noise(task, document, ends[index], following))
    return task.vocabulary.separator.join(filter(None, drawn))


def _passage(task: Task, document: Document, start: int, passage: Passage) -> str:
    drawn = []
    kinds = np.where(passage.tokens == BLANK, BLANK, passage.answers)
    begin = start
    for kind, run in groupby(kinds.tolist()):
        end = begin + len(list(run))
        if kind == BLANK:
            drawn.append(_noise(task, document, begin, end))
        else:
            text = task.vocabulary.show(document.cut(begin, end)[0].tolist())
            drawn.append(f"[{text}]" if kind else text)
        begin = end
    return task.vocabulary.separator.join(drawn)


def _noise(task: Task, document: Document, begin: int, end: int) -> str:
    hidden = end - begin - 2 * SHOWN_NOISE
    if hidden <= 0:
        return task.vocabulary.show(document.cut(begin, end)[0].tolist())
    first = task.vocabulary.show(document.cut(begin, begin + SHOWN_NOISE)[0].tolist())
    last = task.vocabulary.show(document.cut(end - SHOWN_NOISE, end)[0].tolist())
    return f"{first}…({hidden:,})…{last}"
