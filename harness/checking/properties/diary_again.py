"""What a diary holds after documents of two rows, against a list of what was read."""

from itertools import cycle, islice

import torch

from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.contexts.diary import BOUNDARY, Diary

ROWS, LENGTH, CAPACITY = 2, 7, 64
LENGTHS, PIECES = (7, 1, 12, 30, 2, 5, 9), (4, 30, 1, 3)
"""Tokens of documents, and of the pieces that they are read in; some are consolidated while they are read."""
CONTEXT = 5
DOCUMENTS = 21


def wrong_in_diary(whole: Contexts) -> int:
    """How many places and entries are not those that were written last, in the order of writing."""
    return _wrong_places(whole) + _wrong_entries(whole)


def _wrong_places(whole: Contexts) -> int:
    """Tokens are numbered as their places are, so that both show which ones are kept."""
    spec = whole.model_copy(update={"capacity": CAPACITY, "lists": None})
    diary = Diary.empty(ROWS, torch.device("cpu"))
    written: list[int] = []
    while len(written) < 3 * spec.capacity:
        documents = [range(len(written) + first, len(written) + first + LENGTH) for first in (1, 9)]
        diary = _placed(diary, documents).read(_tokens(documents), spec).closed(spec).consolidated(spec)
        for document in documents:
            written += [BOUNDARY, *document]
    wanted, wrong = written[-spec.capacity :], 0
    for kept in (diary.pages.tokens.tolist(), diary.pages.sources.tolist()):
        wrong += sum(a != b for a, b in zip(wanted, kept, strict=False)) + abs(len(wanted) - len(kept))
    return wrong


def _wrong_entries(whole: Contexts) -> int:
    """Each token with a next one is an entry once, whatever the pieces and wherever it was consolidated."""
    spec = whole.model_copy(update={"capacity": 10**4, "lists": None, "context": CONTEXT})
    diary, place = Diary.empty(ROWS, torch.device("cpu")), 0
    wanted: list[tuple[int, int, int]] = []
    for number, (length, size) in enumerate(islice(zip(cycle(LENGTHS), cycle(PIECES), strict=False), DOCUMENTS)):
        documents = [range(place + row * length, place + (row + 1) * length) for row in range(ROWS)]
        place += ROWS * length
        diary = _placed(diary, documents)
        for piece in _tokens(documents).split(size, dim=1):
            diary = diary.read(piece, spec)
            if number % 2:
                diary = diary.consolidated(spec)
        diary = diary.closed(spec).begun(ROWS)
        if number % 3 == 0:
            diary = diary.consolidated(spec)
        wanted += [(token, token + 1, token) for document in documents for token in document[:-1]]
    pages = diary.consolidated(spec).pages
    tokens, sources = pages.tokens.tolist(), pages.sources.tolist()
    found = [(tokens[at], tokens[at + 1], sources[at]) for at in pages.entries.tolist()]
    return len(set(found) ^ set(wanted)) + len(found) - len(set(found))


def _placed(diary: Diary, documents: list[range]) -> Diary:
    return diary.placed(torch.tensor([document[0] for document in documents]))


def _tokens(documents: list[range]) -> torch.Tensor:
    return torch.tensor([list(document) for document in documents], dtype=torch.int32)
