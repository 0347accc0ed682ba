"""`long-term-memory`: a search of the context memory beside FAISS, exact over the same codes."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cortexzoo.harness.bench.benchmark import Case, timed
from cortexzoo.specs import load_experiment
from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.memory.contexts.codes import CodeBook, Codes, Lists, contexts_of
from cortexzoo.zoo.memory.contexts.diary import Pages
from cortexzoo.zoo.memory.faiss_index import FlatIndex

ASKED, FOUND = 64, 16
"""Contexts searched for at once, and how many of the nearest are wanted."""


class LongTermMemory:
    """Entries are places of the Python library's source, queries come from its end; a list for every 16 entries.

    `recall_at_16`: how many of what is found are as near as the 16th nearest of all entries; `recall_at_16_in_list`:
    of those entries that end in the same last tokens, which is what the memory is asked for. `bytes_per_entry`: of
    diary and index together. `consolidation_seconds`: for building the index anew.
    """

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        text = source_text()
        sizes = (1_000, 10_000, 100_000) if quick else (1_000, 10_000, 100_000, 1_000_000)
        return [search_case(text, size) for size in sizes]


def source_text() -> Tensor:
    """Bytes of the Python library, repeated nowhere."""
    data = load_data(load_experiment("cortexgpt-stable", ["data=python-library"]))
    assert isinstance(data, TextData)
    return torch.from_numpy(np.concatenate([data.train, data.validation, data.test])).to(torch.int32)


def search_case(text: Tensor, entries: int) -> Case:
    """One size."""
    spec = Contexts(capacity=entries)
    book = CodeBook(spec, 256)
    read = text[: min(entries, len(text) - 2 * ASKED)]
    pages = Pages(read, torch.full_like(read, -1))
    queries = contexts_of(text[None, -ASKED:].long(), text[None, -2 * ASKED : -ASKED].long(), spec.context)[0]
    codes, lists = book.of_contexts(pages.contexts(pages.entries, book.spec.context))
    exact = FlatIndex(torch.from_numpy(codes))
    asked, _ = book.of_contexts(queries)
    vectors = torch.from_numpy(asked)
    build = timed(lambda: Pages(read, torch.full_like(read, -1)).index(book))
    return Case(
        f"entries-{entries}",
        timed(lambda: pages.index(book).search(*book.of_contexts(queries), FOUND)),
        timed(lambda: exact.search(vectors, FOUND)),
        size=len(pages.entries),
        peak_bytes=lambda: pages.tokens.nbytes + pages.sources.nbytes + codes.nbytes + 8 * len(codes),
        figures=figures(book, pages, codes, lists, queries, vectors, exact, build),
    )


def figures(
    book: CodeBook,
    pages: Pages,
    codes: Codes,
    lists: Lists,
    queries: Tensor,
    vectors: Tensor,
    exact: FlatIndex,
    build: Callable[[], float],
) -> Callable[[], Mapping[str, float]]:
    def measure() -> dict[str, float]:
        places = pages.index(book).search(*book.of_contexts(queries), FOUND)
        row_of = torch.full((len(pages.tokens),), -1)
        row_of[pages.entries] = torch.arange(len(pages.entries))
        found = distances(vectors, codes, torch.where(places < 0, -1, row_of[places.clamp_min(0)]))
        best = distances(vectors, codes, exact.search(vectors, FOUND))
        own = in_own_list(book, codes, lists, queries)
        return {
            "recall_at_16": float((found <= best[:, -1:]).double().mean()),
            "recall_at_16_in_list": float((found == own).double().mean()),
            "bytes_per_entry": (pages.tokens.nbytes + pages.sources.nbytes + codes.nbytes + 8 * len(codes))
            / len(codes),
            "consolidation_seconds": build(),
        }

    return measure


def in_own_list(book: CodeBook, codes: Codes, lists: Lists, queries: Tensor) -> Tensor:
    """[asked, 16] squared distances to the nearest in each query's own list, by brute force."""
    asked, own = book.of_contexts(queries)
    best = torch.full((len(asked), FOUND), torch.inf)
    for row, (code, number) in enumerate(zip(asked, own, strict=True)):
        apart = np.sort(np.square(codes[lists == number] - code).sum(axis=1))[:FOUND]
        best[row, : len(apart)] = torch.from_numpy(apart)
    return best


def distances(vectors: Tensor, codes: np.ndarray[tuple[int, ...], np.dtype[np.float32]], rows: Tensor) -> Tensor:
    """[asked, found] squared distances; infinite where nothing was found."""
    near = torch.from_numpy(codes)[rows.clamp_min(0)]
    apart = (near - vectors[:, None]).square().sum(dim=-1)
    return torch.where(rows < 0, torch.inf, apart)
