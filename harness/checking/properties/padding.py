"""Padding, for subjects that take a mask: outputs, the memory after it, and gradients."""

from collections.abc import Iterable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from cortexzoo.harness.checking.properties.base import (
    Case,
    DoesNotApply,
    Finding,
    Property,
    largest_difference,
    number,
    within_rounding,
)
from cortexzoo.harness.checking.properties.causes.explanations import seen_pads
from cortexzoo.harness.checking.subject import Runnable

LONGEST = 80
ROUNDING = 1e-5
NEXT = 2
"""Tokens that follow on the memory after a padded call."""
GRADIENTS_UP_TO = 80
PADDING_HINT = 'offer `padding_side = "right"` (or "left") and forward(inputs, mask=…), mask True at real tokens'


def padding_cases(subject: Runnable) -> Iterable[Case]:
    """No pads, few and many, in two rows and more, on both sides of usual chunk and window sizes."""
    listed = [(1, 1, 2), (3, 1, 2), (5, 0, 2), (3, 2, 3), (17, 15, 3), (60, 9, 4), (64, 64, 3), (1, 9, 17)]
    listed += [(130, 127, 3), (257, 43, 2), (20, 280, 3), (513, 140, 2), (30, 1000, 2)]
    for length, pads, rows in listed:
        for side in _sides(subject):
            if length + pads + NEXT <= subject.longest:
                yield {"length": length, "pads": pads, "rows": rows, **side, "seed": 0}
    for side in _sides(subject):
        if subject.longest >= 8 + NEXT:
            yield {"length": 5, "pads": 3, "rows": 3, **side, "seed": 1}


def _sides(subject: Runnable) -> list[dict[str, str]]:
    """For a module that takes pads on either side a case for each; otherwise the module's own, which no case names."""
    either = getattr(subject.copy(), "padding_side", None) == "both"
    return [{"side": "right"}, {"side": "left"}] if either else [{}]


def padding_strategy(subject: Runnable) -> st.SearchStrategy[Case]:
    """Any number of rows, tokens and pads."""
    most = max(1, min(LONGEST, (subject.longest - NEXT) // 2))
    return st.fixed_dictionaries(
        {
            "length": st.integers(1, most),
            "pads": st.integers(0, most),
            "rows": st.integers(1, 5),
            **({"side": st.sampled_from(["left", "right"])} if len(_sides(subject)) > 1 else {}),
            "seed": st.integers(0, 99),
        }
    )


def padding_changes_nothing(subject: Runnable, case: Case) -> Finding:
    """A batch of rows with ever fewer pads against each row alone: outputs, what follows, and gradients."""
    model = subject.copy()
    side = case.get("side", getattr(model, "padding_side", None))
    if side not in ("left", "right"):
        raise DoesNotApply(f"it takes no padding mask: {PADDING_HINT}")
    rows, total = number(case, "rows"), number(case, "length") + number(case, "pads")
    inputs, real = _padded(subject, case, str(side))
    pads = (~real).sum(dim=1).tolist()
    following = subject.draw(rows, NEXT, number(case, "seed") + 1)
    raw, what = _outputs(subject, model, inputs, real, following)
    if total <= GRADIENTS_UP_TO:
        raw, what = max((raw, what), _gradients(subject, inputs, real))
    delta = within_rounding(raw, subject.eps, total, ROUNDING)
    given = f"{rows} rows of {total} with {', '.join(map(str, pads[:4]))}{', …' if rows > 4 else ''} pads"
    reason = f"{given} on the {side}: {what} by {raw:.2g}" if raw else f"{given} on the {side} moved nothing"
    return Finding(delta, reason, case)


def _padded(subject: Runnable, case: Case, side: str) -> tuple[Tensor, Tensor]:
    """Inputs [B, T] or [B, T, D], and what is real [B, T]: ever fewer pads from row to row, none in the last.

    For odd seeds ever more, none in the first.
    """
    rows, most = number(case, "rows"), number(case, "pads")
    total = number(case, "length") + most
    pads = [most * (rows - 1 - row) // (rows - 1) for row in range(rows)] if rows > 1 else [most]
    if number(case, "seed") % 2:
        pads.reverse()
    place = torch.arange(total)
    real = torch.stack([place < total - n if side == "right" else place >= n for n in pads])
    return subject.draw(rows, total, number(case, "seed")), real


def _why(subject: Runnable, case: Case) -> Case | None:
    inputs, real = _padded(subject, case, str(case.get("side", getattr(subject.copy(), "padding_side", "right"))))
    following = subject.draw(len(inputs), NEXT, number(case, "seed") + 1)
    return seen_pads(subject, inputs, real, following, ROUNDING)


@torch.no_grad()
def _outputs(subject: Runnable, model: nn.Module, inputs: Tensor, real: Tensor, following: Tensor) -> tuple[float, str]:
    padded, state = subject.run(model, inputs, subject.begin(model, len(inputs)), mask=real)
    after = subject.run(model, following, state)[0] if subject.carries_state else None
    worst = (0.0, "")
    for row, kept in enumerate(real):
        alone, end = subject.run(model, inputs[row : row + 1, kept], subject.begin(model, 1))
        scale = max(1.0, float(alone.abs().max()))
        apart = largest_difference(alone[0], padded[row, kept]) / scale
        worst = max(worst, (apart, f"the outputs of row {row} move"))
        if after is not None:
            expected = subject.run(model, following[row : row + 1], end)[0]
            apart = largest_difference(expected[0], after[row]) / max(1.0, float(expected.abs().max()))
            worst = max(worst, (apart, f"the memory of row {row} moves the next outputs"))
    return worst


def _gradients(subject: Runnable, inputs: Tensor, real: Tensor) -> tuple[float, str]:
    """Of a sum over real tokens, padded, against the rows one by one."""
    padded = _gradients_of(subject, [(inputs, real)])
    alone = _gradients_of(subject, [(inputs[row : row + 1, kept], None) for row, kept in enumerate(real)])
    scale = max([1.0, *(float(g.nan_to_num().abs().max()) for g in alone.values())])
    worst = (0.0, "")
    for name in alone:
        apart = largest_difference(alone[name], padded[name]) / scale if name in padded else torch.inf
        worst = max(worst, (apart, f"the gradient of {name} moves"))
    return worst


def _gradients_of(subject: Runnable, batches: list[tuple[Tensor, Any]]) -> dict[str, Tensor]:
    model = subject.copy()
    for inputs, mask in batches:
        output, _ = subject.run(model, inputs, subject.begin(model, len(inputs)), mask=mask)
        output = output if mask is None else output[mask]
        if output.requires_grad:
            output.double().square().sum().backward()
    return {n: p.grad.to_dense() for n, p in model.named_parameters() if p.grad is not None and p.grad.numel()}


PADDING: tuple[Property[Runnable], ...] = (
    Property(
        "padding_changes_nothing", padding_changes_nothing, padding_cases, padding_strategy, explain=_why, shrinks=True
    ),
)
