"""From the fast weights of a day to the slow store: what texts wrote, read again and folded in by one linear solve."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from cortexzoo.specs.sleep import ConsolidateSleep
from cortexzoo.zoo.models.hybrid.block import SLOW_STORE, Sidecar, products
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.precision import widened
from cortexzoo.zoo.models.hybrid.slow_store import Pairs
from cortexzoo.zoo.models.hybrid.state import SidecarState


@dataclass(frozen=True)
class Written:
    """What the sidecar with the slow store made of some rows of text, each begun with an empty memory."""

    keys: Float[Tensor, "rows time channels"]
    """The query of the token before each token, by which the token is found; zero for the first."""
    values: Float[Tensor, "rows time outputs"]
    strength: Float[Tensor, "rows time"]
    """How strongly the token was written, by the head that wrote it most."""


@torch.no_grad()
def consolidate(model: Hybrid, day: Sequence[Int[Tensor, "_rows _time"]], spec: ConsolidateSleep) -> int:
    """Move what the texts of a day wrote into the slow store. Returns how many keys were new to it.

    Every row is a session of its own, read from an empty memory; later texts count as later. Nothing but the store's
    buffers changes. Raises `ValueError` for a model without a slow store.
    """
    store = model.slow_store
    if store is None:
        raise ValueError("this model has no slow store to consolidate into: give its variant a slow_store")
    keys, values = [], []
    for text in day:
        written = read_again(model, text)
        chosen = written.strength > spec.least_write
        chosen[:, :1] = False  # nothing comes before a text's first token that could query it
        keys.append(written.keys[chosen])
        values.append(written.values[chosen])
    if not keys:
        return 0
    return store.absorb(Pairs(torch.cat(keys), torch.cat(values)), spec.ridge, spec.same_key, spec.keep_curvature)


@torch.no_grad()
def read_again(model: Hybrid, tokens: Int[Tensor, "rows time"]) -> Written:
    """Read rows of text from an empty memory, without the slow store, and note what its sidecar writes."""
    sidecar = next(model.sidecar(n) for n in model.sidecars if model.sidecar(n).slow_store is not None)
    with _listening(sidecar) as heard:
        model.advance(tokens.to(sidecar.output.weight.device), None, {SLOW_STORE}, score="last")
    q, v, strength = (torch.cat(parts, dim=1) for parts in zip(*heard, strict=True))
    keys = torch.cat([torch.zeros_like(q[:, :1]), q[:, :-1]], dim=1)
    return Written(keys.flatten(2), v.flatten(2), strength)


@contextmanager
def _listening(sidecar: Sidecar) -> Iterator[list[tuple[Tensor, Tensor, Tensor]]]:
    """Queries of the memory, values and strongest writes of every call, [batch, time, ...]."""
    heard: list[tuple[Tensor, Tensor, Tensor]] = []

    def listen(_module: object, inputs: tuple[Tensor, SidecarState, object]) -> None:
        x, state = widened(inputs[0], sidecar.output.weight), inputs[1]
        q, _, v, _ = sidecar.queries_keys_values(x, state.conv_state)
        _, beta = sidecar.memory.gates(x)
        heard.append((products(q, sidecar.spec.key_products), v, beta.amax(-1)))

    handle = sidecar.register_forward_pre_hook(listen)
    try:
        yield heard
    finally:
        handle.remove()
