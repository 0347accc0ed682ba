"""Cortical columns: gated two-layer maps side by side, mixed back to the width of the stream.

    column_i(x) = m_i(x) · (W₂ᵢ relu(W₁ᵢ x + b₁ᵢ) + b₂ᵢ);   out = Σ_i Mᵢ column_i(x) + b

The mixer is linear, so both fast forms below never build the concatenation of all columns.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from cortexzoo.specs.variant import ColumnsSpec, HardTopK, SoftThreshold
from cortexzoo.zoo.ops.lookup import added_at
from cortexzoo.zoo.ops.masked_columns import masked_columns


class Folds(NamedTuple):
    """The weights of all columns as two matrices and a bias."""

    hidden: Float[Tensor, "hidden units"]
    output: Float[Tensor, "units hidden"]
    output_bias: Float[Tensor, "columns hidden"]


class Columns(nn.Module):
    """All columns of a layer; parameters are stacked over columns: weights `[columns, in, out]`."""

    def __init__(self, spec: ColumnsSpec, hidden_size: int) -> None:
        super().__init__()
        self.spec = spec
        n, d = spec.num_columns, hidden_size
        self.hidden_weight = nn.Parameter(torch.empty(n, d, d))
        self.hidden_bias = nn.Parameter(torch.empty(n, d))
        self.output_weight = nn.Parameter(torch.empty(n, d, d))
        self.output_bias = nn.Parameter(torch.empty(n, d))
        self.score = nn.Linear(d, n)
        self.mix_weight = nn.Parameter(torch.empty(n, d, d))
        self.mix_bias = nn.Parameter(torch.empty(d))
        self.reset_parameters()
        self._are_fixed = False
        self._kept: Folds | None = None

    def reset_parameters(self) -> None:
        """torch's default for linear maps: uniform within ±1/√fan_in; the mixer's fan-in spans all columns."""
        n, d, _ = self.hidden_weight.shape
        for parameter, fan_in in (
            (self.hidden_weight, d),
            (self.hidden_bias, d),
            (self.output_weight, d),
            (self.output_bias, d),
            (self.mix_weight, n * d),
            (self.mix_bias, n * d),
        ):
            nn.init.uniform_(parameter, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, x: Float[Tensor, "batch time hidden"]) -> Float[Tensor, "batch time hidden"]:
        """The mixed output of all columns."""
        rows = x.flatten(0, 1)
        match self.spec.sparsity:
            case HardTopK(fraction=fraction):
                mixed = self._selected(rows, max(1, int(rows.shape[0] * fraction)))
            case SoftThreshold() as soft:
                opened = (self.score(rows) / soft.temperature).sigmoid()
                mixed = self._weighted(rows, (soft.sharpness * (opened - soft.threshold)).sigmoid())
        return mixed.view_as(x)

    @contextmanager
    def fixed(self) -> Iterator[None]:
        """No weight changes inside: what is computed from weights alone is computed once."""
        self._are_fixed = True
        try:
            yield
        finally:
            self._are_fixed, self._kept = False, None

    def _weighted(
        self, rows: Float[Tensor, "rows hidden"], mask: Float[Tensor, "rows columns"]
    ) -> Float[Tensor, "rows hidden"]:
        """Soft mask: W₂ and M fold into one matrix a step, so the mask moves onto the hidden units."""
        weight, output, output_bias = self._folded()
        mixed = masked_columns(rows, mask, weight, self.hidden_bias.flatten(), output)
        return mixed + mask @ output_bias + self.mix_bias

    def _folded(self) -> Folds:
        if self._kept is not None:
            return self._kept
        n, d, _ = self.hidden_weight.shape
        folded = torch.bmm(self.output_weight, self.mix_weight).reshape(n * d, d)
        folded_bias = torch.bmm(self.output_bias[:, None], self.mix_weight)[:, 0]
        folds = Folds(self.hidden_weight.permute(1, 0, 2).reshape(d, n * d), folded, folded_bias)
        if self._are_fixed:
            self._kept = folds
        return folds

    def _selected(self, rows: Float[Tensor, "rows hidden"], k: int) -> Float[Tensor, "rows hidden"]:
        """Hard mask: gather the k rows of each column, three batched products, add them back."""
        chosen = self.score(rows).topk(k, dim=0).indices.T  # [columns, k]
        hidden = torch.baddbmm(self.hidden_bias[:, None], rows[chosen], self.hidden_weight).relu()
        output = torch.baddbmm(self.output_bias[:, None], hidden, self.output_weight)
        mixed = torch.bmm(output, self.mix_weight)
        return added_at(self.mix_bias.expand_as(rows), chosen.flatten(), mixed.flatten(0, 1).to(rows.dtype))
