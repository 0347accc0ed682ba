"""For each kind of defect the runs to compare, and the sentence that names where it begins."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case
from cortexzoo.harness.checking.properties.causes.layout import Layout
from cortexzoo.harness.checking.properties.causes.origin import Origin, first_difference, first_not_finite
from cortexzoo.harness.checking.properties.causes.tracing import Call, Trace, traced
from cortexzoo.harness.checking.subject import Runnable

MORE = 2
"""Tokens of a further call, which finds what the memory of the first has kept."""
SHOWN = 16
"""Token ids of an input that is small enough to be printed."""


def seen_later_tokens(
    subject: Runnable, inputs: Tensor, changed: Tensor, position: int, mode: str, prefix: Sequence[Tensor] = ()
) -> Case | None:
    """Why an edit of later tokens moves the output at an earlier `position`; `prefix` fills the memory before."""
    rows = len(inputs)
    edited = int((inputs != changed).transpose(0, 1).flatten(1).any(dim=1).nonzero()[0])

    def earlier(tensor: Tensor, length: int) -> Tensor | None:
        placed = Layout(rows, length).by_place(tensor)
        return None if placed is None else placed[:, :edited]

    before, after = (_trace(subject, [*prefix, given], mode)[-1:] for given in (inputs, changed))
    origin = first_difference(before, after, (earlier, earlier))
    return _cause(origin, f"place {position} sees place {edited} or a later one", _shown(inputs, changed))


def seen_other_rows(subject: Runnable, inputs: Tensor, changed: Tensor, row: int, mode: str) -> Case | None:
    """Why an edit of `row` moves an output of another, or why another's loss has a gradient there."""
    others, other = torch.arange(len(inputs)) != row, 0 if row else 1
    further = [subject.draw(len(inputs), MORE, 5)] if subject.carries_state else []
    before, after = (_trace(subject, [given, *further], mode) for given in (inputs, changed))

    def of_others(tensor: Tensor, length: int) -> Tensor | None:
        by_row = Layout(len(others), length).by_row(tensor)
        return None if by_row is None or len(by_row) != len(others) else by_row[others]

    if (origin := first_difference(before[:1], after[:1], (of_others, of_others))) is not None:
        return _cause(origin, f"row {other} sees row {row}", _shown(inputs, changed))
    if first_difference(before[1:], after[1:], (of_others, of_others)) is not None:
        return _of_memory(before[0], f"row {other} sees row {row}", _shown(inputs, changed))
    return _leaking_gradient(subject, inputs, row, other) if mode == "train" else None


def _leaking_gradient(subject: Runnable, inputs: Tensor, row: int, other: int) -> Case | None:
    layout = Layout(*inputs.shape[:2])
    trace = _trace(subject, [inputs], "train", rows=[other])[0]
    leaking = (call for call in trace.backward if call.gradient is not None and _reaches(layout, call.gradient, row))
    if (first := next(leaking, None)) is None:
        return None
    return _back_of(first, f"the loss of row {other} has a gradient at row {row}", _shown(inputs, None))


def seen_again(subject: Runnable, inputs: Tensor, between: Sequence[tuple[int, int]] = ()) -> Case | None:
    """Why the same call gives another output later."""
    model = subject.copy()
    traces = []
    with torch.no_grad():
        for turn in range(2):
            with traced(model) as trace:
                subject.run(model, inputs, subject.begin(model, len(inputs)))
            traces.append(trace)
            for number, (rows, length) in enumerate(between if not turn else ()):
                subject.run(model, subject.draw(rows, length, number + 1), subject.begin(model, rows))
    origin = first_difference(traces[:1], traces[1:], (_all, _all), given=None)
    return _cause(origin, "the second call differs from the first", _shown(inputs, None))


def seen_in_pieces(
    subject: Runnable, pieces: Sequence[Tensor], following: Sequence[Tensor], least: float
) -> Case | None:
    """Why pieces with their memory carried give another output than the whole."""
    whole = torch.cat(list(pieces), dim=1)
    once, split = (_trace(subject, [*given, *following], "eval") for given in ([whole], pieces))

    def places(tensor: Tensor, length: int) -> Tensor | None:
        return Layout(len(whole), length).by_place(tensor)

    origin = first_difference(once, split, (places, places), least)
    return _cause(origin, "pieces differ from the whole", _shown(whole, None))


def seen_pads(subject: Runnable, inputs: Tensor, real: Tensor, following: Tensor, least: float) -> Case | None:
    """Why a row among pads, or what follows on its memory, gives another output than alone."""
    further = [following] if subject.carries_state else []
    padded = _trace(subject, [inputs, *further], "eval", mask=real)
    for row, kept in enumerate(real):
        alone = inputs[row : row + 1, kept]
        single = _trace(subject, [alone, *(more[row : row + 1] for more in further)], "eval")

        def among(tensor: Tensor, length: int, row: int = row, kept: Tensor = kept) -> Tensor | None:
            placed = Layout(len(real), length).by_place(tensor)
            return None if placed is None else placed[row : row + 1, kept]

        def next_of_row(tensor: Tensor, length: int, row: int = row) -> Tensor | None:
            placed = Layout(len(real), length).by_place(tensor)
            return None if placed is None else placed[row : row + 1]

        if (origin := first_difference(single[:1], padded[:1], (_of_one_row, among), least)) is not None:
            return _cause(origin, f"row {row} sees its pads or another row's mask", _shown(alone, None))
        if first_difference(single[1:], padded[1:], (_of_one_row, next_of_row), least) is not None:
            return _of_memory(padded[0], f"row {row} sees its pads", _shown(alone, None))
    return None


def not_finite(trace: Trace) -> Case | None:
    """Where in a training pass the first NaN or infinity arose, forward or on the way back."""
    origin = first_not_finite(trace)
    if origin is not None:
        return _cause(origin, "the first NaN or infinity arises", "")
    bad = (call for call in trace.backward if call.gradient is not None and not bool(call.gradient.isfinite().all()))
    first = next(bad, None)
    return None if first is None else _back_of(first, "the forward is finite, the gradient is not", "")


def _cause(origin: Origin | None, what: str, shown: str) -> Case | None:
    if origin is None:
        return None
    cause = origin.as_case(f"{what} {origin.in_words()}")
    return {**cause, "input": shown} if shown else cause


def _of_memory(trace: Trace, what: str, shown: str) -> Case | None:
    """The outputs of the first call agree, those of the next do not."""
    origin = Origin(trace.calls[-1], before=False)
    return {**origin.as_case(f"{what} in the next call, through the memory that the model returned"), "input": shown}


def _back_of(call: Call, what: str, shown: str) -> Case:
    """On the way back a defect arises in the code that takes the output of `call`."""
    origin = Origin(call.parent or call, before=False)
    cause = origin.as_case(f"{what} {origin.owner_in_words()}, from the output of `{call.name}` on")
    return {**cause, "input": shown} if shown else cause


def _trace(
    subject: Runnable,
    pieces: Sequence[Tensor],
    mode: str,
    rows: Sequence[int] | None = None,
    mask: Tensor | None = None,
) -> list[Trace]:
    """Piece by piece on one fresh copy, `mask` for the first; with `rows` also back from the loss of those rows."""
    model = subject.copy()
    model.train(mode == "train")
    traces = []
    grad: AbstractContextManager[object] = torch.no_grad() if rows is None else nullcontext()
    with torch.random.fork_rng(devices=[]), grad:
        torch.manual_seed(0)
        state = subject.begin(model, len(pieces[0]))
        for number, piece in enumerate(pieces):
            with traced(model, piece.shape[1]) as trace:
                output, state = subject.run(model, piece, state, mask=None if number else mask)
                if rows is not None and output.requires_grad:
                    output[list(rows)].double().square().mean().backward()
            traces.append(trace)
    return traces


def _reaches(layout: Layout, gradient: Tensor, row: int) -> bool:
    by_row = layout.by_row(gradient)
    return by_row is not None and len(by_row) == layout.rows and bool((by_row[row].nan_to_num() != 0).any())


def _all(tensor: Tensor, length: int) -> Tensor:
    return tensor


def _of_one_row(tensor: Tensor, length: int) -> Tensor | None:
    return Layout(1, length).by_place(tensor)


def _shown(inputs: Tensor, changed: Tensor | None) -> str:
    """The input in full where it is small."""
    if inputs.is_floating_point() or inputs.numel() > SHOWN:
        return ""
    return f"{inputs.tolist()}" + ("" if changed is None else f" and {changed.tolist()}")
