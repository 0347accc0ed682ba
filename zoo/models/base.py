"""A language model as sidecars see it: decoder layers whose normed input is read and whose output is edited."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from cortexzoo.zoo.errors import BackboneError, CheckpointError
from cortexzoo.zoo.models.probing import find_places, layer_input, prove

NO_SUM = "00" * 32
"""Of a base without values, on the meta device, or without values of its own, from scratch."""

BaseCache = tuple[tuple[Tensor, Tensor], ...]
"""Keys and values of every layer, each [batch, kv_heads, seen, head_dim]; empty before the first token."""

Edit = Callable[[int, Tensor, Tensor], Tensor]
"""(layer, its normed input, its output) -> the input of the next layer; all [batch, time, hidden]."""


@dataclass(frozen=True)
class Base:
    """A causal language model without dropout or memory of its own, which never changes unless it `learns`.

    It is no torch module, so that its owner neither counts, trains nor saves its parameters by accident.
    """

    network: nn.Module
    layers: tuple[nn.Module, ...]
    norms: tuple[nn.Module | None, ...]
    """None: the layer reads its input as it is, and so do sidecars."""
    new_cache: Callable[[], Any]
    cache_name: str
    """The argument of `network` that takes what `new_cache` gives."""
    name: str
    sha256: str
    """Hex digest of all weights as float32: the same for one base in every dtype that represents its values.

    Empty for a base that learns."""
    learns: bool = False
    """Its weights take gradients."""
    scores_the_last_alone: bool = True
    """It can leave out the logits of all tokens but the last."""
    standing: "list[_Standing]" = field(default_factory=list, compare=False, repr=False)
    """Hooks that are in place for more than one call."""

    @classmethod
    def of(
        cls, network: nn.Module, name: str, new_cache: Callable[[], Any], cache_name: str, *, learns: bool = False
    ) -> "Base":
        """Freeze `network` unless it `learns`.

        Finds the places of sidecars by running it, and proves that they can stay without effect. Raises `BackboneError`
        naming what sidecars need and it has not.
        """
        network.eval().requires_grad_(learns)
        config: Any = getattr(network, "config", None)
        if not hasattr(config, "num_hidden_layers") or not hasattr(config, "hidden_size"):
            raise BackboneError(f"{name}: a {type(network).__name__} is no causal language model of transformers")
        places = find_places(network, config.num_hidden_layers, config.hidden_size, name)
        arguments = signature(type(network).forward).parameters
        base = cls(
            network,
            places.layers,
            places.norms,
            new_cache,
            cache_name,
            name,
            "" if learns else content_hash(network),
            learns,
            "logits_to_keep" in arguments,
        )
        prove(base.run, network, places, config.vocab_size, name)
        return base

    def sum_bytes(self) -> UInt8[Tensor, "32"]:
        """The sum as a tensor of bytes, so that a checkpoint can contain it; zeros for a base that learns."""
        return torch.tensor(list(bytes.fromhex(self.sha256 or NO_SUM)), dtype=torch.uint8)

    def require_sum(self, saved: Tensor, trained: str) -> None:
        """Raise `CheckpointError` unless `saved` is the sum of this base, on which `trained` were trained."""
        trained_on, own = bytes(saved.tolist()).hex(), self.sha256 or NO_SUM
        if trained_on != own:
            raise CheckpointError(
                f"{trained} were trained on a base with the sum {trained_on[:16]}…, but {self.name} has {own[:16]}…: "
                "use the base they were trained on"
            )

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
        standing = next((one for one in self.standing if one.layers == tuple(edited)), None)
        past = self._past(cache, standing) if cache or keep_cache else None
        with ExitStack() as hooks:
            if standing is not None:
                standing.edit = edit
                hooks.callback(standing.rest)
            else:
                self._hook(hooks, edited, edit)
            if scored is not None:
                _choose(hooks, self.network, scored)
            last = {"logits_to_keep": 1 if last_logits_only else 0} if self.scores_the_last_alone else {}
            output = self.network(
                input_ids=tokens, use_cache=past is not None, return_dict=True, **last, **{self.cache_name: past}
            )
        logits = output.logits[:, -1:] if last_logits_only else output.logits
        if not keep_cache:
            return logits, ()
        assert past is not None
        after = tuple((layer.keys, layer.values) for layer in past.layers)
        if standing is not None:
            standing.past = (after, past)
        return logits, after

    def _past(self, cache: BaseCache, standing: "_Standing | None") -> Any:
        """The network's own cache with these contents: the one that the call before left, where it is that."""
        if standing is not None:
            (known, past), standing.past = standing.past, ((), None)
            if known is cache and past is not None:
                return past
        past = self.new_cache()
        for index, (keys, values) in enumerate(cache):
            past.update(keys, values, index)
        return past

    def inference(self, modules: Iterable[nn.Module]) -> AbstractContextManager[object]:
        """`torch.inference_mode`; without gradients alone where a tensor may be kept to learn from.

        So it is where one of the modules or of the network's has a hook, or the network's code is not of transformers.
        """
        if type(self.network).__module__.startswith("transformers.models.") and not any(
            module._forward_hooks or module._forward_pre_hooks for module in (*modules, *self.network.modules())
        ):
            return torch.inference_mode()
        return torch.no_grad()

    @contextmanager
    def hooked(self, edited: tuple[int, ...]) -> Iterator[None]:
        """For many calls of `run` with few tokens that edit these layers.

        Hooks are placed once, and a call that goes on from the last one's cache takes over the network's form of it.
        """
        with ExitStack() as hooks:
            standing = _Standing(edited)
            self._hook(hooks, edited, standing)
            self.standing.append(standing)
            hooks.callback(self.standing.remove, standing)
            yield

    def _hook(self, hooks: ExitStack, edited: Collection[int], edit: Edit) -> None:
        for index in edited:
            _hook(hooks, self.layers[index], self.norms[index], partial(edit, index))


class _Standing:
    """Hooks that are in place for several calls, each with an edit of its own; between them they change nothing."""

    def __init__(self, layers: tuple[int, ...]) -> None:
        self.layers = layers
        self.edit: Edit | None = None
        self.past: tuple[BaseCache, Any] = ((), None)
        """The cache that the last call gave, and the network's own form of it."""

    def __call__(self, layer: int, normed: Tensor, hidden: Tensor) -> Tensor:
        return hidden if self.edit is None else self.edit(layer, normed, hidden)

    def rest(self) -> None:
        self.edit = None


def content_hash(network: nn.Module) -> str:
    """Sum over names, shapes and values of all weights; empty for a network without values, on the meta device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if tensor.is_meta:
            return ""
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _hook(hooks: ExitStack, layer: nn.Module, norm: nn.Module | None, edit: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Until `hooks` is closed: `edit` sees what the norm gives, or the layer's input, and changes what follows."""
    read: list[Tensor] = []

    def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        read.append(output)

    def note_input(_module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        found = layer_input(inputs, named)
        assert found is not None
        read.append(found)

    def change(_module: nn.Module, _inputs: object, output: Any) -> Any:
        if isinstance(output, tuple):
            return (edit(read.pop(), output[0]), *output[1:])
        return edit(read.pop(), output)

    if norm is None:
        hooks.callback(layer.register_forward_pre_hook(note_input, with_kwargs=True).remove)
    else:
        hooks.callback(norm.register_forward_hook(note).remove)
    hooks.callback(layer.register_forward_hook(change).remove)


def _choose(hooks: ExitStack, network: Any, scored: Tensor) -> None:
    """Until `hooks` is closed: the vocabulary projection sees the `scored` places alone."""

    def choose(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0][scored],)

    hooks.callback(network.get_output_embeddings().register_forward_pre_hook(choose).remove)
