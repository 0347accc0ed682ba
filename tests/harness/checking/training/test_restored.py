"""Policies are compared attribute by attribute, whatever these consist of."""

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from cortexzoo.harness.checking.training.restored import unlike_policies


@dataclass
class Part:
    """With a field that does not count."""

    value: Any
    aside: int = field(default=0, compare=False)


def unlike(one: Any, other: Any, name: str = "kept", policy: str = "some") -> list[str]:
    trainers: Any = [
        SimpleNamespace(policies=[SimpleNamespace(name=policy, **{name: value})]) for value in (one, other)
    ]
    return unlike_policies(trainers[0], trainers[1], {"clocked"})


@pytest.mark.parametrize(
    "value",
    [1, None, math.nan, "word", torch.ones(2), nn.Linear(2, 2), [1, (2.0, None)], {"a": [torch.zeros(1)]}, Part(1)],
)
def test_what_is_alike_has_no_difference(value: object) -> None:
    assert unlike(value, value) == []


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        (1, 2, "some.kept"),
        (1, 1.0, "some.kept"),
        (1.0, None, "some.kept"),
        ([1, 2], [1], "some.kept"),
        ([1, [2]], [1, [3]], "some.kept[1][0]"),
        ({"a": 1}, {"b": 1}, "some.kept"),
        (torch.ones(2), torch.ones(1), "some.kept"),
        ({"a": torch.ones(2)}, {"a": torch.zeros(2)}, "some.kept.a"),
        (Part([1]), Part([2]), "some.kept.value[0]"),
    ],
)
def test_a_difference_is_named_by_its_path(one: object, other: object, path: str) -> None:
    assert unlike(one, other) == [path]


def test_what_does_not_last_is_left_out() -> None:
    assert unlike(Part(1, 1), Part(1, 2)) == unlike(object(), object()) == []
    assert unlike(1, 2, policy="clocked") == unlike(1, 2, policy="harness_stop") == []
    assert unlike(1, 2, "gap", "samples") == unlike(1, 2, "_cause", "finite_gate") == []
    assert unlike(1, 2, "gap", "curriculum") and unlike(1, 2, "_cause")


def test_a_policy_or_an_attribute_that_one_of_them_lacks_is_named() -> None:
    none, kept = (SimpleNamespace(policies=policies) for policies in ([], [SimpleNamespace(name="some", kept=1)]))
    bare = SimpleNamespace(policies=[SimpleNamespace(name="some")])
    trainers: list[Any] = [none, kept, bare]
    assert unlike_policies(trainers[1], trainers[0], set()) == ["some"]
    assert unlike_policies(trainers[1], trainers[2], set()) == ["some.kept"]
    assert unlike_policies(trainers[2], trainers[1], set()) == ["some.kept"]
