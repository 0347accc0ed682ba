"""Mistakes in calls of the operators: shapes, types and sizes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken
from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule
from cortexzoo.zoo.ops.recurrent_gated_delta import recurrent_gated_delta_rule
from cortexzoo.zoo.ops.sliding_window import WindowState, sliding_window_attention

ROWS, TIME, HEADS, KEY, VALUE, WINDOW = 2, 3, 2, 4, 5, 4
Given = dict[str, Any]


def of_operators() -> Iterator[Attempt]:
    """Of the gated delta rule in both forms, and of attention over a window."""
    for form in (chunk_gated_delta_rule, recurrent_gated_delta_rule):
        yield from _gated_delta(form.__name__, form)
    yield from _window()


def _gated_delta(name: str, form: Callable[..., Any]) -> Iterator[Attempt]:
    given = {**_tensors(), "g": -torch.rand(ROWS, TIME, HEADS), "beta": torch.rand(ROWS, TIME, HEADS)}
    state = torch.zeros(ROWS, HEADS, KEY, VALUE)
    healthy: dict[str, Given] = {
        "as it should be": {},
        "with a state": {"initial_state": state},
        "in chunks of one": {"chunk_size": 1},
        "without a token": {key: tensor[:, :0] for key, tensor in given.items()},
    }
    for what, change in healthy.items():
        yield fits(f"{name} {what}", partial(form, **given | change))
    changes: dict[str, Given] = {
        **_misshapen(given),
        "gates of other heads": {"g": given["g"][..., :1]},
        "gates of fewer tokens": {"g": given["g"][:, :-1]},
        "strengths of channels": {"beta": given["beta"][..., None]},
        "strengths of one row": {"beta": given["beta"][:1]},
        "a state on its side": {"initial_state": state.mT},
        "a state of one row": {"initial_state": state[:1]},
        "chunks of nothing": {"chunk_size": 0},
        "whole gates": {"g": given["g"].long()},
        "whole strengths": {"beta": given["beta"].long()},
        "a whole state": {"initial_state": state.long()},
    }
    for what, change in changes.items():
        yield mistaken(f"{name} of {what}", partial(form, **given | change))


def _window() -> Iterator[Attempt]:
    given = {**_tensors(), "window_size": WINDOW}
    keys, values = torch.rand(ROWS, WINDOW, HEADS, KEY), torch.rand(ROWS, WINDOW, HEADS, VALUE)
    attend = sliding_window_attention
    healthy: dict[str, Given] = {
        "as it should be": {},
        "of one token": {"window_size": 1},
        "in blocks of one": {"block_size": 1},
        "that carries nothing": {"initial_state": WindowState(keys[:, :0], values[:, :0])},
        "that carries all it can": {"initial_state": WindowState(keys[:, 1:], values[:, 1:])},
    }
    for what, change in healthy.items():
        yield fits(f"a window {what}", partial(attend, **given | change))
    changes: dict[str, Given] = {
        **_misshapen(_tensors()),
        "no token": {"window_size": 0},
        "blocks of nothing": {"block_size": 0},
        "more than it carries": {"initial_state": WindowState(keys, values)},
        "unlike many keys and values": {"initial_state": WindowState(keys[:, 1:], values[:, 2:])},
        "keys of one row": {"initial_state": WindowState(keys[:1, 1:], values[:, 1:])},
        "values as wide as keys": {"initial_state": WindowState(keys[:, 1:], keys[:, 1:])},
        "flat keys": {"initial_state": WindowState(keys[:, 1:].flatten(2), values[:, 1:])},
    }
    for what, change in changes.items():
        yield mistaken(f"a window of {what}", partial(attend, **given | change))


def _tensors() -> Given:
    key, value = torch.rand(ROWS, TIME, HEADS, KEY), torch.rand(ROWS, TIME, HEADS, VALUE)
    return {"q": key.clone(), "k": key, "v": value}


def _misshapen(given: dict[str, Tensor]) -> dict[str, Given]:
    q, k, v = given["q"], given["k"], given["v"]
    return {
        "flat queries and keys": {"q": q.flatten(2), "k": k.flatten(2)},
        "keys of fewer tokens": {"k": k[:, :-1]},
        "wider keys": {"k": torch.cat([k, k], -1)},
        "flat values": {"v": v.flatten(2)},
        "values of fewer tokens": {"v": v[:, :-1]},
        "values of one head": {"v": v[:, :, :1]},
        "values of one row": {"v": v[:1]},
        "values of no width": {"v": v[..., :0]},
        "keys of no width": {"q": q[..., :0], "k": k[..., :0]},
        "whole queries and keys": {"q": q.long(), "k": k.long()},
        "whole values": {"v": v.long()},
    }
