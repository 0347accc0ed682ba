"""Searches of a memory of contexts: codes tell contexts apart as their formula requires, and each entry is found."""

import itertools
import math

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding
from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.contexts.codes import CodeBook
from cortexzoo.zoo.memory.contexts.diary import Diary
from cortexzoo.zoo.models.cortexgpt import CortexGPT

FOUND = 5
NONE = -1
STANDARD_DEVIATIONS = 7
CONTEXTS, FEW_TOKENS = 40, 16
"""So many contexts are compared by their lists; of fewer tokens than that, many are the same."""


def found_in_lists(model: CortexGPT, diary: Diary, case: Case) -> Finding:
    """Contexts that are in the diary, against all entries of their list."""
    assert model.contexts is not None
    book, pages = model.contexts.read_out.book, diary.pages
    if wrong := wrong_book(book):
        return Finding(0.0, wrong, case)
    if not len(pages.entries):
        raise DoesNotApply("long-term memory stays empty: nothing is searched")
    contexts = pages.contexts(pages.entries, book.spec.context)
    codes, lists = (torch.from_numpy(array) for array in book.of_contexts(contexts))
    asked = torch.arange(0, len(codes), max(1, len(codes) // 64))
    # Row by row: all differences at once take 13 GB for 64 codes among 393,216 of 64 numbers.
    distances = torch.stack([(codes[one] - codes).square().sum(dim=-1) for one in asked.tolist()])
    distances = distances.masked_fill(lists[asked][:, None] != lists, torch.inf)
    nearest = distances.topk(min(FOUND, len(codes)), largest=False).values
    places = pages.index(book).search(codes[asked].numpy(), lists[asked].numpy(), nearest.shape[1])
    entry_at = torch.zeros(pages.filled, dtype=torch.long)
    entry_at[pages.entries] = torch.arange(len(codes))
    found = distances.gather(1, entry_at[places.clamp_min(0)]).masked_fill(places < 0, torch.inf)
    recall = float((found == nearest).double().mean())
    for entry in (0, len(codes) - 1):  # the ends, which a share of the whole would not show
        others = int(((codes == codes[entry]).all(dim=-1) & (lists == lists[entry])).sum())
        own = pages.index(book).search(codes[entry : entry + 1].numpy(), lists[entry : entry + 1].numpy(), others)
        if int(pages.entries[entry]) not in own[0].tolist():
            return Finding(0.0, f"entry {entry + 1} of {len(codes)} is not found by its own context", case)
    return Finding(recall, f"recall@{FOUND} {recall:.3f} among {len(codes)} entries", case)


def wrong_book(book: CodeBook) -> str | None:
    """What is wrong with the codes of contexts, or with their lists."""
    return _wrong_codes(book) or _wrong_lists(book)


def _tokens(book: CodeBook) -> list[int]:
    """None, and the ends of the vocabulary with what is beside them."""
    return sorted({NONE, 0, min(1, book.vocab_size - 1), book.vocab_size - 1})


def _wrong_codes(book: CodeBook) -> str | None:
    """Of contexts that differ in one token: a code moves by the weight of the token's age, in signs of its own."""
    spec = book.spec
    for age in range(spec.context):
        weight = max(1, round(32 * spec.decay**age))
        alike = _codes(book, [[NONE] * age + [token] for token in _tokens(book)])
        for (one, first), (other, second) in itertools.combinations(zip(_tokens(book), alike, strict=True), 2):
            moved = ((first - second) / weight).abs()
            least, size = (1.0, spec.code_size) if NONE in (one, other) else (2.0, _about_half(moved))
            if set(moved.unique().tolist()) - {0.0, least} or int((moved > 0).sum()) != size:
                return f"codes of contexts with {_named(one)} and {_named(other)} {age} places back are no signs apart"
    random = torch.Generator().manual_seed(0)
    whole = torch.randint(NONE, book.vocab_size, (1, spec.context), generator=random)[0].tolist()
    parts = _codes(book, [[NONE] * age + [token] for age, token in enumerate(whole)])
    if not torch.equal(_codes(book, [whole])[0], parts.sum(0)):
        return "the code of a context is not the sum of those of its tokens"
    return None


def _about_half(moved: Tensor) -> int:
    """How many signs of two tokens differ: as many as do, where that may be chance."""
    differing, size = int((moved > 0).sum()), len(moved)
    return differing if abs(differing - size / 2) <= STANDARD_DEVIATIONS * math.sqrt(size) / 2 else -1


def _codes(book: CodeBook, contexts: list[list[int]]) -> Tensor:
    return torch.from_numpy(book.of_contexts(_padded(book.spec, contexts))[0])


def _padded(spec: Contexts, contexts: list[list[int]]) -> Tensor:
    return torch.tensor([context + [NONE] * (spec.context - len(context)) for context in contexts])


def _wrong_lists(book: CodeBook) -> str | None:
    """The list depends on each of the newest tokens, and on no others."""
    spec = book.spec
    random = torch.Generator().manual_seed(1)
    drawn = torch.randint(0, book.vocab_size, (CONTEXTS, spec.context), generator=random)
    lists = torch.from_numpy(book.of_contexts(drawn)[1])
    chance = 1 / spec.list_count
    most = chance + (STANDARD_DEVIATIONS * math.sqrt(chance * CONTEXTS) + 1) / CONTEXTS
    if not bool(((lists >= 0) & (lists < spec.list_count)).all()):
        return "a context belongs to a list that there is not"
    for age in range(spec.context):
        changed = drawn.clone()
        changed[:, age] = NONE
        stays = float((torch.from_numpy(book.of_contexts(changed)[1]) == lists).double().mean())
        if age >= spec.list_tokens and stays < 1:
            return f"the list of a context depends on a token {age} places back, beyond {spec.list_tokens}"
        if age < spec.list_tokens and book.vocab_size >= FEW_TOKENS and stays > most:
            return f"the list of a context does not depend on the token {age} places back"
    return None


def _named(token: int) -> str:
    return "no token" if token == NONE else f"token {token}"
