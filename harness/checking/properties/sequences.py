"""How sequences may be given: whole or in pieces, in any shape, and every token counts."""

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
    text,
)
from cortexzoo.harness.checking.subject import Runnable
from cortexzoo.harness.errors import in_one_line

STATE_HINT = "offer initial_state(batch_size) and forward(inputs, state) -> (output, state)"
LONGEST_PIECE = 70
MOST_CALLS = 4


def chunk_invariance_cases(_: object) -> Iterable[Case]:
    """Single tokens, uneven pieces, and pieces around the usual chunk and window sizes."""
    for pieces in ("1+1", "1+2+1", "5+12", "33+32", "64+65", "127+2+71"):
        yield {"pieces": pieces, "rows": 2, "seed": 0}


def chunk_invariance_strategy(_: object) -> st.SearchStrategy[Case]:
    """Any pieces."""
    pieces = st.lists(st.integers(1, LONGEST_PIECE), min_size=2, max_size=5)
    return st.fixed_dictionaries(
        {
            "pieces": pieces.map(lambda sizes: "+".join(map(str, sizes))),
            "rows": st.integers(1, 3),
            "seed": st.integers(0, 99),
        }
    )


@torch.no_grad()
def chunk_invariance(subject: Runnable, case: Case) -> Finding:
    """Outputs, and the memory at the end, of pieces with their memory carried against one call."""
    if not subject.carries_state:
        raise DoesNotApply(f"it takes no memory as an argument: {STATE_HINT}")
    sizes = [int(size) for size in text(case, "pieces").split("+")]
    rows = number(case, "rows")
    model = subject.copy()
    inputs = subject.draw(rows, sum(sizes), number(case, "seed"))
    whole, end = subject.run(model, inputs, subject.begin(model, rows))
    state, outputs = subject.begin(model, rows), []
    for piece in inputs.split(sizes, dim=1):
        output, state = subject.run(model, piece, state)
        outputs.append(output)
    scale = max(1.0, float(whole.abs().max()))
    delta = largest_difference(whole, torch.cat(outputs, dim=1)) / scale
    what = "the outputs"
    carried, once = subject.memory(state), subject.memory(end)
    for name in once:
        if once[name].is_floating_point():
            apart = largest_difference(once[name], carried[name]) / max(1.0, _size(once[name]))
            delta, what = max((delta, what), (apart, f"memory {name}"))
    reason = f"{what} of {case['pieces']} tokens in pieces differ by {delta:.2g} from those of the whole"
    return finding("chunk_invariance", delta, reason, case)


def _size(tensor: torch.Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def any_shape_works_strategy(_: object) -> st.SearchStrategy[Case]:
    """Some calls, one after the other on the same model, written as rows×length."""
    call = st.tuples(st.integers(1, 5), st.integers(1, 150)).map(lambda shape: f"{shape[0]}×{shape[1]}")
    return st.fixed_dictionaries({"calls": st.lists(call, min_size=1, max_size=MOST_CALLS).map(" ".join)})


def any_shape_works_cases(_: object) -> Iterable[Case]:
    """One call, a batch that grows and shrinks, and a long one after a short one."""
    for calls in ("1×1", "2×1", "1×3 3×1", "2×17 5×17 1×17", "1×2 2×140 3×1"):
        yield {"calls": calls}


@torch.no_grad()
def any_shape_works(subject: Runnable, case: Case) -> Finding:
    """Run every call; each must give one output for every token."""
    model = subject.copy()
    state = None
    for call in text(case, "calls").split():
        rows, length = (int(size) for size in call.split("×"))
        problem = ""
        try:
            start = subject.begin(model, rows) if state is None else subject.follow(model, state, rows)
            output, state = subject.run(model, subject.draw(rows, length), start)
            if output.shape[:2] != (rows, length):
                problem = f"gave an output of shape {list(output.shape)}"
        except DoesNotApply:
            raise
        except Exception as crash:
            problem = f"raised {in_one_line(crash)}"
        if problem:
            reason = f"a call of {call} (rows×length) {problem}"
            return finding("any_shape_works", 1, reason, {**case, "call": call})
    return finding("any_shape_works", 0, "every call gave an output for every token", case)


def own_token_cases(_: object) -> Iterable[Case]:
    """A single token, and lengths that several chunk sizes do not divide."""
    for length in (1, 2, 17, 33):
        yield {"length": length, "seed": 0}


def own_token_strategy(_: object) -> st.SearchStrategy[Case]:
    """Any short sequence."""
    return st.fixed_dictionaries({"length": st.integers(1, LONGEST_PIECE), "seed": st.integers(0, 99)})


@torch.no_grad()
def own_token_counts(subject: Runnable, case: Case) -> Finding:
    """Row i of a batch has another token at place i than a row that has none: output i must differ there."""
    length, seed = number(case, "length"), number(case, "seed")
    model = subject.copy()
    single = subject.draw(1, length, seed)
    places = torch.arange(length)
    unread = torch.ones(length, dtype=torch.bool)
    for attempt in range(2):  # two different replacements: one may by chance be as good as the original
        edited = single.repeat(length, *[1] * (single.dim() - 1))
        edited[places, places] = subject.other(single, seed + attempt)[0]
        inputs = torch.cat([single, edited])
        output, _ = subject.run(model, inputs, subject.begin(model, length + 1))
        apart = (output[1:][places, places] != output[0]).flatten(1).any(dim=1)
        unread &= ~apart
    dead = int(unread.sum())
    if not dead:
        return finding("own_token_counts", 0, "every token moves its own output", case)
    first = int(unread.nonzero()[0])
    reason = f"{dead} of {length} tokens do not move their own output, the first at place {first}"
    return finding("own_token_counts", dead, reason, {**case, "place": first})


SEQUENCES: tuple[Property[Runnable], ...] = (
    Property("chunk_invariance", chunk_invariance, chunk_invariance_cases, chunk_invariance_strategy),
    Property("any_shape_works", any_shape_works, any_shape_works_cases, any_shape_works_strategy),
    Property("own_token_counts", own_token_counts, own_token_cases, own_token_strategy),
)
