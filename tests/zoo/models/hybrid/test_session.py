"""A session: any split gives the same, the last score alone too, and rows cannot change unnoticed."""

import pytest
import torch

from cortexzoo.zoo.models.hybrid.session import Session
from tests.tolerances import SIDECAR_SPLIT
from tests.zoo.models.hybrid.tiny import CHUNK, relative_error, some_tokens, tiny_hybrid


@pytest.mark.parametrize("step", [1, 5, CHUNK, 3 * CHUNK + 1])
def test_pieces_of_any_size_give_the_logits_of_the_whole(step: int) -> None:
    model = tiny_hybrid()
    tokens = some_tokens(2, 6 * CHUNK + 3)
    session = Session(model, batch_size=2)
    logits = torch.cat([session.feed(part) for part in tokens.split(step, dim=1)], dim=1)
    assert relative_error(logits, model(tokens).logits) <= SIDECAR_SPLIT
    assert session.position == tokens.shape[1]
    assert not logits.requires_grad


def test_reading_gives_the_last_logits_and_forgetting_starts_anew() -> None:
    session = Session(tiny_hybrid())
    tokens = some_tokens(1, 3 * CHUNK + 2)
    first = session.read(tokens)
    assert not torch.equal(session.read(tokens), first)
    session.reset_fast()
    assert session.position == 0
    assert torch.equal(session.read(tokens), first)


def test_a_session_without_its_memories_is_the_base() -> None:
    model = tiny_hybrid()
    session = Session(model, disabled=("fast_weights", "window"))
    tokens = some_tokens(1, CHUNK)
    assert torch.equal(session.feed(tokens), model(tokens, disabled={"fast_weights", "window"}).logits)


def test_another_number_of_rows_is_refused_until_everything_is_forgotten() -> None:
    session = Session(tiny_hybrid(), batch_size=2)
    session.feed(some_tokens(2, 5))
    with pytest.raises(ValueError, match=r"remembers 2 rows, but these tokens have 3: keep the batch size, or forget"):
        session.feed(some_tokens(3, 5))
    with pytest.raises(ValueError, match="remembers 2 rows"):
        session.read(some_tokens(1, 5))
    session.reset_fast(3, "cpu")
    assert session.feed(some_tokens(3, 5)).shape == (3, 5, 256)
    with pytest.raises(ValueError, match="at least one token"):
        session.read(some_tokens(3, 0))
