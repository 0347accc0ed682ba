"""Pieces against the whole in the half precision of a module's own weights, which is otherwise checked in float32."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch

from cortexzoo.harness.checking.modules.detection import HALF
from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties.base import (
    Case,
    Finding,
    difference,
    number,
    scale_of,
    text,
    within_rounding,
)

NATIVE = "half precision"
"""The mode of such a case."""
BOUND = 1e-5
ROUNDINGS = 16
"""Tokens over which half precision may round: 2 · eps · √16 is 0.06 in bfloat16 and 0.008 in float16."""
Check = Callable[[BareSubject, Case], Finding]
Cases = Callable[[BareSubject], Iterable[Case]]


def with_native(cases: Cases) -> Cases:
    """The cases, and for weights of half precision that are computed in float32 some in their own."""

    def more(subject: BareSubject) -> Iterable[Case]:
        yield from cases(subject)
        if not subject.carries_state or not _own_half(subject):
            return
        for pieces in ("5+12", "64+65", "257+70", "600+40"):
            if sum(map(int, pieces.split("+"))) <= subject.longest:
                yield {"pieces": pieces, "rows": 2, "mode": NATIVE, "seed": 0}

    return more


def native_or(check: Check) -> Check:
    """The check, and for a native case what most places of the last piece differ by."""

    def tried(subject: BareSubject, case: Case) -> Finding:
        return _pieces(replace(subject, dtype=None), case) if text(case, "mode") == NATIVE else check(subject, case)

    return tried


def _own_half(subject: BareSubject) -> bool:
    return subject.dtype == torch.float32 and any(p.dtype in HALF for p in subject.original.parameters())


@torch.no_grad()
def _pieces(subject: BareSubject, case: Case) -> Finding:
    """The median over places, since rounding may turn a choice among experts or codes at some of them."""
    sizes, rows = [int(size) for size in text(case, "pieces").split("+")], number(case, "rows")
    model = subject.copy()
    inputs = subject.draw(rows, sum(sizes), number(case, "seed"))
    whole = subject.run(model, inputs, subject.begin(model, rows))[0]
    state, output = subject.begin(model, rows), whole
    for piece in inputs.split(sizes, dim=1):
        output, state = subject.run(model, piece, state)
    last = whole[:, -sizes[-1] :]
    raw = float(difference(last, output).flatten(2).amax(2).median()) / scale_of(last)
    delta = within_rounding(raw, subject.eps, ROUNDINGS, BOUND)
    reason = f"in half precision the last of {case['pieces']} tokens differ by {raw:.2g} from those of the whole"
    return Finding(delta, reason, case)
