"""`stored_is_found` needs little memory, however large the store: a laptop has no 13 GB to spare."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.properties.context_search import wrong_book
from cortexzoo.harness.checking.properties.memory import stored_is_found
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs import load_experiment
from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.memory.contexts import codes
from cortexzoo.zoo.memory.contexts.codes import CodeBook
from cortexzoo.zoo.memory.faiss_index import ListedIndex
from tests.harness import tiny


class Largest(TorchDispatchMode):
    """The most numbers that a result had."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        sizes = [each.numel() for each in tree_leaves(found) if isinstance(each, Tensor)]
        self.numbers = max([self.numbers, *sizes])
        return found


def filled() -> Subject:
    small = ["variant.hidden_size=16", "variant.columns.num_columns=2", "variant.memory.short_term.capacity=16"]
    experiment = load_experiment("cortexgpt-stable", small)
    model = build_model(experiment.variant, 0).eval()
    state = model.initial_state(1)
    tokens = torch.randint(256, (1, 4000), generator=torch.Generator().manual_seed(0))
    after = model.consolidate(model(tokens, state).state)
    return replace(tiny.subject(), experiment=experiment, model=model, state=after)


def test_an_entry_that_is_never_found_is_named() -> None:
    subject = filled()
    with rewritten(ListedIndex, "search", "ids < 0", "ids <= 0")():
        finding = stored_is_found(subject, {})
    assert finding.observed == 0 and "is not found by its own context" in finding.reason


@pytest.mark.parametrize(
    ("owner", "function", "old", "new", "reason"),
    [
        (CodeBook, "of_contexts", "tokens < 0", "tokens <= 0", "with no token and token 0 0 places back"),
        (CodeBook, "of_contexts", "tokens < 0", "tokens < 1 - tokens[0, 0]", "no signs apart"),
        (CodeBook, "of_contexts", '"sum"', '"mean"', "no signs apart"),
        (CodeBook, "of_contexts", "* (self.vocab_size + 1)", "* 0", "no signs apart"),
        (CodeBook, "of_contexts", ": self.spec.list_tokens]", ": self.spec.list_tokens + 1]", "beyond"),
        (CodeBook, "of_contexts", ": self.spec.list_tokens]", "1 : self.spec.list_tokens]", "on the token 0 places"),
        (CodeBook, "of_contexts", "hashed + row + 1", "row + 1", "does not depend on the token 0 places back"),
        (codes, "weighted_signs", "generator.integers(0, 2,", "generator.integers(0, 3,", "no signs apart"),
        (codes, "weighted_signs", "tables = torch.zeros", "tables = torch.ones", "no signs apart"),
    ],
)
def test_a_mistake_in_codes_or_lists_is_named(owner: object, function: str, old: str, new: str, reason: str) -> None:
    with rewritten(owner, function, old, new)():
        finding = stored_is_found(filled(), {})
    assert finding.observed == 0 and reason in finding.reason, finding.reason


@pytest.mark.parametrize("vocab_size", [1, 2, 16, 300])
@pytest.mark.parametrize(
    "settings", [{}, {"capacity": 16}, {"context": 1, "list_tokens": 1}, {"code_size": 1}, {"decay": 1, "code_size": 7}]
)
def test_unusual_codes_are_not_accused(vocab_size: int, settings: dict[str, Any]) -> None:
    assert wrong_book(CodeBook(Contexts.model_validate(settings), vocab_size)) is None


def test_the_index_is_compared_row_by_row() -> None:
    subject = filled()
    with Largest() as largest:
        finding = stored_is_found(subject, {})
    entries = int(finding.reason.split()[-2])
    assert finding.observed > 0 and entries > 3900
    assert largest.numbers <= 2 * 64 * entries, "64 codes at once would have 64 · 64 numbers an entry"
