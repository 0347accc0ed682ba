"""The vector index behind long-term memory: exact search, built from codes, never pickled."""

import contextlib
import io
from functools import cached_property

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
