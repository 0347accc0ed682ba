"""Where the decoder layers of a language model are and what they read, found by running it once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.zoo.errors import BackboneError

TOKENS = 5


@dataclass(frozen=True)
class Places:
    """Decoder layers in order, and of each the norm that reads its input; None: it reads its input as it is."""

    layers: tuple[nn.Module, ...]
    norms: tuple[nn.Module | None, ...]


Run = Callable[..., tuple[Tensor, Any]]


def find_places(network: nn.Module, num_layers: int, hidden_size: int, name: str) -> Places:
    """The one list of `num_layers` modules that a forward pass runs through in order, each from hidden to hidden.

    A layer's norm is the first module within it, a norm by its class, that reads the very tensor that the layer reads.
    On the meta device, where nothing can be run, the first list, and no norms: shapes are the same without. Raises
    `BackboneError` naming what was not found.
    """
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList) and len(module) == num_layers]
    if not lists:
        raise BackboneError(f"{name}: a {_kind(network)} has no place for sidecars: no list of {num_layers} layers")
    device = next(network.parameters()).device
    if device.type == "meta":
        return Places(tuple(lists[0]), (None,) * num_layers)
    with ExitStack() as hooks, torch.no_grad():
        watched = [_Watched(candidate, hidden_size, hooks) for candidate in lists]
        network(input_ids=torch.zeros(1, TOKENS, dtype=torch.long, device=device), use_cache=False, return_dict=True)
    found = [each for each in watched if each.in_order]
    if len(found) != 1:
        what = "none of its lists of layers passes" if not found else f"{len(found)} of its lists of layers pass"
        raise BackboneError(
            f"{name}: a {_kind(network)} has no place for sidecars: {what} on [batch, time, {hidden_size}] in order"
        )
    return Places(tuple(found[0].layers), tuple(found[0].norms))


class _Watched:
    """A list of modules, and in which order they are called with what."""

    def __init__(self, layers: nn.ModuleList, hidden_size: int, hooks: ExitStack) -> None:
        self.layers: list[nn.Module] = list(layers)
        self.norms: list[nn.Module | None] = [None] * len(self.layers)
        self._hidden_size = hidden_size
        self._called: list[int] = []
        self._inputs: dict[int, Tensor | None] = {}
        self._passed_on = True
        for index, layer in enumerate(self.layers):
            hooks.callback(layer.register_forward_pre_hook(partial(self._enter, index), with_kwargs=True).remove)
            hooks.callback(layer.register_forward_hook(self._leave).remove)
            for module in _norms(layer):
                hooks.callback(module.register_forward_pre_hook(partial(self._norm, index)).remove)

    @property
    def in_order(self) -> bool:
        return self._passed_on and self._called == list(range(len(self.layers)))

    def _enter(self, index: int, _: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._called.append(index)
        self._inputs[index] = layer_input(inputs, named)

    def _leave(self, _: nn.Module, __: object, output: Any) -> None:
        hidden = output[0] if isinstance(output, tuple) else output
        self._passed_on &= isinstance(hidden, Tensor) and tuple(hidden.shape) == (1, TOKENS, self._hidden_size)

    def _norm(self, index: int, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self.norms[index] is None and inputs and inputs[0] is self._inputs.get(index):
            self.norms[index] = module


def layer_input(inputs: tuple[Any, ...], named: dict[str, Any]) -> Tensor | None:
    """What a layer reads, of the arguments of its call."""
    found = inputs[0] if inputs else named.get("hidden_states")
    return found if isinstance(found, Tensor) else None


def _norms(layer: nn.Module) -> Iterator[nn.Module]:
    return (module for module in layer.modules() if "norm" in type(module).__name__.lower())


def _kind(network: nn.Module) -> str:
    return type(network).__name__


def prove(run: Run, network: nn.Module, places: Places, vocab_size: int, name: str) -> None:
    """Raise `BackboneError` unless sidecars that add zeros leave every logit bit for bit as it is, and others do not.

    `run` is that of the base. Also: a text in two pieces, with keys and values between them, gives the same logits
    within rounding. Nothing is proven on the meta device, which has no values.
    """
    device = next(network.parameters()).device
    if device.type == "meta":
        return
    tokens = (torch.arange(TOKENS, device=device) * 7 % vocab_size)[None]
    every = range(len(places.layers))
    precision = 1e-3 if next(network.parameters()).dtype == torch.float32 else 5e-2

    def nothing(_: int, normed: Tensor, hidden: Tensor) -> Tensor:
        return hidden + torch.zeros_like(normed)

    def something(_: int, normed: Tensor, hidden: Tensor) -> Tensor:
        # Not constant over channels: a norm would take a constant away.
        width = normed.shape[-1]
        return hidden + torch.linspace(-1, 1, width, device=device, dtype=normed.dtype).expand_as(normed)

    with torch.no_grad():
        alone = network(input_ids=tokens, use_cache=False, return_dict=True).logits
        if not torch.equal(alone, run(tokens, (), nothing, every, keep_cache=False)[0]):
            raise BackboneError(f"{name}: sidecars that add nothing change its logits: it cannot be a base")
        for layer in sorted({0, len(places.layers) - 1}):
            if torch.equal(alone, run(tokens, (), something, (layer,), keep_cache=False)[0]):
                raise BackboneError(f"{name}: what is added to layer {layer} reaches no logit: it cannot be a base")
        try:
            first, cache = run(tokens[:, :2], (), nothing, (), keep_cache=True)
            second, _ = run(tokens[:, 2:], cache, nothing, (), keep_cache=True)
        except (AttributeError, IndexError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:80]
            raise BackboneError(
                f"{name}: keeps no keys and values that a chunk can be continued from ({reason}): it cannot be a base"
            ) from None
    apart = float((torch.cat([first, second], dim=1) - alone).float().abs().max())
    if not apart <= precision * float(alone.float().abs().max()):
        raise BackboneError(
            f"{name}: a text in two pieces gives other logits than the whole (up to {apart:.2g}): it cannot be a base"
        )
