"""The naive twin of the context memory: lists of tokens, every entry compared with every query, one vote at a time.

The oracle that the fast form is tested against. It shares the parameters, the signs of the codes and the hash.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.contexts.codes import MULTIPLIER, weighted_signs
from cortexzoo.zoo.memory.contexts.diary import CONTEXT_ONLY
from cortexzoo.zoo.memory.contexts.memory import ContextMemory
from cortexzoo.zoo.memory.contexts.read_out import SPARE


@dataclass(frozen=True)
class Entry:
    """A context, the newest token first, the token that followed, and its place in a source; None: unknown."""

    context: tuple[int, ...]
    following: int
    source: int | None


@dataclass
class DiaryLoop:
    """Documents as lists: what was read, and what of it can be searched."""

    spec: Contexts
    rows: list[list[list[tuple[int, int | None]]]] = field(default_factory=list)
    """Of each row its documents since the last consolidation, each a list of (token, source)."""
    pages: list[tuple[int, int | None] | None] = field(default_factory=list)
    """What is searched, oldest first; None: a boundary."""

    @classmethod
    def of_pages(cls, spec: Contexts, tokens: list[int], sources: list[int]) -> "DiaryLoop":
        """A diary with these places, a token below 0 being a boundary."""
        places = zip(tokens, sources, strict=True)
        pages = [None if token < 0 else (token, source if source != -1 else None) for token, source in places]
        return cls(spec, pages=pages)

    def begin(self, sources: list[int | None]) -> None:
        """A new document in each row, from these places of the source on."""
        self.next = list(sources)
        while len(self.rows) < len(sources):
            self.rows.append([])
        for row, _ in enumerate(sources):
            self.rows[row].append([])

    def read(self, tokens: Int[Tensor, "batch time"]) -> None:
        """Reading on in each row's document."""
        for row, line in enumerate(tokens.tolist()):
            for token in line:
                place = self.next[row]
                self.rows[row][-1].append((token, place))
                self.next[row] = None if place is None else place + 1

    def consolidate(self) -> None:
        """Every row's documents go behind the others, and the oldest places go. To be called between documents."""
        for documents in self.rows:
            for document in documents:
                if document:
                    self.pages += [None, *document]
        self.pages = self.pages[-self.spec.capacity :]
        self.rows = []

    def entries(self) -> list[Entry]:
        """Every place with a token and a next one, oldest first."""
        found = []
        for place in range(len(self.pages) - 1):
            here, after = self.pages[place], self.pages[place + 1]
            if here is not None and after is not None and here[1] != CONTEXT_ONLY:
                found.append(Entry(self._context(place), after[0], here[1]))
        return found

    def _context(self, place: int) -> tuple[int, ...]:
        context: list[int] = []
        while place >= 0 and len(context) < self.spec.context and (slot := self.pages[place]) is not None:
            context.append(slot[0])
            place -= 1
        return tuple(context)


def mixed_by_votes(
    memory: ContextMemory,
    logits: Float[Tensor, " vocab"],
    hidden: Float[Tensor, " hidden"],
    context: tuple[int, ...],
    source: int | None,
    entries: list[Entry],
) -> tuple[Float[Tensor, " vocab"], Float[Tensor, ""]]:
    """log p after one context, the newest token first, and the share of what followed like contexts."""
    spec, read_out = memory.spec, memory.read_out
    found = _nearest(spec, read_out.book.vocab_size, context, source, entries)
    if not found:
        return logits.log_softmax(dim=0), logits.new_zeros(())
    runs = [_run(entry.context, context) for entry in found]
    scores = [
        read_out.run[run] + sum(read_out.lag[j] for j, (a, b) in enumerate(zip(entry.context, context)) if a == b)  # noqa: B905
        for entry, run in zip(found, runs, strict=True)
    ]
    shares = torch.stack([torch.zeros_like(scores[0]), *scores]).softmax(dim=0)
    votes = torch.zeros_like(logits)
    for entry, share in zip(found, shares[1:], strict=True):
        votes = votes + share / (1 - shares[0]) * torch.nn.functional.one_hot(torch.tensor(entry.following), len(votes))
    features = [shares[0], votes.max(), votes.square().sum(), shares.new_tensor(max(runs) / spec.context)]
    inner = memory.mixture.hidden(torch.cat([hidden, torch.stack(features)])).relu()
    share = memory.mixture.output(inner)[0].sigmoid()
    mixed: Tensor = ((1 - share) * logits.softmax(dim=0) + share * votes).log()
    return mixed, share


def _nearest(
    spec: Contexts, vocab_size: int, context: tuple[int, ...], source: int | None, entries: list[Entry]
) -> list[Entry]:
    """By distance of codes within the query's list, of equals the newest first; without the query's own occurrences."""
    own_list = [place for place, entry in enumerate(entries) if _listed(spec, vocab_size, entry.context) ==
                _listed(spec, vocab_size, context)]  # fmt: skip
    code = _code(spec, vocab_size, context)
    ordered = sorted(own_list, key=lambda place: (_distance(code, spec, vocab_size, entries[place].context), -place))
    if source is None:
        return [entries[place] for place in ordered[: spec.top_k]]
    near = [entries[place] for place in ordered[: spec.top_k + SPARE]]
    others = [entry for entry in near if entry.source is None or abs(entry.source - source) > spec.own_span]
    return others[: spec.top_k]


def _code(spec: Contexts, vocab_size: int, context: tuple[int, ...]) -> list[int]:
    signs = weighted_signs(vocab_size, tuple(spec.weights), spec.code_size)
    return [sum(int(signs[age, token, i]) for age, token in enumerate(context)) for i in range(spec.code_size)]


def _distance(code: list[int], spec: Contexts, vocab_size: int, context: tuple[int, ...]) -> int:
    return sum((a - b) ** 2 for a, b in zip(code, _code(spec, vocab_size, context), strict=True))


def _listed(spec: Contexts, vocab_size: int, context: tuple[int, ...]) -> int:
    hashed = 0
    for age in range(spec.list_tokens):
        token = context[age] if age < len(context) else vocab_size
        hashed = (hashed + token + 1) * MULTIPLIER % 2**32
    return hashed % spec.list_count


def _run(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    count = 0
    while count < min(len(a), len(b)) and a[count] == b[count]:
        count += 1
    return count
