"""What an output depends on where it is computed in half precision or under autocast, which may take another path.

Rounding there is coarse, and turns a choice among experts or codes at some places. So the median over places counts;
where the same edit moves nothing in float32, bit by bit, it may move that by one rounding, elsewhere by `ROUNDINGS`.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.modules.detection import DTYPES, dtypes_offered
from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties.base import Case, Finding, Property, difference, scale_of, text

AUTOCAST = "autocast"
PRECISIONS: Mapping[str, torch.dtype] = {
    "bfloat16": torch.bfloat16, "float16": torch.float16, AUTOCAST: torch.bfloat16
}  # fmt: skip
"""The modes of such cases, and what each rounds to."""
ROUNDINGS = 8
FIRST = 6
"""Cases in float32 that come before."""
Edit = Callable[[BareSubject, Case], tuple[Tensor, Tensor, Tensor]]
"""Inputs, the same edited, and [B, T] True where the output must stay."""


def also_in_half(entry: Property[BareSubject], edit: Edit, case: Case, bound: float) -> Property[BareSubject]:
    """The property with `case` in each of `PRECISIONS` as well."""

    def cases(subject: BareSubject) -> Iterable[Case]:
        listed = iter(entry.cases(subject))
        yield from itertools.islice(listed, FIRST)
        if int(case["length"]) <= subject.longest:
            yield from ({**case, "mode": precision} for precision in PRECISIONS)
        yield from listed

    def check(subject: BareSubject, tried: Case) -> Finding:
        if not _is_half(tried):
            return entry.check(subject, tried)
        return _moved(subject, tried, *edit(subject, tried), bound)

    def explain(subject: BareSubject, tried: Case) -> Case | None:
        return None if _is_half(tried) or entry.explain is None else entry.explain(subject, tried)

    return replace(entry, cases=cases, check=check, explain=explain)


def _is_half(case: Case) -> bool:
    return "mode" in case and text(case, "mode") in PRECISIONS


@torch.no_grad()
def _moved(subject: BareSubject, case: Case, inputs: Tensor, changed: Tensor, stays: Tensor, bound: float) -> Finding:
    precision = text(case, "mode")
    if precision != AUTOCAST and precision not in dtypes_offered(subject):
        return Finding(0.0, f"it does not take {precision}", case)
    if not bool(stays.any()):
        return Finding(0.0, "nothing must stay", case)
    subject = replace(subject, slots=subject.slots[:1])
    try:
        before, after = (_output(subject, given, precision) for given in (inputs, changed))
    except Exception:
        return Finding(0.0, f"it does not take {precision}", case)
    if not (bool(before.isfinite().all()) and bool(after.isfinite().all())):
        return Finding(0.0, "not finite: finite_gradients is about that", case)
    raw = float(difference(before, after)[stays].flatten(1).amax(dim=1).median()) / scale_of(before)
    single = [subject.output(subject.copy(), given)[stays] for given in (inputs, changed)]
    allowed = torch.finfo(PRECISIONS[precision]).eps * (1 if torch.equal(*single) else ROUNDINGS)
    what = f"in {precision}" if precision != AUTOCAST else "under autocast"
    reason = f"{what} an edit moved most outputs that it must not move, by {raw:.2g} and more; in float32 it did not"
    return Finding(raw * bound / allowed, reason, case)


def _output(subject: BareSubject, inputs: Tensor, precision: str) -> Tensor:
    casting: Any = nullcontext()
    if precision == AUTOCAST:
        casting = torch.autocast("cpu", dtype=PRECISIONS[AUTOCAST])
    else:
        subject = replace(subject, dtype=DTYPES[precision])
    with casting, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return subject.output(subject.copy(), subject.fitted(inputs))
