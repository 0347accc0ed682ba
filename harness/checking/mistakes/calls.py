"""Mistakes in calls of a model: memories of other rows, names that are missing, prompts and how they are sampled."""

from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

import torch

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken
from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.specs.slow_store import NoSlowStore, ProductStore
from cortexzoo.zoo.errors import NonFiniteLogits
from cortexzoo.zoo.generation import generate, read_all_but_the_last
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.state import HybridState
from cortexzoo.zoo.models.hybrid.weights import with_slow_store
from cortexzoo.zoo.models.read_text import RereadingModel
from cortexzoo.zoo.models.state_tree import named_tensors, tree_of
from cortexzoo.zoo.models.transformer import Transformer

ROWS, LENGTH, FEATURES = 2, 5, 8
NEST = {
    "a": [torch.ones(2), (1, 0.1), {}],
    "b_2": (True, None, [], -(2**53) - 1),
    "c": {"d": ((),), "e": [[torch.zeros(0)]]},
}
"""Every kind of part that a state may have; of the numbers some are none of single precision, or of double."""


def of_calls(subject: Subject) -> Iterator[Attempt]:
    """Of the subject's own model."""
    model = subject.copy()
    tokens = subject.random_tokens(ROWS, LENGTH)
    with torch.no_grad():
        state = model(tokens, subject.start(model, ROWS)).state
    yield fits("a memory of as many rows", partial(model, tokens, state))
    if isinstance(model, CortexGPT | Transformer | Hybrid | RereadingModel):  # others say themselves what they take
        further = subject.random_tokens(ROWS + 1, LENGTH)
        if not (isinstance(model, CortexGPT) and model.memory.shares_one_ring):
            yield mistaken("a memory of fewer rows", partial(model, further, state))
            yield mistaken("a memory of more rows", partial(model, tokens[:1], state))
        yield fits("every memory switched off", partial(model, tokens, state, model.switches))
        yield mistaken("a memory that there is none of", partial(model, tokens, state, ("none",)))
        yield from _of_names(state)
    if isinstance(model, Hybrid) and isinstance(state, HybridState):
        elsewhere = {layer + 1: sidecar for layer, sidecar in state.sidecars.items()}
        other = HybridState(elsewhere, state.cache, state.position)
        yield mistaken("a state of sidecars beside other layers", partial(model, tokens, other))
        one = Hybrid(model.spec.model_copy(update={"layers": (0,), "slow_store": NoSlowStore()}), model.base)
        mixer = model.spec.mixer
        most = ProductStore().distinct_products(mixer.num_heads * mixer.memory_key_dim)
        store = ProductStore(features=min(FEATURES, most))
        yield fits("a slow store beside the only sidecar", partial(with_slow_store, one, store))
    yield from _of_sampling(model, tokens)


def _of_names(state: Any) -> Iterator[Attempt]:
    named = state.tensors()
    yield fits("all of a memory", partial(type(state).from_tensors, named))
    for name in named:
        if name.endswith("expected"):  # only beside a slow store
            continue
        rest = {other: tensor for other, tensor in named.items() if other != name}
        yield mistaken(f"a memory without {name}", partial(type(state).from_tensors, rest))


def _of_sampling(model: Model, tokens: torch.Tensor) -> Iterator[Attempt]:
    yield fits("a prompt of one token", partial(generate, model, tokens[:, :1], 1))
    yield fits("the one likeliest token", partial(generate, model, tokens, 1, top_k=1, temperature=0.0))
    yield fits("no new token", partial(generate, model, tokens, 0))
    yield mistaken("a prompt without a token", partial(generate, model, tokens[:, :0], 1))
    yield mistaken("a temperature below zero", partial(generate, model, tokens, 1, temperature=-1e-3))
    yield mistaken("none of the likeliest tokens", partial(generate, model, tokens, 1, top_k=0))
    yield fits("no token of a whole text", partial(_of_no_tokens, model, tokens))
    yield mistaken("one row whose logits are no numbers", partial(_of_broken_rows, model, tokens))
    yield fits("a text of one piece", partial(read_all_but_the_last, model, [tokens]))
    yield mistaken("a text without a piece", partial(read_all_but_the_last, model, []))


def _of_no_tokens(model: Model, tokens: torch.Tensor) -> None:
    if (made := generate(model, tokens, 0)).shape != (len(tokens), 0):
        raise ValueError(f"no token was asked for, and the result is {tuple(made.shape)}")


def _of_broken_rows(model: Model, tokens: torch.Tensor) -> None:
    read = model.read

    def broken(tokens: torch.Tensor, state: Any = None) -> Any:
        output = read(tokens, state)
        output.logits[0] = torch.nan
        return output

    with patch.object(model, "read", broken), torch.no_grad():
        try:
            generate(model, tokens, 1)
        except NonFiniteLogits as refused:
            raise ValueError(str(refused)) from None


def of_states(_: Subject) -> Iterator[Attempt]:
    """Of what a module of one's own may carry, and the names that it is saved by."""
    yield fits("a nest of all that can be saved", _there_and_back)
    yield fits("a state that is one tensor", partial(named_tensors, torch.ones(1)))
    keys: tuple[Any, ...] = ("", "a.b", "a[0]", 1, None, ("a",))
    for key in keys:
        yield mistaken(f"a state with the key {key!r}", partial(named_tensors, {"a": {key: torch.ones(1)}}))
    for leaf in ("text", {1}, object(), 1j, torch.nn.Linear(1, 1)):
        yield mistaken(f"a state of a {type(leaf).__name__}", partial(named_tensors, [leaf]))
    one = torch.ones(1)
    for names in (
        (), ("weights",), ("state.",), ("state.a.",), ("state[a]",), ("state(0]",), ("state#set",), ("state.a#",),
        ("state.a", "state[0]"), ("state[0]", "state(1)"), ("state[0]", "state[2]"), ("state[1]",),
        ("state", "state.a"), ("state.a", "state.a.b"), ("states.a",),
    ):  # fmt: skip
        yield mistaken(f"a state of {' and '.join(names) or 'nothing'}", partial(tree_of, dict.fromkeys(names, one)))


def _there_and_back() -> None:
    found = tree_of(named_tensors(NEST))
    if not _alike(found, NEST):
        raise ValueError(f"it is another one when it is read: {found}")


def _alike(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(_alike(a, b) for a, b in zip(one, other, strict=True))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
