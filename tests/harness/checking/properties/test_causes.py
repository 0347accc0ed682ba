"""A failure names the submodule, or the code between two, where it begins."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.properties.causes.layout import Layout
from tests.harness.checking.modules.test_detection_of_defects import judged
from tests.harness.subjects.defective import DEFECTIVE
from tests.harness.subjects.healthy import VOCAB, WIDTH


class Block(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm, self.mix = norm, nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(self.norm(x.mT).mT).relu()


class Stack(nn.Module):
    """Two blocks; `norm` sits in the second, and what `between` does lies before it."""

    def __init__(self, norm: nn.Module, between: Any = lambda x: x) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB, WIDTH)
        self.blocks = nn.ModuleList([Block(nn.Identity()), Block(norm)])
        self.out = nn.Linear(WIDTH, VOCAB)
        self.between = between

    def forward(self, tokens: Tensor) -> Tensor:
        first, second = self.blocks
        return self.out(second(self.between(first(self.embedding(tokens)))))


def cause(factory: Any, name: str) -> tuple[str, str, str]:
    # More than the usual effort: in a process that has judged nothing yet, the first calls are slow.
    found = judged(factory, (name,), effort=Effort(examples=3, seconds=20.0, cpu=True))[name]  # type: ignore[index]
    assert found.verdict == "fail"
    assert found.reason.endswith(str(found.cause["words"]))
    return str(found.cause["module"]), str(found.cause["class"]), str(found.cause["words"])


def test_rows_that_meet_in_a_submodule_name_it() -> None:
    factory = lambda: Stack(nn.BatchNorm1d(WIDTH))  # noqa: E731
    module, kind, words = cause(factory, "batch_isolation")
    assert (module, kind) == ("blocks.1.norm", "BatchNorm1d")
    assert words == "row 1 sees row 0 through `blocks.1.norm` (BatchNorm1d)"


def test_code_between_two_submodules_belongs_to_the_one_that_calls_them() -> None:
    """The inputs of the second block, and of what it calls, show the defect too: it is older than they are."""
    factory = lambda: Stack(nn.Identity(), lambda x: x + x.flip(1))  # noqa: E731
    module, kind, words = cause(factory, "causality")
    assert (module, kind) == ("", "Stack")
    assert words.startswith("place 0 sees place 1") and words.endswith("before it calls `blocks.1`")
    assert "(test_causes.py:" in words


@pytest.mark.parametrize(
    ("name", "property_name", "told"),
    [
        ("leaks_gradient", "batch_isolation", "from the output of `embedding` on"),
        ("shared_memory", "batch_isolation", "in the next call, through the memory that the model returned"),
        ("keeps_last", "repeatability", "the second call differs from the first"),
        ("half_mask", "finite_gradients", "the first NaN or infinity arises in the forward of the model (HalfMask)"),
        ("not_a_number", "finite_gradients", "the forward is finite, the gradient is not"),
        ("loses_last", "chunk_invariance", "before it calls `mix`"),
        ("pads_write", "padding_changes_nothing", "through the memory that the model returned"),
        ("first_mask", "padding_changes_nothing", "before it calls `positions`"),
    ],
)
def test_each_kind_of_defect_has_its_sentence(name: str, property_name: str, told: str) -> None:
    assert told in cause(DEFECTIVE[name][0], property_name)[2]


@pytest.mark.parametrize(
    "shape", [(2, 6, 5), (6, 2, 5), (2, 4, 6, 5), (12, 5), (8, 6, 5), (2, 2, 4, 5)], ids=lambda shape: str(shape)
)
def test_places_are_found_in_any_order_of_dimensions(shape: tuple[int, ...]) -> None:
    placed = Layout(2, 6).by_place(torch.zeros(shape))
    assert placed is not None and placed.shape[:2] == (2, 6)


def test_a_table_of_positions_has_no_rows() -> None:
    assert Layout(2, 6).by_place(torch.zeros(7, 5)) is None
    assert Layout(2, 6).by_row(torch.zeros(7, 5)) is None
