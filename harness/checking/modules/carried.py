"""Modules that carry a state without offering a beginning."""

import copy
import inspect
from functools import cache

import torch
from torch import nn

from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.modules.values import duplicate, tensors_of

STATE_NAMES = ("state", "states", "hidden", "hx", "h0", "carry", "cache", "past", "past_key_values", "mems")


@cache
def takes_back(module: nn.Module, inputs: Inputs) -> bool:
    """Whether it takes the second thing that it gives, under a usual name and with None as the beginning."""
    others = list(inspect.signature(module.forward).parameters.values())[1:]
    if not others or others[0].name not in STATE_NAMES or others[0].default is not None:
        return False
    try:
        model = copy.deepcopy(module).eval()
        parameter = next(model.parameters(), torch.zeros(()))
        given = inputs.draw(2, 3)
        given = given.to(parameter.dtype) if given.is_floating_point() else given
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            _, state, *_ = model(given, None)
            model(given, duplicate(state))
    except Exception:
        return False
    return bool(tensors_of(state))
