"""What a hybrid remembers: a value, never changed in place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from cortexzoo.zoo.models.base import BaseCache
from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.ops.sliding_window import WindowState


@dataclass(frozen=True)
class SidecarState:
    """What one sidecar carries from token to token."""

    fast_weights: Float[Tensor, "batch heads key_dim value_dim"]
    """The gated delta memory S, in float32 or wider."""
    conv_state: Float[Tensor, "batch lags channels"]
    """The last inputs of the short convolution: queries, keys and values beside each other."""
    window_keys: Float[Tensor, "batch held heads head_dim"]
    window_values: Float[Tensor, "batch held heads head_dim"]
    expected: Float[Tensor, "batch outputs"] | None = None
    """What the slow store answered to the last token; None: there is no slow store."""

    @property
    def window(self) -> WindowState:
        return WindowState(self.window_keys, self.window_values)

    def map(self, change: Callable[[Tensor], Tensor]) -> "SidecarState":
        return SidecarState(**{field: change(tensor) for field, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """By field."""
        named = {field: getattr(self, field) for field in self.__dataclass_fields__}
        return {field: tensor for field, tensor in named.items() if tensor is not None}


FIELDS = tuple(SidecarState.__dataclass_fields__)
REQUIRED = FIELDS[:-1]


@dataclass(frozen=True)
class HybridState(MemoryState):
    """The sidecars' memories, the base's cache of the chunk that is not finished, and the place in the document."""

    sidecars: dict[int, SidecarState]
    """By decoder layer."""
    cache: BaseCache
    position: int
    """Tokens since the document's start: chunks of the base begin at its multiples of chunk_size."""

    @property
    def batch_size(self) -> int:
        return next(iter(self.sidecars.values())).conv_state.shape[0]

    def tensors(self) -> dict[str, Tensor]:
        """`sidecar.<layer>.<field>`, `base.<layer>.keys`, `base.<layer>.values`, and the position as a scalar."""
        named = {
            f"sidecar.{layer}.{field}": tensor
            for layer, sidecar in self.sidecars.items()
            for field, tensor in sidecar.tensors().items()
        }
        for layer, (keys, values) in enumerate(self.cache):
            named |= {f"base.{layer}.keys": keys, f"base.{layer}.values": values}
        return {**named, "position": torch.tensor(self.position)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "HybridState":
        """The inverse of `tensors`. Raises `ValueError` naming what is missing."""
        layers = sorted({int(name.split(".")[1]) for name in tensors if name.startswith("sidecar.")})
        base_layers = 1 + max((int(name.split(".")[1]) for name in tensors if name.startswith("base.")), default=-1)
        wanted = {f"sidecar.{layer}.{field}" for layer in layers or [0] for field in REQUIRED}
        wanted |= {f"base.{layer}.{part}" for layer in range(base_layers) for part in ("keys", "values")} | {"position"}
        if missing := sorted(wanted - set(tensors)):
            raise ValueError(f"memory state lacks {', '.join(missing)}")
        sidecars = {
            layer: SidecarState(**{f: tensors[name] for f in FIELDS if (name := f"sidecar.{layer}.{f}") in tensors})
            for layer in layers
        }
        cache = tuple((tensors[f"base.{layer}.keys"], tensors[f"base.{layer}.values"]) for layer in range(base_layers))
        return cls(sidecars, cache, int(tensors["position"]))

    def sizes(self) -> dict[str, int]:
        """Tokens in each window, and in the base's cache."""
        window = next(iter(self.sidecars.values())).window_keys.shape[1]
        return {"window": window, "cache": self.cache[0][0].shape[2] if self.cache else 0}

    def map(self, change: Callable[[Tensor], Tensor]) -> "HybridState":
        """The state with every tensor changed, such as moved or rounded."""
        sidecars = {layer: sidecar.map(change) for layer, sidecar in self.sidecars.items()}
        return HybridState(sidecars, tuple((change(k), change(v)) for k, v in self.cache), self.position)

    def detached(self) -> "HybridState":
        """The same contents without their history: no gradient reaches what was read before."""
        return self.map(Tensor.detach)
