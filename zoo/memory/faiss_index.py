"""The vector indices behind long-term memory: built from codes, never pickled."""

import contextlib
import io
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int
from torch import Tensor

with contextlib.redirect_stderr(io.StringIO()):
    import faiss


class FlatIndex:
    """FAISS flat L2 index over a fixed set of codes: exact, and right below about 1e5 vectors."""

    def __init__(self, codes: Float[Tensor, "entries code"]) -> None:
        self.codes = codes

    @cached_property
    def _index(self) -> "faiss.IndexFlatL2":
        index = faiss.IndexFlatL2(self.codes.shape[1])
        index.add(self.codes.detach().float().cpu().contiguous().numpy())
        return index

    def search(self, queries: Float[Tensor, "asked code"], k: int) -> Int[Tensor, "asked found"]:
        """Ids of the min(k, entries) codes nearest to each query, nearest first, on the queries' device.

        On the meta device, which has shapes alone, the product that an exact search costs.
        """
        k = min(k, self.codes.shape[0])
        if queries.is_meta:
            return (queries.detach().float() @ self.codes.detach().float().T).topk(k).indices
        _, ids = self._index.search(queries.detach().float().cpu().contiguous().numpy(), k)
        return torch.from_numpy(ids).to(queries.device)


class ListedIndex:
    """FAISS inverted lists over codes: a query is compared with the entries of its own list alone.

    Who adds a code names its list, so there are no centroids to train. Codes are whole numbers; of equally near entries
    the one that was added first comes first. What a query finds depends on no other query and on no number of threads.
    """

    def __init__(self, width: int, list_count: int) -> None:
        self._quantizer = faiss.IndexFlatL2(width)  # never asked, but it must outlive the index
        self._index: Any = faiss.IndexIVFFlat(self._quantizer, width, list_count)
        self._index.is_trained = True
        self._index.parallel_mode = 3  # queries share the threads; the default leaves all to one
        self._parts: list[Tensor] = []

    def add(
        self,
        places: Int[Tensor, " entries"],
        codes: npt.NDArray[np.float32],
        lists: npt.NDArray[np.int64],
    ) -> None:
        """Add the entries of some places, each with its code and its list."""
        count = len(codes)
        ids = np.arange(count) + self._index.ntotal  # of equally near ones FAISS finds the smaller id
        self._index.add_core(count, faiss.swig_ptr(codes), faiss.swig_ptr(ids), faiss.swig_ptr(lists))
        self._parts.append(places)

    def search(
        self, codes: npt.NDArray[np.float32], lists: npt.NDArray[np.int64], k: int
    ) -> Int[Tensor, "asked found"]:
        """Places of the k nearest entries of each query's list, nearest first; −1 where the list has fewer."""
        self._parts = [torch.cat(self._parts)]
        (places,) = self._parts
        _, found = self._index.search_preassigned(codes, k, lists[:, None], np.zeros((len(lists), 1), np.float32))
        ids = torch.from_numpy(found).to(places.device)
        return torch.where(ids < 0, -1, places[ids.clamp_min(0)])
