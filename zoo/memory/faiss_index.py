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
    """FAISS inverted lists over a fixed set of codes: a query is compared with the entries of its own list alone.

    Who builds it names the list of each code, so there are no centroids to train. Codes are whole numbers; of equally
    near entries the newest comes first. What a query finds depends on no other query and on no number of threads.
    """

    def __init__(
        self,
        places: Int[Tensor, " entries"],
        codes: npt.NDArray[np.float32],
        lists: npt.NDArray[np.int64],
    ) -> None:
        # FAISS prefers the smaller id among equals, so the newest comes first.
        self._places = places.flip(0)
        self._list_count = int(lists.max()) + 1
        count, width = codes.shape
        self._quantizer = faiss.IndexFlatL2(width)  # never asked, but it must outlive the index
        self._index: Any = faiss.IndexIVFFlat(self._quantizer, width, self._list_count)
        self._index.is_trained = True
        newest_first, ids = np.ascontiguousarray(codes[::-1]), np.arange(count)
        their_lists = np.ascontiguousarray(lists[::-1])
        self._index.add_core(count, faiss.swig_ptr(newest_first), faiss.swig_ptr(ids), faiss.swig_ptr(their_lists))

    def search(
        self, codes: npt.NDArray[np.float32], lists: npt.NDArray[np.int64], k: int
    ) -> Int[Tensor, "asked found"]:
        """Places of the k nearest entries of each query's list, nearest first; −1 where the list has fewer."""
        known = np.where(lists < self._list_count, lists, -1)[:, None]
        _, found = self._index.search_preassigned(codes, k, known, np.zeros(known.shape, np.float32))
        ids = torch.from_numpy(found).to(self._places.device)
        return torch.where(ids < 0, -1, self._places[ids.clamp_min(0)])
