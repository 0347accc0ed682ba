"""What an output of a bare module may depend on, and that asking changes nothing."""

from collections.abc import Iterable

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties.base import (
    Case,
    Finding,
    Property,
    difference,
    finding,
    largest_difference,
    number,
)
from cortexzoo.harness.checking.properties.isolation import embedded_vectors

LENGTHS = (2, 3, 17, 64, 129)
LONGEST = 150


def causality_cases(_: object) -> Iterable[Case]:
    """Every length with edits that start early, in the middle and at the last token."""
    for length in LENGTHS:
        for edited in sorted({1, length // 2, length - 1} - {0, length}):
            yield {"length": length, "edited": edited, "rows": 1, "seed": 0}


def causality_strategy(_: object) -> st.SearchStrategy[Case]:
    """Any length and place."""
    places = st.integers(2, LONGEST).flatmap(
        lambda length: st.tuples(st.just(length), st.integers(1, length - 1), st.integers(1, 3), st.integers(0, 99))
    )
    return places.map(lambda drawn: dict(zip(("length", "edited", "rows", "seed"), drawn, strict=True)))


@torch.no_grad()
def causality(subject: BareSubject, case: Case) -> Finding:
    """Replace every input from `edited` on: outputs before it must stay, relative to their size."""
    length, edited = number(case, "length"), number(case, "edited")
    inputs = subject.draw(number(case, "rows"), length, number(case, "seed"))
    changed = torch.cat([inputs[:, :edited], subject.other(inputs[:, edited:])], dim=1)
    before, after = (subject.output(subject.copy(), given) for given in (inputs, changed))
    moved = difference(before, after)[:, :edited].transpose(0, 1).flatten(1).amax(dim=1) / _scale(before)
    delta = float(moved.max())
    position = int(moved.argmax())
    reason = f"editing from place {edited} of {length} moved the output at place {position} by {delta:.2g}"
    if delta == 0:
        reason = "editing later inputs moved no earlier output"
    return finding("causality", delta, reason, {**case, "position": position})


def batch_isolation_cases(_: object) -> Iterable[Case]:
    """Small and larger batches of short and longer sequences."""
    for length in (1, 2, 17):
        for rows in (2, 5):
            yield {"length": length, "rows": rows, "edited_row": 0, "seed": 0}


def batch_isolation_strategy(_: object) -> st.SearchStrategy[Case]:
    """Any batch."""
    drawn = st.tuples(st.integers(1, 80), st.integers(2, 6), st.integers(0, 5), st.integers(0, 99))
    return drawn.map(lambda d: {"length": d[0], "rows": d[1], "edited_row": d[2] % d[1], "seed": d[3]})


def batch_isolation(subject: BareSubject, case: Case) -> Finding:
    """Edit one row, differentiate by one row, exchange rows: no other row may notice."""
    inputs = subject.draw(number(case, "rows"), number(case, "length"), number(case, "seed"))
    row = number(case, "edited_row")
    size = f"{len(inputs)} rows of {inputs.shape[1]}"
    with torch.no_grad():
        edit, permutation = _edit(subject, inputs, row), _permutation(subject, inputs)
    observations = [
        (edit, f"editing row {row} moved the output of another row ({size})"),
        (_gradient(subject, inputs, row), f"another row's loss has a gradient at row {row} ({size})"),
        (permutation, f"exchanging the rows changed more than their order ({size})"),
    ]
    delta, reason = max(observations, key=lambda observation: observation[0])
    return finding("batch_isolation", delta, reason if delta else f"no row noticed another ({size})", case)


def _edit(subject: BareSubject, inputs: Tensor, row: int) -> float:
    changed = inputs.clone()
    changed[row] = subject.other(inputs[row])
    others = torch.arange(len(inputs)) != row
    before = subject.output(subject.copy(), inputs)
    return largest_difference(before[others], subject.output(subject.copy(), changed)[others]) / _scale(before)


def _permutation(subject: BareSubject, inputs: Tensor) -> float:
    there = torch.arange(len(inputs)).roll(1)
    before = subject.output(subject.copy(), inputs)
    return largest_difference(before[there], subject.output(subject.copy(), inputs[there])) / _scale(before)


def _gradient(subject: BareSubject, inputs: Tensor, edited_row: int) -> float:
    """Of another row's output by the inputs of this one, in training mode; 0 where token ids are not looked up.

    What is not finite counts as 0: it is `finite_gradients` that tells of it, and it says nothing of this.
    """
    model = subject.copy().train()
    with torch.random.fork_rng(devices=[]), embedded_vectors(model) as vectors:
        torch.manual_seed(0)
        if inputs.is_floating_point():
            inputs = inputs.clone().requires_grad_()
        output = subject.output(model, inputs)
        output[(edited_row + 1) % len(inputs)].double().square().mean().backward()
    found = [inputs.grad] if inputs.is_floating_point() else [v.grad for v in vectors if len(v) == len(inputs)]
    gradients = [g[edited_row].nan_to_num(0.0, 0.0, 0.0) for g in found if g is not None]
    return max((float(gradient.abs().max()) for gradient in gradients), default=0.0)


def repeatability_cases(_: object) -> Iterable[Case]:
    """One input, a few, and many."""
    for length in (1, 17, 100):
        yield {"length": length, "rows": 2, "seed": 0}


@torch.no_grad()
def repeatability(subject: BareSubject, case: Case) -> Finding:
    """Evaluate twice: output, weights, buffers and torch's random state must be as they were, bit by bit."""
    model = subject.copy()
    inputs = subject.draw(number(case, "rows"), number(case, "length"), number(case, "seed"))
    given = inputs.clone()
    before = _surroundings(model)
    first = subject.output(model, inputs)
    after = _surroundings(model)
    moved = {"the inputs": largest_difference(given, inputs)}
    moved |= {n: largest_difference(before[n], after[n]) if n in after else torch.inf for n in before}
    moved |= {name: torch.inf for name in after if name not in before}
    moved["the output"] = largest_difference(first, subject.output(model, given))
    what = max(moved, key=lambda name: moved[name])
    if moved[what] == 0:
        return finding("repeatability", 0.0, "two evaluation calls gave the same and left everything alone", case)
    changed = [name for name in moved if moved[name]]
    reason = f"an evaluation call changed {', '.join(changed[:3])}"
    if changed == ["the output"]:
        reason += ": something is kept between calls, or drawn at random"
    return finding("repeatability", moved[what], reason, {**case, "changed": changed[0]})


def _surroundings(model: nn.Module) -> dict[str, Tensor]:
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {**{n: t.detach().clone() for n, t in named.items()}, "torch's random state": torch.get_rng_state()}


def _scale(output: Tensor) -> float:
    finite = output[output.isfinite()]
    return max(1.0, float(finite.abs().max())) if finite.numel() else 1.0


LAWS = (
    Property("causality", causality, causality_cases, causality_strategy),
    Property("batch_isolation", batch_isolation, batch_isolation_cases, batch_isolation_strategy),
    Property("repeatability", repeatability, repeatability_cases),
)
