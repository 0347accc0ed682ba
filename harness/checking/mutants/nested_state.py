"""The healthy host of defects in how a module of one's own is carried: its state is a nest of tensors and numbers."""

from typing import Any

import torch
from torch import Tensor, nn

BYTES, WIDTH = 256, 32


class NestedState(nn.Module):
    """Two recurrent layers with decay, x + layer(x); the state has every kind of part that can be saved."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(BYTES, WIDTH)
        self.inputs = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH) for _ in range(2))
        self.output = nn.Linear(WIDTH, BYTES)

    def initial_state(self, batch_size: int) -> dict[str, Any]:
        """Nothing read: a vector of each layer [B, width], how much was read, and what never changes."""
        empty = self.embedding.weight.new_zeros(batch_size, WIDTH)
        return {"layers": [(empty, {}), (empty.clone(), {})], "read": (0, 0.5), "known": [True, None]}

    def forward(self, tokens: Tensor, state: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Logits [B, T, V] and the state after the last token."""
        x = self.embedding(tokens)
        layers = []
        for layer, (held, nothing) in zip(self.inputs, state["layers"], strict=True):
            gate, value = layer(x).chunk(2, dim=-1)
            keep, outputs = gate.sigmoid(), []
            for share, new in zip(keep.unbind(1), value.tanh().unbind(1), strict=True):
                held = share * held + (1 - share) * new
                outputs.append(held)
            x = x + torch.stack(outputs, dim=1) if outputs else x
            layers.append((held, nothing))
        read, rate = state["read"]
        logits: Tensor = self.output(x * 2 * rate)
        return logits, {**state, "layers": layers, "read": (read + tokens.shape[1], rate)}


def make_model() -> nn.Module:
    """The factory."""
    return NestedState()
