"""A causal language model of transformers as a module: its cache is a memory, and it can be computed in other ways."""

import inspect
import tempfile
from collections import defaultdict
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.values import duplicate
from cortexzoo.harness.checking.modules.weights import refuse_incomplete

CACHES = ("cache", "past_key_values", "cache_params", "state")
"""What models call their cache, as an argument and in what they return."""
IMPLEMENTATIONS = ("eager", "sdpa")
GENERATED = 5


@dataclass(frozen=True)
class Carried:
    """What a call leaves behind: the cache, None before the first, and which tokens so far were real [B, S]."""

    cache: Any
    real: Tensor


class CausalLM(nn.Module):
    """Token ids [B, T] to logits [B, T, V]; a mask [B, T] is True at real tokens, on whichever side the pads are.

    Position ids follow the mask, as those of `generate` do.
    """

    padding_side = "both"

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        config = network.config.get_text_config()
        self.vocab_size = int(config.vocab_size)
        self.max_length: int | None = getattr(config, "max_position_embeddings", None)
        self._arguments = set(inspect.signature(network.forward).parameters)
        self.ways = tuple(self._ways())

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        logits: Tensor = self._called(inputs, mask, use_cache=False).logits
        return logits

    def _called(self, inputs: Tensor, mask: Tensor | None, **more: Any) -> Any:
        """`mask` [B, S + T] covers what the cache has seen."""
        length = inputs.shape[1]
        if mask is not None:
            more["attention_mask"] = mask.long()
            if "position_ids" in self._arguments:
                more["position_ids"] = (mask.long().cumsum(1) - 1).clamp_min(0)[:, -length:]
        return self.network(input_ids=inputs, **{key: v for key, v in more.items() if self._takes(key)})

    def _takes(self, argument: str) -> bool:
        return argument in self._arguments or argument in ("attention_mask", "use_cache")

    def _ways(self) -> list[str]:
        ways = ["generate"] if callable(getattr(self.network, "generate", None)) else []
        if callable(getattr(self.network, "set_attn_implementation", None)):
            kept = self.network.config._attn_implementation
            for name in IMPLEMENTATIONS:
                try:
                    self.network.set_attn_implementation(name)
                except (ValueError, ImportError):
                    continue
                if self.network.config._attn_implementation == name != kept:
                    ways.append(name)
            self.network.set_attn_implementation(kept)
        return ways

    @torch.no_grad()
    def in_another_way(self, way: str, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What was computed [B, T], and the logits of its last tokens: by `generate`, or by another attention."""
        if way != "generate":
            kept = self.network.config._attn_implementation
            self.network.set_attn_implementation(way)
            try:
                return inputs, self(inputs) if not hasattr(self, "initial_state") else self.whole(inputs)
            finally:
                self.network.set_attn_implementation(kept)
        result = self.network.generate(
            inputs, attention_mask=torch.ones_like(inputs), do_sample=False, num_beams=1, pad_token_id=0,
            min_new_tokens=GENERATED, max_new_tokens=GENERATED, output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        # The last token was chosen and never read; before it each was read and gave the logits of the next.
        return result.sequences[:, :-1], torch.stack(result.logits, dim=1)

    def whole(self, inputs: Tensor) -> Tensor:
        """The logits without a cache."""
        return CausalLM.forward(self, inputs)

    def saved_and_loaded(self) -> "CausalLM":
        """Through `save_pretrained`. Raises `ModuleError` where weights are lost, or tied ones come back apart."""
        with tempfile.TemporaryDirectory() as folder:
            self.network.save_pretrained(folder)
            dtype = next(self.network.parameters()).dtype
            read, report = type(self.network).from_pretrained(folder, dtype=dtype, output_loading_info=True)
            refuse_incomplete(folder, report)
        if lost := _tied(self.network) - _tied(read):
            raise ModuleError(f"{' and '.join(sorted(lost)[0])} are tied, but not after save_pretrained and loading")
        for tensor in (*read.parameters(), *read.buffers()):  # a file is mapped at odd addresses, which round otherwise
            tensor.data = tensor.data.clone()
        loaded = as_module(read)
        loaded.eval()
        return loaded


class CachedCausalLM(CausalLM):
    """With its cache as a memory that goes in and comes out; a cache that is given stays as it is."""

    masks_all = True
    """Whether a mask covers what the cache has seen too; that of a recurrent model covers the new tokens."""
    passes_gradients = True
    """Whether a loss over several calls has a gradient: some models overwrite their cache, which autograd refuses.

    Such a model is trained without one, as `transformers` does by default; what follows on a cache has no graph then.
    """

    def initial_state(self, rows: int) -> Carried:
        """Nothing yet."""
        return Carried(None, torch.ones(rows, 0, dtype=torch.bool))

    def forward(self, inputs: Tensor, state: Carried, mask: Tensor | None = None) -> tuple[Tensor, Carried]:  # type: ignore[override]
        now = torch.ones(inputs.shape, dtype=torch.bool) if mask is None else mask
        real = torch.cat([state.real, now], dim=1)
        given = {} if state.cache is None else {self._cache: duplicate(state.cache)}
        seen = None if bool(real.all()) else real if self.masks_all else now
        with nullcontext() if self.passes_gradients else torch.no_grad():
            result = self._called(inputs, seen, use_cache=True, **given)
        after = Carried(next((found for name in CACHES if (found := result.get(name)) is not None), None), real)
        if torch.is_grad_enabled() and not self.passes_gradients and not given:
            return CausalLM.forward(self, inputs, mask), after
        return result.logits, after

    @property
    def _cache(self) -> str:
        return next(name for name in CACHES if name in self._arguments)


@torch.no_grad()
def as_module(network: Any) -> CausalLM:
    """With its cache, where the model takes one and returns one."""
    plain = CausalLM(network)
    if not any(name in plain._arguments for name in CACHES):
        return plain
    training = network.training
    network.eval()
    cached = CachedCausalLM(network)
    with torch.random.fork_rng(devices=[]):
        _, state = cached(torch.zeros(2, 2, dtype=torch.long), cached.initial_state(2))
        if state.cache is not None:
            pads = Carried(state.cache, torch.tensor([[False, True], [True, True]]))
            try:
                cached(torch.zeros(2, 2, dtype=torch.long), pads)
            except (RuntimeError, ValueError, IndexError):
                cached.masks_all = False
            cached.passes_gradients = _passes_gradients(cached)
    network.train(training)
    return cached if state.cache is not None else plain


@torch.enable_grad()
def _passes_gradients(cached: CachedCausalLM) -> bool:
    state, outputs = cached.initial_state(2), []
    for length in (3, 1, 1, 2):
        output, state = cached(torch.ones(2, length, dtype=torch.long), state)
        outputs.append(output)
    parameters = [p for p in cached.parameters() if p.requires_grad]
    try:
        torch.autograd.grad(torch.cat(outputs, dim=1).sum(), parameters, allow_unused=True)
    except RuntimeError as problem:
        return "modified by an inplace operation" not in str(problem)
    return True


def _tied(network: nn.Module) -> set[tuple[str, ...]]:
    """Names of parameters that are one tensor."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
    return {tuple(sorted(shared)) for shared in names.values() if len(shared) > 1}
