"""Padding, for subjects that take a mask."""

from collections.abc import Iterable

import torch
from hypothesis import strategies as st

from cortexzoo.harness.checking.properties.base import (
    Case,
    DoesNotApply,
    Finding,
    Property,
    finding,
    largest_difference,
    number,
)
from cortexzoo.harness.checking.subject import Runnable

LONGEST = 80
PADDING_HINT = 'offer `padding_side = "right"` (or "left") and forward(inputs, mask=…), mask True at real tokens'


def padding_cases(_: object) -> Iterable[Case]:
    """Few and many pads, on both sides of usual chunk sizes."""
    for length, pads in ((1, 1), (3, 1), (17, 15), (60, 9), (64, 64)):
        yield {"length": length, "pads": pads, "seed": 0}


def padding_strategy(_: object) -> st.SearchStrategy[Case]:
    """Any number of tokens and pads."""
    return st.fixed_dictionaries(
        {"length": st.integers(1, LONGEST), "pads": st.integers(1, LONGEST), "seed": st.integers(0, 99)}
    )


@torch.no_grad()
def padding_changes_nothing(subject: Runnable, case: Case) -> Finding:
    """Outputs of real tokens with pads beside them against those without."""
    model = subject.copy()
    side = getattr(model, "padding_side", None)
    if side not in ("left", "right"):
        raise DoesNotApply(f"it takes no padding mask: {PADDING_HINT}")
    length, pads, seed = number(case, "length"), number(case, "pads"), number(case, "seed")
    inputs, filler = subject.draw(2, length, seed), subject.draw(2, pads, seed + 1)
    bare, _ = subject.run(model, inputs, subject.begin(model, 2))
    parts = [inputs, filler] if side == "right" else [filler, inputs]
    place = torch.arange(length + pads)
    real = place < length if side == "right" else place >= pads
    output = model(torch.cat(parts, dim=1), mask=real.expand(2, -1))
    output = output if isinstance(output, torch.Tensor) else output[0]
    delta = largest_difference(bare, output[:, real]) / max(1.0, float(bare.abs().max()))
    reason = f"{pads} pads on the {side} of {length} tokens moved their outputs by {delta:.2g}"
    return finding("padding_changes_nothing", delta, reason, case)


PADDING: tuple[Property[Runnable], ...] = (
    Property("padding_changes_nothing", padding_changes_nothing, padding_cases, padding_strategy),
)
