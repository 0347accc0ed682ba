"""The longest text that is tried: a first call that loads something is no slow module."""

import time

import pytest
import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.detection import find_longest
from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.modules.subject import BareSubject

SECONDS = 0.02


class Slow(nn.Module):
    """Its first calls with sixteen tokens or more compute for too long."""

    left = 0

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1] >= 16 and Slow.left:
            Slow.left -= 1
            end = time.process_time() + 2 * SECONDS
            while time.process_time() < end:
                pass
        read: Tensor = self.embedding(tokens)
        return read


@pytest.mark.parametrize(("slow_calls", "longest"), [(0, 64), (1, 64), (99, 16)])
def test_the_fastest_call_of_a_length_counts(slow_calls: int, longest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slow, "left", slow_calls)
    torch.manual_seed(0)
    assert find_longest(BareSubject(Slow, Slow(), Inputs("tokens", 8)), 64, SECONDS) == longest
