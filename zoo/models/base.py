"""A language model as sidecars see it: decoder layers whose normed input is read and whose output is edited."""

import hashlib
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cortexzoo.zoo.errors import BackboneError

LAYER_PLACES = ("model.layers", "transformer.h")
NORM_PLACES = ("input_layernorm", "ln_1")
ATTENTION_PLACES = ("self_attn", "attn")

BaseCache = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of every layer, each [batch, kv_heads, seen, head_dim]; empty before the first token."""

Edit = Callable[[int, Tensor, Tensor], Tensor]
"""(layer, its normed input, its output) -> the input of the next layer; all [batch, time, hidden]."""


@dataclass(frozen=True)
class Base:
    """A causal language model without dropout or memory of its own, which never changes unless it `learns`.

    It is no torch module, so that whatever holds it neither counts, trains nor saves its parameters by accident.
    """

    network: nn.Module
    layers: tuple[nn.Module, ...]
    norms: tuple[nn.Module, ...]
    new_cache: Callable[[], Any]
    cache_name: str
    """The argument of `network` that takes what `new_cache` gives."""
    name: str
    sha256: str
    """Hex digest of all weights as float32: the same for one base in every dtype that holds its values.

    Empty for a base that learns."""
    learns: bool = False
    """Its weights take gradients."""

    @classmethod
    def of(
        cls, network: nn.Module, name: str, new_cache: Callable[[], Any], cache_name: str, *, learns: bool = False
    ) -> "Base":
        """Freeze `network` unless it `learns`. Raises `BackboneError` naming what sidecars need and it has not."""
        place = next((place for place in LAYER_PLACES if _part(network, place) is not None), None)
        layers = () if place is None else tuple(_part(network, place))
        missing = [] if layers else [f"decoder layers ({' or '.join(LAYER_PLACES)})"]
        norms = tuple(_first(layer, NORM_PLACES) for layer in layers)
        for what, places in (("a norm before attention", NORM_PLACES), ("attention", ATTENTION_PLACES)):
            lacking = next((i for i, layer in enumerate(layers) if _first(layer, places) is None), None)
            if lacking is not None:
                missing.append(f"{what} in layer {lacking} ({' or '.join(places)})")
        if missing:
            raise BackboneError(
                f"{name}: a {type(network).__name__} has no place for sidecars, it lacks {'; '.join(missing)}: "
                "use a base of the Llama, Mistral, Qwen2, Qwen3 or GPT-2 layout"
            )
        network.eval().requires_grad_(learns)
        return cls(network, layers, norms, new_cache, cache_name, name, "" if learns else content_hash(network), learns)

    def run(
        self,
        tokens: Int[Tensor, "batch time"],
        cache: BaseCache,
        edit: Edit,
        edited: Collection[int],
        *,
        keep_cache: bool,
        last_logits_only: bool = False,
        scored: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "*scored vocab"], BaseCache]:
        """Logits after `tokens`, with `edit` applied to the `edited` layers; and the cache, if it is to be kept.

        Positions count from the first cached token. With `last_logits_only` the last token alone is scored, with
        `scored` only the tokens it marks, and the logits are [number of them, vocab].
        """
        past = None
        if cache or keep_cache:
            past = self.new_cache()
            for index, (keys, values) in enumerate(cache):
                past.update(keys, values, index)
        with ExitStack() as hooks:
            for index in edited:
                _hook(hooks, self.layers[index], self.norms[index], partial(edit, index))
            if scored is not None:
                _choose(hooks, self.network, scored)
            output = self.network(
                input_ids=tokens,
                use_cache=past is not None,
                logits_to_keep=1 if last_logits_only else 0,
                return_dict=True,
                **{self.cache_name: past},
            )
        if not keep_cache:
            return output.logits, ()
        assert past is not None
        return output.logits, tuple((layer.keys, layer.values) for layer in past.layers)


def content_hash(network: nn.Module) -> str:
    """Sum over names, shapes and values of all weights; empty for a network without values, on the meta device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if tensor.is_meta:
            return ""
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _hook(hooks: ExitStack, layer: nn.Module, norm: nn.Module, edit: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Until `hooks` is closed: `edit` sees what the layer's norm gives, and changes what the layer gives."""
    normed: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        normed.append(output)

    def change(_module: nn.Module, _inputs: object, output: Any) -> Any:
        if isinstance(output, tuple):
            return (edit(normed.pop(), output[0]), *output[1:])
        return edit(normed.pop(), output)

    hooks.callback(norm.register_forward_hook(note).remove)
    hooks.callback(layer.register_forward_hook(change).remove)


def _choose(hooks: ExitStack, network: Any, scored: Tensor) -> None:
    """Until `hooks` is closed: the vocabulary projection sees the `scored` places alone."""

    def choose(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0][scored],)

    hooks.callback(network.get_output_embeddings().register_forward_pre_hook(choose).remove)


def _part(module: nn.Module, place: str) -> Any:
    found: Any = module
    for name in place.split("."):
        found = getattr(found, name, None)
    return found


def _first(module: nn.Module, places: tuple[str, ...]) -> Any:
    return next((part for place in places if (part := _part(module, place)) is not None), None)
