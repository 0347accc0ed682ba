"""What an output of a bare module may depend on: earlier tokens of its own row, in evaluation, in training and in half.

Differs from a trained model (`properties/isolation.py`): other lengths and both modes, special tokens, a memory that
has read something, a row alone; and gradients of its parameters, since it need not have embeddings.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.precisions import also_in_half
from cortexzoo.harness.checking.modules.rounding import exonerated
from cortexzoo.harness.checking.modules.straight_through import without_gradient_functions
from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties.base import Case, Finding, Property, largest_difference, number, scale_of
from cortexzoo.harness.checking.properties.isolation import (
    CAUSALITY_BOUND,
    EDIT,
    EXCHANGED,
    GRADIENT,
    ISOLATION_BOUND,
    NOTHING,
    beyond_place,
    causality,
    edit_of_row,
    exchanged,
    mode_of,
    row_edited,
    strongest,
    why_later_tokens,
    why_other_rows,
)

CARRIED = 5
"""Tokens that the memory has seen before, in the cases that begin with one."""
GRADIENTS_UP_TO = 300
AHEAD = 8
"""Tokens that an output beside the first may look ahead: what predicts several at once is taught with the next ones.

Source: Gloeckle et al. 2024, arXiv:2404.19737, which predicts up to 8.
"""
FURTHER = 2
"""Tokens of a second call, which sees what the memory kept of another row."""


def causality_cases(subject: BareSubject) -> Iterable[Case]:
    """Lengths sparse first, with edits at the last token, in the middle and early; in training; to special tokens."""
    short, long = subject.lengths(2, 300), [n for n in subject.lengths(2) if n > 300]
    sparse, rest = short[:7], short[7:]
    yield from _edits(sparse, "eval", 0)
    yield from _edits(rest[:1], "eval", 0)  # far from every power of two
    cuts = list(_cuts(short))
    yield from cuts[:2]
    yield from _edits([n for n in sparse if n in (3, 64, 129, 300)] or sparse[-2:], "train", 0)
    for length in [n for n in (2, 17, 65) if n <= subject.longest]:
        for token in subject.special:
            yield {"length": length, "edited": length - 1, "to": f"id {token}", "mode": "eval", "before": 0, "seed": 0}
    if subject.carries_state:
        yield from _edits([n for n in (2, 17, 130) if n + CARRIED <= subject.longest], "eval", CARRIED)
    yield from _edits(long[:3], "eval", 0)
    yield from _edits(long[:1], "train", 0)
    yield from _edits(rest[1:], "eval", 0)
    yield from cuts[2:]
    yield from _edits(long[3:], "eval", 0)


def _edits(lengths: Iterable[int], mode: str, before: int) -> Iterator[Case]:
    for length in lengths:
        for edited in sorted({length - 1, length // 2, 1}, reverse=True):
            if 0 < edited < length:
                yield {"length": length, "edited": edited, "to": "others", "mode": mode, "before": before, "seed": 0}


def _cuts(lengths: Sequence[int]) -> Iterator[Case]:
    """Texts that end sooner, at half or a token before their end: two of middle length first."""
    for longer in [n for n in (65, 17, 130, 3, lengths[-1]) if n in lengths]:
        shorter = [n for n in lengths if n < longer]
        for edited in {min(shorter, key=lambda n: abs(n - longer / 2)): 0, max(shorter): 0} if shorter else ():
            yield {"length": longer, "edited": edited, "to": NOTHING, "mode": "eval", "before": 0, "seed": 0}


def causality_strategy(subject: BareSubject) -> st.SearchStrategy[Case]:
    """Any length, place and mode."""
    most = max(2, min(subject.longest - CARRIED, 700))
    places = st.integers(2, most).flatmap(
        lambda n: st.tuples(st.just(n), st.integers(1, n - 1), st.sampled_from(subject.modes), st.integers(0, 99))
    )
    before = st.sampled_from([0, CARRIED] if subject.carries_state and subject.longest > 2 + CARRIED else [0])
    return st.tuples(places, before).map(
        lambda d: {
            "length": d[0][0], "edited": d[0][1], "to": "others", "mode": d[0][2], "before": d[1], "seed": d[0][3],
        }
    )  # fmt: skip


def causality_of_outputs(subject: BareSubject, case: Case) -> Finding:
    """As `causality`; an output beside the first may look a few tokens ahead, as heads of multi-token prediction do."""
    found = causality(subject, case)
    position = found.case.get("position")
    if position is None or len(subject.slots) == 1 or number(case, "edited") - int(position) > AHEAD:
        return found
    return causality(replace(subject, slots=subject.slots[:1]), case)


def batch_isolation_cases(subject: BareSubject) -> Iterable[Case]:
    """Lengths sparse first, in batches from 2 to 17 rows, in evaluation and in training, and to special tokens."""
    lengths = subject.lengths()
    sizes = [(n, rows, mode) for n in lengths[:3] for rows in (2, 5) for mode in subject.modes]
    sizes += [(n, 3, "eval") for n in lengths[3:8]]
    sizes += [(n, rows, "eval") for n in (2, 17) for rows in (6, 8, 16, 17) if n <= subject.longest]
    sizes += [(n, rows, "train") for n, rows in ((17, 17), (129, 2), (300, 3)) if n <= subject.longest]
    sizes += [(n, 2, "eval") for n in lengths[8:11]]
    sizes += [(n, 2, "train") for n in lengths[8:9]]
    for length, rows, mode in dict.fromkeys(sizes):
        yield {"length": length, "rows": rows, "edited_row": 0, "to": "others", "mode": mode, "seed": 0}
    for token in subject.special:
        yield {"length": 3, "rows": 3, "edited_row": 1, "to": f"id {token}", "mode": "eval", "seed": 0}


def batch_isolation_strategy(subject: BareSubject) -> st.SearchStrategy[Case]:
    """Any batch."""
    drawn = st.tuples(
        st.integers(1, min(subject.longest, 400)),
        st.integers(2, 17),
        st.integers(0, 16),
        st.sampled_from(subject.modes),
        st.integers(0, 99),
    )
    return drawn.map(
        lambda d: {
            "length": d[0], "rows": d[1], "edited_row": d[2] % d[1], "to": "others", "mode": d[3], "seed": d[4],
        }
    )  # fmt: skip


def batch_isolation(subject: BareSubject, case: Case) -> Finding:
    """Edit one row, compare gradients of the others, exchange rows, take a row alone: no other row may matter.

    Unlike that of a trained model it may have no embeddings, so gradients are those of its parameters.
    """
    inputs, changed, row = row_edited(subject, case)
    mode = mode_of(case)
    observations = [(edit_of_row(subject, inputs, changed, row, mode, further=FURTHER), EDIT.format(row))]
    if mode == "train" and inputs.shape[1] <= GRADIENTS_UP_TO:
        observations += [(_gradients(subject, inputs, changed, row), GRADIENT.format(row))]
    if mode == "eval":
        alone = f"row {row} alone gives another output than in the batch"
        observations += [(exchanged(subject, inputs), EXCHANGED), (_alone(subject, inputs, row), alone)]
    return strongest(subject, case, inputs, observations)


@torch.no_grad()
def _alone(subject: BareSubject, inputs: Tensor, row: int) -> float:
    together = subject.output(subject.copy(), inputs)[row : row + 1]
    alone = subject.output(subject.copy(), inputs[row : row + 1])
    return beyond_place(largest_difference(together, alone) / scale_of(together))


def _gradients(subject: BareSubject, inputs: Tensor, changed: Tensor, row: int) -> float:
    """How far an edit of a row moves the gradients of the other rows' loss; vectors: their own gradient at the row.

    What is not finite counts as 0: it is `finite_gradients` that reports it.
    """
    others = [other for other in range(len(inputs)) if other != row]
    before, at_row = _parameter_gradients(subject, inputs, others, row)
    after, _ = _parameter_gradients(subject, changed, others, row)
    scale = max([1.0, *(float(g.abs().max()) for g in before.values() if g.numel())])
    apart = [largest_difference(before[n], after[n]) for n in before if n in after and before[n].numel()]
    return max([at_row, *(delta / scale for delta in apart)])


def _parameter_gradients(
    subject: BareSubject, inputs: Tensor, rows: list[int], edited: int
) -> tuple[dict[str, Tensor], float]:
    model: nn.Module = subject.copy()
    model.train()
    with torch.random.fork_rng(devices=[]), without_gradient_functions():
        torch.manual_seed(0)
        if inputs.is_floating_point():
            inputs = inputs.clone().requires_grad_()
        output = subject.output(model, inputs)
        if not output.requires_grad:
            return {}, 0.0
        output[rows].double().square().mean().backward()
    at_row = 0.0
    if inputs.is_floating_point() and inputs.grad is not None:
        at_row = float(inputs.grad[edited].nan_to_num(0.0, 0.0, 0.0).abs().max())
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None and not p.grad.is_sparse}
    return {name: gradient.nan_to_num(0.0, 0.0, 0.0) for name, gradient in found.items()}, at_row


def _later_places(subject: BareSubject, case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Two rows that are edited from a place on, and the places before it."""
    length, edited = number(case, "length"), number(case, "edited")
    inputs = subject.examples(2, length, number(case, "seed"))
    changed = torch.cat([inputs[:, :edited], subject.other(inputs)[:, edited:]], dim=1)
    return inputs, changed, (torch.arange(length) < edited).expand(2, -1)


def _another_row(subject: BareSubject, case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of which one is edited, and the places of the others."""
    inputs, changed, row = row_edited(subject, case)
    return inputs, changed, (torch.arange(len(inputs)) != row)[:, None].expand(inputs.shape[:2])


ISOLATION = (
    also_in_half(
        Property(
            "causality",
            exonerated(causality_of_outputs),
            causality_cases,
            causality_strategy,
            explain=why_later_tokens,
            shrinks=True,
        ),
        _later_places,
        {"length": 33, "edited": 17, "to": "others", "before": 0, "seed": 0},
        CAUSALITY_BOUND,
    ),
    also_in_half(
        Property(
            "batch_isolation",
            exonerated(batch_isolation),
            batch_isolation_cases,
            batch_isolation_strategy,
            explain=why_other_rows,
            shrinks=True,
        ),
        _another_row,
        {"length": 17, "rows": 2, "edited_row": 0, "to": "others", "seed": 0},
        ISOLATION_BOUND,
    ),
)
