"""What a diary holds after documents of one row to three, against a list of what was read."""

from itertools import cycle, islice, pairwise

import torch

from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.contexts.diary import BOUNDARY, Diary

ROWS, LENGTH, CAPACITY = 2, 7, 64
LENGTHS, PIECES = (7, 1, 12, 30, 2, 5, 9), (4, 30, 1, 3)
"""Tokens of documents, and of the pieces that they are read in; some are consolidated while they are read."""
BATCHES = (2, 3, 1)
"""Rows of one batch after the other."""
CONTEXT, CUT_ROWS, UNREAD = 5, 3, 4
"""Batches of so many rows are read before a consolidation: more than there is room for, of which no share is whole."""
DOCUMENTS = 21


def wrong_in_diary(whole: Contexts) -> int:
    """How many places and entries are not those that were written last, in the order of writing."""
    return _wrong_places(whole) + _wrong_entries(whole) + _wrong_where_cut(whole)


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
    """Each token with a next one is an entry once, whatever the pieces, rows, and wherever it was consolidated."""
    spec = whole.model_copy(update={"capacity": 10**4, "lists": None, "context": CONTEXT})
    diary, place = Diary.empty(ROWS, torch.device("cpu")), 0
    wanted: list[tuple[int, int, int]] = []
    for number, (length, size) in enumerate(islice(zip(cycle(LENGTHS), cycle(PIECES), strict=False), DOCUMENTS)):
        rows = BATCHES[number % len(BATCHES)]
        documents = [range(place + row * length, place + (row + 1) * length) for row in range(rows)]
        place += rows * length
        diary = _placed(diary.begun(rows), documents)
        for piece in _tokens(documents).split(size, dim=1):
            diary = diary.read(piece, spec)
            if number % 2:
                diary = diary.consolidated(spec)
        diary = diary.closed(spec)
        if number % 3 == 0:
            diary = diary.consolidated(spec)
        wanted += [(token, token + 1, token) for document in documents for token in document[:-1]]
    pages = diary.consolidated(spec).pages
    tokens, sources = pages.tokens.tolist(), pages.sources.tolist()
    found = [(tokens[at], tokens[at + 1], sources[at]) for at in pages.entries.tolist()]
    return len(set(found) ^ set(wanted)) + len(found) - len(set(found))


def _wrong_where_cut(whole: Contexts) -> int:
    """Of more than the capacity each row keeps its newest places, an equal share, and begins with a boundary.

    So no context reaches from one row's document into another's.
    """
    spec = whole.model_copy(update={"capacity": CAPACITY, "lists": None, "context": CONTEXT})
    diary, place, share = Diary.empty(CUT_ROWS, torch.device("cpu")), 0, -(-CAPACITY // CUT_ROWS)
    logs: list[list[int]] = [[] for _ in range(CUT_ROWS)]
    for length in islice(cycle((9, 4, 12)), UNREAD):
        documents = [range(place + row * length, place + (row + 1) * length) for row in range(CUT_ROWS)]
        place += CUT_ROWS * length
        diary = _placed(diary, documents).read(_tokens(documents), spec).closed(spec)
        logs = [[*log, BOUNDARY, *document] for log, document in zip(logs, documents, strict=True)]
    pages = diary.consolidated(spec).pages
    written = [token for log in logs for token in (BOUNDARY, *log[-share:][1:])][-CAPACITY:]
    tokens, wrong = pages.tokens.tolist(), 0
    for kept in (tokens, pages.sources.tolist()):
        wrong += sum(a != b for a, b in zip(written, kept, strict=False)) + abs(len(written) - len(kept))
    found = pages.contexts(pages.entries, CONTEXT).tolist()
    for entry, context in zip(pages.entries.tolist(), found, strict=True):
        before = [tokens[max(0, entry - age)] if age <= entry else BOUNDARY for age in range(CONTEXT)]
        if BOUNDARY in before:
            begins = before.index(BOUNDARY)
            before[begins:] = [BOUNDARY] * (CONTEXT - begins)
        wrong += context != before or any(a - b != 1 for a, b in pairwise(context) if b != BOUNDARY)
    return wrong


def _placed(diary: Diary, documents: list[range]) -> Diary:
    return diary.placed(torch.tensor([document[0] for document in documents]))


def _tokens(documents: list[range]) -> torch.Tensor:
    return torch.tensor([list(document) for document in documents], dtype=torch.int32)
