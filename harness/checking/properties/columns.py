"""Cortical columns: each does its part."""

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, once
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.variant import HardTopK, SoftThreshold
from cortexzoo.zoo.models.columns import Columns
from cortexzoo.zoo.models.cortexgpt import CortexGPT


@torch.no_grad()
def no_dead_column(subject: Subject, case: Case) -> Finding:
    """The smallest column's share of what all add to the output over held-out text, times the number of columns.

    What counts is the size of a column's part of the mixed output, not how far its mask opens: a hard top-k opens
    every column equally often, whatever it does, and a column whose hidden units never fire opens and does nothing.
    """
    model = subject.copy()
    if not isinstance(model, CortexGPT):
        raise DoesNotApply("the variant has no columns")
    seen: list[Tensor] = []

    def keep(_module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        seen.append(inputs[0].flatten(0, 1))

    with model.columns.register_forward_hook(keep):
        tokens = subject.sequences(4, subject.experiment.recipe.sequence_length)
        model(tokens, subject.start(model, len(tokens)))
    added = sum(_added(model.columns, rows) for rows in seen)
    assert isinstance(added, Tensor)
    shares = (added / added.sum()).nan_to_num(0.0)
    least = int(shares.argmin())
    relative = float(shares[least]) * len(shares)
    reason = f"column {least} adds least to the output: {relative:.2f} of an equal share"
    return Finding(relative, reason, {**case, "column": least})


def _added(columns: Columns, rows: Tensor) -> Tensor:
    """Σ over rows of the length of each column's part of the mixed output: [columns]."""
    hidden = torch.einsum("rd,nde->nre", rows, columns.hidden_weight) + columns.hidden_bias[:, None]
    output = hidden.relu() @ columns.output_weight + columns.output_bias[:, None]
    lengths = (output @ columns.mix_weight).norm(dim=-1)  # [columns, rows]
    added: Tensor = (lengths * _mask(columns, rows).T).double().sum(1)
    return added


def _mask(columns: Columns, rows: Tensor) -> Tensor:
    """How far each column opens for each row: [rows, columns]."""
    scores = columns.score(rows)
    match columns.spec.sparsity:
        case HardTopK(fraction=fraction):
            k = max(1, int(len(rows) * fraction))
            return torch.zeros_like(scores).scatter(0, scores.topk(k, dim=0).indices, 1.0)
        case SoftThreshold() as soft:
            opened: Tensor = soft.sharpness * ((scores / soft.temperature).sigmoid() - soft.threshold)
            return opened.sigmoid()


COLUMNS = (Property("no_dead_column", no_dead_column, once),)
