"""How many bytes tensors take at once, counted as they are made and freed, so that each run gives the same."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


class HeldBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made under it and not yet freed, and keeps the most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: int = 0
        self.most: int = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if size == 0 or place in self._known:
            return
        self._known.add(place)
        self.held += size
        self.most = max(self.most, self.held)
        weakref.finalize(storage, self._free, place, size)

    def _free(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.held -= size


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes of tensors that one call needs at once, beside those that are there already."""
    held = HeldBytes()
    with held:
        work()
    return held.most


def counted_flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products of one call, as its code runs them."""

    def in_place(_into: object, a: list[int], b: list[int], *_: object, **__: object) -> int:
        return 2 * a[0] * a[1] * a[2] * b[2]

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: in_place}) as counter:
        work()
    return int(counter.get_total_flops())
