"""Properties of a module while it trains: what is reported when, and that training is not disturbed."""

from typing import Any

import pytest
import torch
from torch import nn

from cortexzoo.harness.errors import BadInput
from cortexzoo.harness.integrations.property_watch import PropertyWatch
from cortexzoo.zoo.training.recorder import SilentRecorder


class Mean(nn.Module):
    """Reads the tokens up to each, or all where `causal` is off."""

    causal = True

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out, self.dropout = nn.Embedding(16, 8), nn.Linear(8, 16), nn.Dropout(0.2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.embedding(tokens))
        seen = torch.ones(x.shape[1], x.shape[1])
        seen = seen.tril() if self.causal else seen
        logits: torch.Tensor = self.out(seen @ x / seen.sum(1, keepdim=True))
        return logits


class Events(SilentRecorder):
    def __init__(self) -> None:
        self.seen: list[tuple[int, Any, Any]] = []

    def event(self, step: int, kind: str, detail: Any) -> None:
        self.seen.append((step, detail["property"], detail["held_at"]))


def test_a_property_that_breaks_is_reported_once_with_the_step_at_which_it_held() -> None:
    model, lines, events = Mean(), list[str](), Events()
    watch = PropertyWatch(
        model, ["causality", "repeatability"], every=2, vocab_size=16, longest=16, recorder=events, report=lines.append
    )
    for step in range(1, 11):
        model.causal = step not in (5, 6, 7, 8)
        assert len(watch.step()) == (0 if step % 2 else 2)
    assert [line.split(":")[0] for line in lines] == ["step 6", "step 10"]
    assert "causality does not hold (it held at step 4): " in lines[0] and "causality holds again: " in lines[1]
    assert events.seen == [(6, "causality", 4), (10, "causality", 4)]


def test_training_ends_with_the_same_bits() -> None:
    def trained(watched: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = Mean()
        optimizer = torch.optim.AdamW(model.parameters())
        watch = PropertyWatch(model, ["causality"], every=1, vocab_size=16, longest=16)
        for _ in range(3):
            optimizer.zero_grad()
            tokens = torch.randint(16, (2, 9))
            nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
            optimizer.step()
            if watched:
                watch.step()
        assert model.training
        return model.state_dict()

    plain, watched = trained(False), trained(True)
    assert all(torch.equal(plain[name], watched[name]) for name in plain)


def test_what_is_no_property_of_a_module_is_one_line() -> None:
    with pytest.raises(BadInput, match="no_dead_column is no property of a module; there are "):
        PropertyWatch(Mean(), ["no_dead_column"])
    with pytest.raises(BadInput, match="every must be at least 1, got 0"):
        PropertyWatch(Mean(), every=0)
