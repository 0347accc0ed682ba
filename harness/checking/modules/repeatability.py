"""Evaluation changes nothing: not weights, not what was given, and no later call.

Differs from a trained model (`properties/repeatability.py`): buffers that are not saved may change, since they are
caches; calls of other shapes and kinds come between, and two sessions take turns.
"""

import inspect
import itertools
from collections.abc import Iterable

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.modules.used_before import USES, traces
from cortexzoo.harness.checking.modules.values import bytes_kept, duplicate, floats_of, grows_in_place, tensors_of
from cortexzoo.harness.checking.properties.base import (
    Case,
    Finding,
    Property,
    largest_difference,
    number,
    scale_of,
    text,
)
from cortexzoo.harness.checking.properties.causes.explanations import seen_again
from cortexzoo.harness.checking.properties.repeatability import OUTPUT, changes_of, unchanged

BETWEEN = ("1×1", "5×2 1×9", "1×40 3×7", "2×129 17×2", "1×300 2×5", "1×1025")
SEED = 4_711
SESSION = (3, 5)
"""Rows of two sessions that take turns."""
KEPT = "what the module keeps"
CALLS = 24
"""Equal calls in a row, of which the later half may keep nothing more than those before."""


def repeatability_cases(subject: BareSubject) -> Iterable[Case]:
    """One input, a few and many; after other uses, with calls of other shapes between, and two sessions in turns."""
    for length in [n for n in (1, 17, 100, 257) if n <= subject.longest]:
        yield {"length": length, "rows": 2, "between": "", "seed": 0}
    for use in USES:
        yield {"length": min(7, subject.longest), "rows": 2, "between": use, "seed": 0}
    for between in BETWEEN:
        if max(int(call.split("×")[1]) for call in between.split()) <= subject.longest >= 7:
            yield {"length": 7, "rows": 2, "between": between, "seed": 0}
    if subject.longest >= 2:
        yield {"length": 2, "rows": 1, "between": "equal calls", "seed": 0}
    if subject.carries_state and subject.longest >= 12:
        for rows in (2, 5):
            yield {"length": 4, "rows": rows, "between": "sessions", "seed": 0}


def repeatability_strategy(subject: BareSubject) -> st.SearchStrategy[Case]:
    """Any batch, with any two calls between."""
    most = min(subject.longest, 200)
    call = st.tuples(st.integers(1, 17), st.integers(1, most)).map(lambda shape: f"{shape[0]}×{shape[1]}")
    return st.fixed_dictionaries(
        {
            "length": st.integers(1, most),
            "rows": st.integers(1, 9),
            "between": st.lists(call, max_size=2).map(" ".join),
            "seed": st.integers(0, 99),
        }
    )


@torch.no_grad()
def repeatability(subject: BareSubject, case: Case) -> Finding:
    """Evaluate twice: output, weights, saved buffers, what was given and torch's settings stay bit by bit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)  # a call that sets a seed of its own would leave the state of that seed unchanged
        match text(case, "between"):
            case "sessions":
                moved = _in_turns(subject, case)
            case "equal calls":
                moved = _kept(subject, case)
            case use if use in USES:
                inputs = subject.draw(number(case, "rows"), number(case, "length"), number(case, "seed"))
                moved = traces(subject, use, inputs)
                if apart := max(moved.values(), default=0.0):
                    reason = f"after {use} the output differs by {apart:.2g} from that of a copy not used before"
                    return Finding(apart, reason, {**case, "changed": use})
            case _:
                moved = _twice(subject, case)
    found = unchanged(moved, case)
    if [name for name in moved if moved[name]] == [KEPT]:
        reason = f"the module keeps {moved[KEPT] / CALLS:.0f} bytes more after each of {CALLS} equal calls, for ever"
        return Finding(found.observed, reason, found.case)
    return found


def _twice(subject: BareSubject, case: Case) -> dict[str, float]:
    model, rows = subject.copy(), number(case, "rows")
    inputs = subject.draw(rows, number(case, "length"), number(case, "seed"))
    given = inputs.clone()
    saved = set(model.state_dict())
    before = _surroundings(model)
    first = subject.output(model, inputs)
    after = _surroundings(model)
    moved = {"the inputs": largest_difference(given, inputs)}
    moved |= changes_of(before, {name: value for name, value in after.items() if name in before or name in saved})
    moved[OUTPUT] = largest_difference(first, subject.output(model, given))
    if subject.carries_state:
        moved |= _state_given(subject, model, given)
        moved |= _parted(subject, model, given)
        moved |= _without_state(subject, model, given)
    for number_of_call, call in enumerate(text(case, "between").split()):
        other_rows, length = (int(size) for size in call.split("×"))
        subject.output(model, subject.draw(other_rows, length, number_of_call + 1))
    if text(case, "between"):
        again = subject.output(model, given)
        apart = largest_difference(first, again) / scale_of(first)
        moved[f"the output after calls of {text(case, 'between')}"] = apart if apart > 2 * subject.eps * 8 else 0.0
    return moved


def _state_given(subject: BareSubject, model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Whether the memory that a call was given still gives the same; one that grows in place is expected to change."""
    rows = len(inputs)
    if 2 * inputs.shape[1] > subject.longest:
        return {}
    for what, start in (
        ("the memory it begins with", subject.begin(model, rows)),
        ("the memory that was given", subject.run(model, inputs, subject.begin(model, rows))[1]),
    ):
        kept = duplicate(start)
        first, after = subject.call(model, inputs, start)
        tensors = zip(tensors_of(kept), tensors_of(start), strict=False)
        if grows_in_place(start, after) or all(largest_difference(one, other) == 0 for one, other in tensors):
            continue
        again, _ = subject.call(model, inputs, duplicate(start))
        if apart := largest_difference(subject.joined(first), subject.joined(again)):
            return {what: apart}
    return {}


def _parted(subject: BareSubject, model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Whether two continuations of one memory leave each other alone; one that grows in place has one continuation."""
    if 3 * inputs.shape[1] > subject.longest:
        return {}
    _, start = subject.run(model, inputs, subject.begin(model, len(inputs)))
    _, one = subject.call(model, inputs, start)
    if grows_in_place(start, one):
        return {}
    kept = duplicate(one)
    subject.call(model, subject.other(inputs), start)
    apart = largest_difference(*(subject.run(model, inputs, state)[0] for state in (one, kept)))
    return {"what follows from a memory, by another continuation of the one before it": apart}


def _without_state(subject: BareSubject, model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """Whether a call that gives no state, where the module has a default for it, leaves nothing in the default."""
    others = list(inspect.signature(model.forward).parameters.values())[1:]
    if not others or others[0].default is inspect.Parameter.empty:
        return {}
    try:
        first, again = (floats_of(model(inputs))[0] for _ in range(2))
    except Exception:
        return {}  # a default that stands for nothing, which nobody uses
    return {"the output of a call without a state": largest_difference(first, again)}


def _in_turns(subject: BareSubject, case: Case) -> dict[str, float]:
    """Two sessions on one module, piece by piece in turns, against each on a module of its own."""
    length, seed = number(case, "length"), number(case, "seed")
    batches = [
        [subject.draw(rows, length, seed + 10 * session + piece) for piece in range(3)]
        for session, rows in enumerate((number(case, "rows"), SESSION[number(case, "rows") % 2]))
    ]
    alone = []
    for pieces in batches:
        model = subject.copy()
        state, outputs = subject.begin(model, len(pieces[0])), []
        for piece in pieces:
            output, state = subject.run(model, piece, state)
            outputs.append(output)
        alone.append(outputs)
    model = subject.copy()
    states = [subject.begin(model, len(pieces[0])) for pieces in batches]
    moved = {}
    for turn in range(3):
        for session, pieces in enumerate(batches):
            found, states[session] = subject.call(model, pieces[turn], states[session])
            apart = largest_difference(alone[session][turn], subject.joined(found)) / scale_of(alone[session][turn])
            name = f"another session's output ({session + 1} of 2, piece {turn + 1})"
            moved[name] = apart if apart > 16 * subject.eps else 0.0
    return moved


def _kept(subject: BareSubject, case: Case) -> dict[str, float]:
    """Bytes of tensors that the module itself keeps, where each of many equal calls adds to them."""
    model = subject.copy()
    inputs = subject.draw(number(case, "rows"), number(case, "length"), number(case, "seed"))
    sizes = []
    for _ in range(CALLS):
        subject.output(model, inputs)
        sizes.append(bytes_kept(model))
    later = sizes[CALLS // 2 :]
    grows = all(one < other for one, other in itertools.pairwise(later))
    return {KEPT: float(sizes[-1] - sizes[0]) if grows else 0.0}


def _surroundings(model: nn.Module) -> dict[str, Tensor]:
    """Weights, buffers that are saved, and torch's settings. Caches that are not saved may grow."""
    saved = set(model.state_dict(keep_vars=True))
    named = {**dict(model.named_parameters()), **{n: b for n, b in model.named_buffers() if n in saved}}
    settings = torch.tensor([torch.is_grad_enabled(), torch.get_default_dtype() == torch.float32, model.training])
    return {
        **{n: t.detach().clone() for n, t in named.items()},
        "torch's random state": torch.get_rng_state(),
        "torch's settings": settings.float(),
    }


def _why(subject: BareSubject, case: Case) -> Case | None:
    """Of outputs that differ between two calls; what else changed is named by the reason."""
    if (between := text(case, "between")) in ("sessions", "equal calls", *USES):
        return None
    inputs = subject.draw(number(case, "rows"), number(case, "length"), number(case, "seed"))
    shapes = [(int(rows), int(length)) for rows, length in (call.split("×") for call in between.split())]
    return seen_again(subject, inputs, shapes)


REPEATABILITY = (
    Property(
        "repeatability",
        repeatability,
        repeatability_cases,
        repeatability_strategy,
        explain=_why,
        shrinks=True,
    ),
)
