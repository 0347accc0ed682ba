"""How sequences may be given: whole or in pieces, in any shape, and every token counts."""

from collections.abc import Iterable

import torch
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.harness.checking.properties.base import (
    Case,
    DoesNotApply,
    Finding,
    Property,
    largest_difference,
    number,
    text,
    within_rounding,
)
from cortexzoo.harness.checking.properties.causes.explanations import seen_in_pieces
from cortexzoo.harness.checking.subject import Runnable
from cortexzoo.harness.errors import in_one_line

STATE_HINT = "offer initial_state(batch_size) and forward(inputs, state) -> (output, state)"
LONGEST_PIECE = 70
LONG = (300, 1100, 2047)
REPLACEMENTS, OF_VECTORS = 2, 8
"""Different ones, since one may by chance be as good as the original; two vectors may have the same nearest code."""
PLACES = 9
"""Of a sequence longer than a piece, those at which a token is replaced, the first and the last among them."""
ROUNDING = 1e-5
AFTER = (1, 1, 3)
"""Pieces that follow on both memories: one token at a time, then several."""
MOST_CALLS = 4
MOST_ROWS = 17


def chunk_invariance_cases(subject: Runnable) -> Iterable[Case]:
    """Single tokens, uneven pieces, and pieces around the usual chunk and window sizes; then many and long ones."""
    listed = [("1+1", 2), ("1+2+1", 2), ("5+12", 2), ("33+32", 2), ("64+65", 2), ("127+2+71", 2)]
    listed += [("256+1+43", 2), ("1" + "+1" * 39, 3), ("3+2", 17), ("5+4", 1), ("257+70", 2), ("130+1+1+1+130", 2)]
    listed += [("513+512", 2), ("1000+1025", 1), ("300+300+300+300", 2), ("7" + "+7" * 59, 2), ("1" + "+1" * 129, 1)]
    for pieces, rows in listed if subject.carries_state or not subject.ways else ():
        if sum(map(int, pieces.split("+"))) + sum(AFTER) <= subject.longest:
            yield {"pieces": pieces, "rows": rows, "mode": "eval", "seed": 0}
    for pieces in ("5+12", "64+65", "257+70") if subject.carries_state and "train" in subject.modes else ():
        if sum(map(int, pieces.split("+"))) + sum(AFTER) <= subject.longest:
            yield {"pieces": pieces, "rows": 2, "mode": "train", "seed": 0}
    for way in subject.ways:
        for length, rows in ((1, 1), (7, 2), (130, 2)):
            if length + sum(AFTER) <= subject.longest:
                yield {"pieces": str(length), "rows": rows, "mode": way, "seed": 0}


def chunk_invariance_strategy(subject: Runnable) -> st.SearchStrategy[Case]:
    """Any pieces; without a memory any length, in another way."""
    if subject.ways and not subject.carries_state:
        most = max(1, min(LONGEST_PIECE, subject.longest - sum(AFTER)))
        return st.tuples(st.integers(1, most).map(str), st.integers(1, 3), st.sampled_from(subject.ways)).map(
            lambda d: {"pieces": d[0], "rows": d[1], "mode": d[2], "seed": 0}
        )
    longest = max(1, min(LONGEST_PIECE, (subject.longest - sum(AFTER)) // 5))
    pieces = st.lists(st.integers(1, longest), min_size=2, max_size=5)
    return st.fixed_dictionaries(
        {
            "pieces": pieces.map(lambda sizes: "+".join(map(str, sizes))),
            "rows": st.integers(1, 3),
            "mode": st.sampled_from(subject.modes),
            "seed": st.integers(0, 99),
        }
    )


def chunk_invariance(subject: Runnable, case: Case) -> Finding:
    """Outputs, what follows from the memory, and gradients of pieces with their memory carried against one call."""
    mode = text(case, "mode")
    if mode in subject.ways:
        return _in_another_way(subject, case, mode)
    if not subject.carries_state:
        raise DoesNotApply(f"it takes no memory as an argument: {STATE_HINT}")
    if mode == "train":
        return _in_training(subject, case)
    with torch.no_grad():
        return _in_evaluation(subject, case)


def _in_evaluation(subject: Runnable, case: Case) -> Finding:
    sizes, rows = _sizes(case), number(case, "rows")
    model = subject.copy()
    inputs = subject.draw(rows, sum(sizes), number(case, "seed"))
    whole, end = subject.run(model, inputs, subject.begin(model, rows))
    state, outputs = subject.begin(model, rows), []
    for piece in inputs.split(sizes, dim=1):
        output, state = subject.run(model, piece, state)
        outputs.append(output)
    scale = max(1.0, float(whole.abs().max()))
    raw = largest_difference(whole, torch.cat(outputs, dim=1)) / scale
    what = "the outputs"
    following = subject.draw(rows, sum(AFTER), number(case, "seed") + 1)
    for taken in AFTER:
        piece, following = following[:, :taken], following[:, taken:]
        if not piece.shape[1]:
            break
        one, end = subject.run(model, piece, end)
        other, state = subject.run(model, piece, state)
        raw, what = max((raw, what), (largest_difference(one, other) / scale, "what follows from the memory"))
    carried, once = subject.memory(state), subject.memory(end)
    for name in once if subject.memory_has_one_layout else ():
        if once[name].is_floating_point():
            apart = largest_difference(once[name], carried[name]) / max(1.0, _size(once[name]))
            raw, what = max((raw, what), (apart, f"memory {name}"))
    delta = within_rounding(raw, subject.eps, sum(sizes), ROUNDING)
    reason = f"{what} of {case['pieces']} tokens in pieces differ by {raw:.2g} from those of the whole"
    return Finding(delta, reason, case)


@torch.no_grad()
def _in_another_way(subject: Runnable, case: Case, way: str) -> Finding:
    """A call against the same tokens by `generate`, or with another implementation of attention."""
    rows, model = number(case, "rows"), subject.copy()
    inputs = subject.draw(rows, sum(_sizes(case)), number(case, "seed"))
    other, there = model.in_another_way(way, inputs)  # type: ignore[operator]
    whole = subject.run(subject.copy(), other, subject.begin(model, rows))[0][:, -there.shape[1] :]
    raw = largest_difference(whole, there) / max(1.0, float(whole.abs().max()))
    delta = within_rounding(raw, subject.eps, other.shape[1], ROUNDING)
    reason = f"{way} differs by {raw:.2g} from a call without ({rows} rows of {other.shape[1]})"
    return Finding(delta, reason, case)


def _why_pieces(subject: Runnable, case: Case) -> Case | None:
    sizes, rows = _sizes(case), number(case, "rows")
    if text(case, "mode") != "eval":
        return None
    pieces = subject.draw(rows, sum(sizes), number(case, "seed")).split(sizes, dim=1)
    following = subject.draw(rows, sum(AFTER), number(case, "seed") + 1).split(AFTER, dim=1)
    return seen_in_pieces(subject, pieces, following, ROUNDING)


def _in_training(subject: Runnable, case: Case) -> Finding:
    """Without dropout. Gradients are compared where the memory carries its graph: to cut it may be on purpose."""
    sizes, rows = _sizes(case), number(case, "rows")
    inputs = subject.draw(rows, sum(sizes), number(case, "seed"))
    whole, once, _ = _trained(subject, [inputs])
    again, _, _ = _trained(subject, [inputs], seed=1)
    if largest_difference(whole, again) > 0:
        return Finding(0.0, "it draws at random in training: compared in evaluation only", case)
    pieces, split, linked = _trained(subject, list(inputs.split(sizes, dim=1)))
    raw = largest_difference(whole, pieces) / max(1.0, float(whole.abs().max()))
    what = "the outputs in training"
    scale = max([1.0, *(_size(gradient) for gradient in once.values())])
    for name in once if linked else ():
        apart = largest_difference(once[name], split[name]) / scale if name in split else _size(once[name])
        raw, what = max((raw, what), (apart, f"the gradient of {name}"))
    delta = within_rounding(raw, subject.eps, sum(sizes), ROUNDING)
    reason = f"{what} of {case['pieces']} tokens in pieces differ by {raw:.2g} from those of the whole"
    return Finding(delta, reason, case)


def _trained(
    subject: Runnable, pieces: list[torch.Tensor], seed: int = 0
) -> tuple[torch.Tensor, dict[str, torch.Tensor], bool]:
    """Outputs, gradients, and whether every memory between two pieces had a graph that gradients came through."""
    model = subject.copy()
    model.train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.modules.dropout._DropoutNd):
            layer.p = 0.0
    outputs, linked = [], True
    carried: list[list[torch.Tensor]] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = subject.begin(model, len(pieces[0]))
        for place, piece in enumerate(pieces):
            if place:
                carried.append([t for t in subject.memory(state).values() if t.is_floating_point()])
                linked &= all(tensor.requires_grad for tensor in carried[-1])
                for tensor in carried[-1] if linked else ():
                    tensor.retain_grad()
            output, state = subject.run(model, piece, state)
            outputs.append(output)
    result = torch.cat(outputs, dim=1)
    if result.requires_grad:
        result.double().square().mean().backward()
    linked &= all(any(tensor.grad is not None for tensor in tensors) for tensors in carried)
    gradients = {n: p.grad.to_dense().detach() for n, p in model.named_parameters() if p.grad is not None}
    return result.detach(), gradients, linked and bool(gradients)


def _sizes(case: Case) -> list[int]:
    return [int(size) for size in text(case, "pieces").split("+")]


def _size(tensor: torch.Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def any_shape_works_strategy(subject: Runnable) -> st.SearchStrategy[Case]:
    """Some calls, one after the other on the same model, written as rows×length."""
    longest = min(150, subject.longest)
    call = st.tuples(st.integers(1, MOST_ROWS), st.integers(1, longest)).map(lambda shape: f"{shape[0]}×{shape[1]}")
    return st.fixed_dictionaries({"calls": st.lists(call, min_size=1, max_size=MOST_CALLS).map(" ".join)})


def any_shape_works_cases(subject: Runnable) -> Iterable[Case]:
    """One call, a batch that grows and shrinks, long ones after short ones, every batch size up to 17."""
    rows = " ".join(f"{rows}×3" for rows in range(1, MOST_ROWS + 1))
    listed = ["1×1", "2×1", "1×3 3×1", "2×17 5×17 1×17", "1×2 2×140 3×1", rows, "1×64 1×65 1×128 1×129"]
    listed += ["1×257 2×300 1×5", "1×513 1×512", "1×1025 2×1", "1×2048 1×2047"]
    for calls in listed:
        if max(int(call.split("×")[1]) for call in calls.split()) <= subject.longest:
            yield {"calls": calls}
    if subject.longest < 140:
        yield {"calls": f"1×{subject.longest} 2×1 3×{max(1, subject.longest - 1)}"}


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
            return Finding(1, reason, {**case, "call": call})
    return Finding(0, "every call gave an output for every token", case)


def own_token_cases(subject: Runnable) -> Iterable[Case]:
    """A single token, lengths that several chunk sizes do not divide, and long ones, of which some places are tried."""
    for length in (1, 2, 17, 33, *LONG):
        if length <= subject.longest:
            yield {"length": length, "seed": 0}


def own_token_strategy(subject: Runnable) -> st.SearchStrategy[Case]:
    """Any short sequence."""
    longest = min(LONGEST_PIECE, subject.longest)
    return st.fixed_dictionaries({"length": st.integers(1, longest), "seed": st.integers(0, 99)})


@torch.no_grad()
def own_token_counts(subject: Runnable, case: Case) -> Finding:
    """Row i of a batch has another token at place i than a row that has none: output i must differ there."""
    length, seed = number(case, "length"), number(case, "seed")
    model = subject.copy()
    single = subject.draw(1, length, seed)
    places = torch.arange(length) if length <= LONGEST_PIECE else _some_places(length)
    tried = len(places)
    for attempt in range(OF_VECTORS if single.is_floating_point() else REPLACEMENTS):
        rows = torch.arange(len(places))
        edited = single.repeat(len(places), *[1] * (single.dim() - 1))
        edited[rows, places] = subject.other(single, seed + attempt)[0, places]
        inputs = torch.cat([single, edited])
        output, _ = subject.run(model, inputs, subject.begin(model, len(inputs)))
        places = places[(output[1:][rows, places] == output[0, places]).flatten(1).all(dim=1)]
        if not len(places):
            return Finding(0, "every token moves its own output", case)
    dead, first = len(places), int(places[0])
    reason = f"{dead} of {tried} tokens do not move their own output, the first at place {first}"
    return Finding(dead, reason, {**case, "place": first})


def _some_places(length: int) -> Tensor:
    """Evenly spread ones, and those where chunks, pages and windows usually begin and end."""
    powers = [1 << exponent for exponent in range(5, length.bit_length()) if 1 << exponent < length - 1]
    borders = torch.tensor([power + near for power in powers for near in (-1, 0, 1)])
    places: Tensor = torch.cat([torch.linspace(0, length - 1, PLACES).long(), borders]).unique()
    return places


SEQUENCES: tuple[Property[Runnable], ...] = (
    Property(
        "chunk_invariance",
        chunk_invariance,
        chunk_invariance_cases,
        chunk_invariance_strategy,
        explain=_why_pieces,
        shrinks=True,
    ),
    Property("any_shape_works", any_shape_works, any_shape_works_cases, any_shape_works_strategy),
    Property("own_token_counts", own_token_counts, own_token_cases, own_token_strategy),
)
