"""The context memory equals its naive twin: what it finds and predicts, every gradient, and the diary after it."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cortexzoo.specs.memory import Contexts
from cortexzoo.zoo.memory.contexts.diary import UNKNOWN, Diary
from cortexzoo.zoo.memory.contexts.memory import ContextMemory
from cortexzoo.zoo.memory.contexts.naive import DiaryLoop, mixed_by_votes
from tests.tolerances import EXACT_FORM

VOCAB, WIDTH = 5, 6
SPEC = Contexts(
    capacity=64, context=4, top_k=3, list_tokens=1, lists=7, code_size=8, decay=0.7, own_span=3, share_width=5
)


def filled(spec: Contexts, batches: list[torch.Tensor], places: list[int] | None) -> tuple[Diary, DiaryLoop]:
    """Both diaries after documents, each batch consolidated; `places`: where the rows stand in their source."""
    diary, loop = Diary.empty(len(batches[0]), torch.device("cpu")), DiaryLoop(spec)
    for index, tokens in enumerate(batches):
        diary = diary.closed(spec).begun(len(tokens))
        begins = [UNKNOWN] * len(tokens) if places is None else [place + 10 * index for place in places]
        diary = diary.placed(torch.tensor(begins)).read(tokens, spec).consolidated(spec)
        loop.begin([None if place == UNKNOWN else place for place in begins])
        loop.read(tokens)
        loop.consolidate()
    return diary.closed(spec), loop


def drawn(rows: int, length: int, seed: int) -> torch.Tensor:
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("places", [None, [0, 8]], ids=["unknown places", "known places"])
@pytest.mark.parametrize("carried", [0, 2, 9], ids="carried{}".format)
@pytest.mark.parametrize("length", [1, 2, 12], ids="T{}".format)
def test_predictions_and_gradients_are_those_of_the_twin(length: int, carried: int, places: list[int] | None) -> None:
    torch.manual_seed(0)
    memory = ContextMemory(SPEC, WIDTH, VOCAB).double()
    torch.nn.init.normal_(memory.read_out.lag)
    diary, loop = filled(SPEC, [drawn(2, 14, 1), drawn(2, 14, 2)], places)
    diary = diary.placed(torch.tensor([4, UNKNOWN])) if places else diary
    before, tokens = drawn(2, carried, 3), drawn(2, length, 4)
    diary = diary.read(before, SPEC)
    logits = torch.randn(2, length, VOCAB, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(2, length, WIDTH, dtype=torch.float64, requires_grad=True)
    fast, fast_share = memory.mixed(logits, hidden, tokens, diary)
    seen = torch.cat([before, tokens], dim=1).tolist()
    entries = loop.entries()
    by_place = [
        mixed_by_votes(
            memory,
            logits[row, t],
            hidden[row, t],
            tuple(reversed(seen[row][: carried + t + 1]))[: SPEC.context],
            4 + carried + t if places and row == 0 else None,
            entries,
        )
        for row in range(2)
        for t in range(length)
    ]
    slow, slow_share = (torch.stack(parts).unflatten(0, (2, length)) for parts in zip(*by_place, strict=True))
    assert (fast_share - slow_share).abs().max() <= EXACT_FORM
    assert (fast - slow).abs().max() <= EXACT_FORM
    targets = drawn(2, length, 5)
    wanted = [logits, hidden, *memory.parameters()]
    for got, expected in zip(*(_gradients(out, targets, wanted) for out in (fast, slow)), strict=True):
        assert (got - expected).abs().max() <= EXACT_FORM


def _gradients(mixed: torch.Tensor, targets: torch.Tensor, wanted: list[torch.Tensor]) -> list[torch.Tensor]:
    loss = torch.nn.functional.nll_loss(mixed.flatten(0, 1), targets.flatten())
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    return [torch.zeros_like(of) if got is None else got for got, of in zip(found, wanted, strict=True)]


lengths = st.lists(st.integers(0, 9), min_size=1, max_size=8)


@given(lengths, st.integers(1, 3), st.integers(0, 99))
def test_the_pages_hold_what_the_twin_holds(lengths: list[int], rows: int, seed: int) -> None:
    batches = [drawn(rows, length, seed + index) for index, length in enumerate(lengths)]
    spec = SPEC.model_copy(update={"capacity": 40, "lists": 4})
    diary, loop = filled(spec, batches, list(range(0, 100 * rows, 100)))
    pages = [(None if token < 0 else (token, source)) for token, source in _places(diary)]
    assert pages == loop.pages
    assert len(diary.pages.entries) == len(loop.entries())


def test_documents_of_two_rows_do_not_join_where_they_are_cut_off() -> None:
    spec = SPEC.model_copy(update={"capacity": 40, "lists": 4})
    tokens = torch.arange(60).view(2, 30) + 1
    pieces = Diary.empty(2, torch.device("cpu"))
    for piece in tokens.split(1, dim=1):
        pieces = pieces.read(piece, spec)
    for diary in (pieces, Diary.empty(2, torch.device("cpu")).read(tokens, spec)):
        pages = diary.consolidated(spec).pages
        assert pages.tokens.tolist() == [-1, *range(12, 31), -1, *range(42, 61)]
        assert [pages.tokens[place + 1] - pages.tokens[place] for place in pages.entries] == [1] * 36


def _places(diary: Diary) -> list[tuple[int, int]]:
    return list(zip(diary.pages.tokens.tolist(), diary.pages.sources.tolist(), strict=True))
