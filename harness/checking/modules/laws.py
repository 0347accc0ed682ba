"""What an output of a bare module may depend on: earlier tokens of its own row, in evaluation and in training."""

from collections.abc import Iterable, Iterator

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.rounding import exonerated, scale_of
from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties.base import (
    Case,
    Finding,
    Property,
    difference,
    largest_difference,
    number,
    text,
    within_rounding,
)
from cortexzoo.harness.checking.properties.causes.explanations import seen_later_tokens, seen_other_rows

CAUSALITY_BOUND, ISOLATION_BOUND = 1e-6, 1e-5
CARRIED = 5
"""Tokens that the memory has seen before, in the cases that begin with one."""
GRADIENTS_UP_TO = 300


def causality_cases(subject: BareSubject) -> Iterable[Case]:
    """Lengths sparse first, with edits at the last token, in the middle and early; in training; to special tokens."""
    short, long = subject.lengths(2, 300), [n for n in subject.lengths(2) if n > 300]
    sparse, rest = short[:7], short[7:]
    yield from _edits(sparse, "eval", 0)
    yield from _edits([n for n in sparse if n in (3, 64, 129, 300)] or sparse[-2:], "train", 0)
    for length in [n for n in (2, 17, 65) if n <= subject.longest]:
        for token in subject.special:
            yield {"length": length, "edited": length - 1, "to": f"id {token}", "mode": "eval", "before": 0, "seed": 0}
    if subject.carries_state:
        yield from _edits([n for n in (2, 17, 130) if n + CARRIED <= subject.longest], "eval", CARRIED)
    yield from _edits(long[:3], "eval", 0)
    yield from _edits(long[:1], "train", 0)
    yield from _edits([*rest, *long[3:]], "eval", 0)


def _edits(lengths: Iterable[int], mode: str, before: int) -> Iterator[Case]:
    for length in lengths:
        for edited in sorted({length - 1, length // 2, 1}, reverse=True):
            if 0 < edited < length:
                yield {"length": length, "edited": edited, "to": "others", "mode": mode, "before": before, "seed": 0}


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


@torch.no_grad()
def causality(subject: BareSubject, case: Case) -> Finding:
    """Replace every input from `edited` on: outputs before it must stay, relative to their size."""
    length, edited, mode = number(case, "length"), number(case, "edited"), text(case, "mode")
    inputs, changed = _later_edited(subject, case)
    before, after = (_outputs(subject, given, mode, number(case, "before")) for given in (inputs, changed))
    moved = difference(before, after)[:, :edited].transpose(0, 1).flatten(1).amax(dim=1) / scale_of(before)
    raw, position = float(moved.max()), int(moved.argmax())
    delta = within_rounding(raw, subject.eps, length, CAUSALITY_BOUND)
    if delta > CAUSALITY_BOUND and _draws(subject, inputs, mode):
        return Finding(0.0, "it draws at random in training: measured in evaluation only", case)
    place = " in training" if mode == "train" else ""
    reason = f"editing from place {edited} of {length} moved the output at place {position} by {raw:.2g}{place}"
    if raw == 0:
        reason = "editing later inputs moved no earlier output"
    return Finding(delta, reason, {**case, "position": position})


def _later_edited(subject: BareSubject, case: Case) -> tuple[Tensor, Tensor]:
    edited = number(case, "edited")
    inputs = subject.draw(2, number(case, "length"), number(case, "seed"))
    later = subject.other(inputs[:, edited:])
    if text(case, "to").startswith("id "):
        later = torch.full_like(later, int(text(case, "to").removeprefix("id ")))
    return inputs, torch.cat([inputs[:, :edited], later], dim=1)


def _why_later_tokens(subject: BareSubject, case: Case) -> Case | None:
    inputs, changed = _later_edited(subject, case)
    before = number(case, "before")
    prefix = [subject.draw(len(inputs), before, 7)] if before else []
    return seen_later_tokens(subject, inputs, changed, number(case, "position"), text(case, "mode"), prefix)


def _outputs(subject: BareSubject, inputs: Tensor, mode: str, before: int) -> Tensor:
    model = subject.copy()
    model.train(mode == "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = subject.begin(model, len(inputs))
        if before:
            _, state = subject.run(model, subject.draw(len(inputs), before, 7), state)
        return subject.run(model, inputs, state)[0]


def _draws(subject: BareSubject, inputs: Tensor, mode: str) -> bool:
    """Whether the same call under the same seed gives something else each time, so that nothing can be compared."""
    if mode == "eval":
        return False
    return largest_difference(*(_outputs(subject, inputs, mode, 0).detach() for _ in range(2))) > 0


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
    """Edit one row, compare gradients of the others, exchange rows, take a row alone: no other row may matter."""
    rows, length, mode = number(case, "rows"), number(case, "length"), text(case, "mode")
    inputs, changed, row = _row_edited(subject, case)
    size = f"{rows} rows of {length}" + (" in training" if mode == "train" else "")
    observations = [(_edit(subject, inputs, changed, row, mode), f"editing row {row} moved the output of another row")]
    if mode == "train" and length <= GRADIENTS_UP_TO:
        observations += [(_gradients(subject, inputs, changed, row), f"another row's loss has a gradient at row {row}")]
    if mode == "eval":
        observations += [
            (_permutation(subject, inputs), "exchanging the rows changed more than their order"),
            (_alone(subject, inputs, row), f"row {row} alone gives another output than in the batch"),
        ]
    raw, reason = max(observations, key=lambda observation: observation[0])
    delta = within_rounding(raw, subject.eps, length, ISOLATION_BOUND)
    if delta > ISOLATION_BOUND and _draws(subject, inputs, mode):
        return Finding(0.0, "it draws at random in training: measured in evaluation only", case)
    reason = f"{reason} by {raw:.2g} ({size})" if delta > ISOLATION_BOUND else "no row depends on another"
    return Finding(delta, reason, case)


def _row_edited(subject: BareSubject, case: Case) -> tuple[Tensor, Tensor, int]:
    rows = number(case, "rows")
    inputs = subject.draw(rows, number(case, "length"), number(case, "seed"))
    row = number(case, "edited_row") % rows
    changed = inputs.clone()
    changed[row] = subject.other(inputs[row])
    if text(case, "to").startswith("id "):
        changed[row] = int(text(case, "to").removeprefix("id "))
    return inputs, changed, row


def _why_other_rows(subject: BareSubject, case: Case) -> Case | None:
    inputs, changed, row = _row_edited(subject, case)
    return seen_other_rows(subject, inputs, changed, row, text(case, "mode"))


def _both_calls(subject: BareSubject, inputs: Tensor, mode: str) -> Tensor:
    """The outputs, and where there is a memory those of a second call, the same for any inputs."""
    model = subject.copy()
    model.train(mode == "train")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        output, state = subject.run(model, inputs, subject.begin(model, len(inputs)))
        if not subject.carries_state or inputs.shape[1] + 2 > subject.longest:
            return output
        further = subject.run(model, subject.draw(len(inputs), 2, 5), state)[0]
        return torch.cat([output, further], dim=1) if further.dim() == output.dim() else output


def _edit(subject: BareSubject, inputs: Tensor, changed: Tensor, row: int, mode: str) -> float:
    others = torch.arange(len(inputs)) != row
    before, after = (_both_calls(subject, given, mode) for given in (inputs, changed))
    return largest_difference(before[others], after[others]) / scale_of(before)


@torch.no_grad()
def _permutation(subject: BareSubject, inputs: Tensor) -> float:
    there = torch.arange(len(inputs)).roll(1)
    before = subject.output(subject.copy(), inputs)
    return _counted(largest_difference(before[there], subject.output(subject.copy(), inputs[there])) / scale_of(before))


@torch.no_grad()
def _alone(subject: BareSubject, inputs: Tensor, row: int) -> float:
    together = subject.output(subject.copy(), inputs)[row : row + 1]
    alone = subject.output(subject.copy(), inputs[row : row + 1])
    return _counted(largest_difference(together, alone) / scale_of(together))


def _counted(delta: float) -> float:
    """Another place in a matrix product, or another number of rows, may round differently: only more than that."""
    return delta if delta > ISOLATION_BOUND else 0.0


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
    with torch.random.fork_rng(devices=[]):
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


LAWS = (
    Property(
        "causality", exonerated(causality), causality_cases, causality_strategy, explain=_why_later_tokens, shrinks=True
    ),
    Property(
        "batch_isolation",
        exonerated(batch_isolation),
        batch_isolation_cases,
        batch_isolation_strategy,
        explain=_why_other_rows,
        shrinks=True,
    ),
)
