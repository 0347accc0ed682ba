"""The diary of a context memory: tokens as they were read, in order, and a log of what was read since.

A boundary is a place with no token: contexts and continuations do not reach across it. Reading only adds to the log;
consolidation moves the log into the pages, which are what is searched. So nothing that a batch reads can be found
before the next consolidation, by whatever row of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int, Shaped, UInt8
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.contexts.codes import CodeBook
from cortexzoo.zoo.memory.faiss_index import ListedIndex

BOUNDARY = -1
NO_TOKEN = -2
UNKNOWN = -1
"""The source of a token that stands in no known place."""
CONTEXT_ONLY = -2
"""The source of a token that is repeated as context: its own entry stands elsewhere."""
CHUNK = 1 << 16
"""Entries that are coded at once."""


@dataclass(frozen=True)
class Pages:
    """What is searched, oldest first: each token that has a next one is an entry. Its index stays with it."""

    tokens: Int[Tensor, " places"]
    sources: Int[Tensor, " places"]

    @property
    def filled(self) -> int:
        return len(self.tokens)

    @cached_property
    def entries(self) -> Int[Tensor, " entries"]:
        """The places that are entries. On the meta device all may be."""
        if self.tokens.is_meta:
            return self.tokens[:-1]
        is_entry = (self.tokens[:-1] != BOUNDARY) & (self.tokens[1:] != BOUNDARY) & (self.sources[:-1] != CONTEXT_ONLY)
        return is_entry.nonzero()[:, 0]

    def contexts(self, places: Int[Tensor, "*found"], length: int) -> Int[Tensor, "*found length"]:
        """The tokens up to each place, the newest first; boundaries from the first one on."""
        return torch.where(self._inside(places, length) > 0, self._up_to(places, length).int(), BOUNDARY)

    def matching(
        self, places: Int[Tensor, "asked found"], queries: Int[Tensor, "asked length"]
    ) -> Float[Tensor, "asked found length"]:
        """1 where tokens of the contexts that end at `places` equal those of the queries. Boundaries equal nothing.

        In float32 throughout, where comparing is several times as fast as with a result of another type.
        """
        length = queries.shape[1]
        asked = torch.where(queries == BOUNDARY, NO_TOKEN, queries).float()
        tokens = self._up_to(places, length)
        return torch.eq(tokens, asked[:, None], out=torch.empty_like(tokens)).mul_(self._inside(places, length))

    def index(self, book: CodeBook) -> ListedIndex:
        """The index over all entries, built at the first search."""
        if book.spec not in self._indices:
            index = ListedIndex(book.spec.code_size, book.spec.list_count)
            for places in self.entries.flip(0).split(CHUNK):
                index.add(places, *book.of_contexts(self.contexts(places, book.spec.context)))
            self._indices[book.spec] = index
        return self._indices[book.spec]

    def _up_to(self, places: Int[Tensor, "*found"], length: int) -> Float[Tensor, "*found length"]:
        """The tokens up to each place, the newest first, across boundaries; float32 represents 2²⁴ of them exactly."""
        if length not in self._reversed:
            self._reversed[length] = F.pad(self.tokens.float().flip(0), (0, length - 1), value=BOUNDARY)
        windows = self._reversed[length].unfold(0, length, 1)
        return _rows(windows, self.filled - 1 - places)

    def _inside(self, places: Int[Tensor, "*found"], length: int) -> Float[Tensor, "*found length"]:
        """1 for those of these tokens that are of the place's own document."""
        since = torch.arange(256, device=places.device)
        inside = (torch.arange(length, device=places.device) < since[:, None]).float()
        return _rows(inside, self._since_boundary[places].int())

    @cached_property
    def _since_boundary(self) -> UInt8[Tensor, " places"]:
        """How many tokens of its document a place has up to it, itself included, at most 255; 0: it is a boundary."""
        places = torch.arange(self.filled, dtype=torch.int32, device=self.tokens.device)
        boundaries = torch.where(self.tokens == BOUNDARY, places, -1)
        return (places - boundaries.cummax(dim=0).values).clamp_max(255).to(torch.uint8)

    @cached_property
    def _indices(self) -> dict[object, ListedIndex]:
        return {}

    @cached_property
    def _reversed(self) -> dict[int, Tensor]:
        return {}


@dataclass(frozen=True)
class Diary:
    """Pages, log, and the documents that the rows of the batch are in.

    `open` is what each row read of its document since `kept`, behind so many tokens of context that the log has
    already; `begins` is the source of the first of these tokens, or UNKNOWN.
    """

    pages: Pages
    log: Int[Tensor, "rows logged"]
    log_sources: Int[Tensor, "rows logged"]
    open: Int[Tensor, "batch read"]
    begins: Int[Tensor, " batch"]
    kept: int = 0

    @classmethod
    def empty(cls, batch_size: int, device: torch.device) -> "Diary":
        """Nothing read."""
        none = torch.zeros(0, dtype=torch.int32, device=device)
        rows = none.new_zeros(batch_size, 0)
        return cls(Pages(none, none), rows, rows, rows, none.new_full((batch_size,), UNKNOWN))

    def tensors(self) -> dict[str, Tensor]:
        """All contents by name."""
        return {
            "tokens": self.pages.tokens,
            "sources": self.pages.sources,
            "log": self.log,
            "log_sources": self.log_sources,
            "open": self.open,
            "begins": self.begins,
            "kept": torch.tensor(self.kept),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Diary":
        """The inverse of `tensors`."""
        return cls(
            Pages(tensors["tokens"], tensors["sources"]),
            tensors["log"],
            tensors["log_sources"],
            tensors["open"],
            tensors["begins"],
            int(tensors["kept"]),
        )

    def placed(self, sources: Int[Tensor, " batch"]) -> "Diary":
        """The same, with the places in their source where the next documents begin."""
        return replace(self, begins=sources.to(self.begins))

    def read(self, tokens: Int[Tensor, "batch time"], spec: Contexts) -> "Diary":
        """After reading on in every row's document, in whatever pieces it comes."""
        diary = self
        while (room := spec.open_length - diary.open.shape[1]) < tokens.shape[1]:
            grown = replace(diary, open=torch.cat([diary.open, tokens[:, :room].to(diary.open.dtype)], dim=1))
            diary, tokens = grown._moved_on(spec), tokens[:, room:]
        return replace(diary, open=torch.cat([diary.open, tokens.to(diary.open.dtype)], dim=1))

    def closed(self, spec: Contexts) -> "Diary":
        """After the end of every document."""
        return self._logged(spec).begun(len(self.open))

    def begun(self, batch_size: int) -> "Diary":
        """Before `batch_size` new documents; what is open is dropped."""
        fresh = Diary.empty(batch_size, self.open.device)
        return replace(self, open=fresh.open, begins=fresh.begins, kept=0)

    def consolidated(self, spec: Contexts) -> "Diary":
        """The log, row after row, at the end of the pages; beyond the capacity the oldest places are dropped."""
        moved = self._moved_on(spec)
        tokens = torch.cat([self.pages.tokens, moved.log.flatten()])[-spec.capacity :]
        sources = torch.cat([self.pages.sources, moved.log_sources.flatten()])[-spec.capacity :]
        none = self.log.new_zeros(len(self.open), 0)
        return replace(moved, pages=Pages(tokens, sources), log=none, log_sources=none)

    def _moved_on(self, spec: Contexts) -> "Diary":
        """With the open documents in the log, of which only the last tokens stay, as context for what comes."""
        kept = self.open[:, -spec.context :]
        passed = self.open.shape[1] - kept.shape[1]
        begins = torch.where(self.begins == UNKNOWN, UNKNOWN, self.begins + passed)
        return replace(self._logged(spec), open=kept, begins=begins, kept=kept.shape[1])

    def _logged(self, spec: Contexts) -> "Diary":
        """With the open documents at the end of the log, each behind a boundary; nothing without new tokens."""
        if self.open.shape[1] <= self.kept:
            return self
        length = self.open.shape[1]
        offsets = torch.arange(length, device=self.open.device, dtype=self.begins.dtype)
        known = self.begins[:, None] != UNKNOWN
        sources = torch.where(known, self.begins[:, None] + offsets, UNKNOWN)
        # The last token of the context has its continuation only now.
        sources[:, : max(0, self.kept - 1)] = CONTEXT_ONLY
        log, sources = (
            _joined(_padded(old, len(new)), _padded(F.pad(new, (1, 0), value=BOUNDARY), len(old)))
            for old, new in ((self.log, self.open), (self.log_sources, sources))
        )
        most = -(-spec.capacity // log.shape[0])
        log, sources = log[:, -most:], sources[:, -most:]
        # Where a document is cut off, a boundary too: in the pages another row's stands before it.
        log[:, 0] = sources[:, 0] = BOUNDARY
        return replace(self, log=log, log_sources=sources)


def cut_at_boundary(tokens: Int[Tensor, "*places length"]) -> Int[Tensor, "*places length"]:
    """Contexts, the newest token first, with nothing behind the first boundary."""
    inside = (tokens != BOUNDARY).cumprod(dim=-1).bool()
    return torch.where(inside, tokens, BOUNDARY)


def _rows(table: Shaped[Tensor, "rows width"], index: Int[Tensor, "*found"]) -> Shaped[Tensor, "*found width"]:
    """table[index], whole rows at a time: several times as fast as indexing."""
    rows: Tensor = table.index_select(0, index.flatten()).unflatten(0, index.shape)
    return rows


def _padded(rows: Tensor, at_least: int) -> Tensor:
    return F.pad(rows, (0, 0, 0, max(0, at_least - len(rows))), value=BOUNDARY)


def _joined(left: Tensor, right: Tensor) -> Tensor:
    return torch.cat([left, right], dim=1)
