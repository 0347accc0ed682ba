"""Rounding distinguished from defects: what shrinks a thousandfold in float64 is rounding."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding
from cortexzoo.harness.checking.subject import Runnable

LEAST = 1e-6
"""Smaller differences are within every bound."""
SHRINKS = 1e-3
SubjectT = TypeVar("SubjectT", bound=Runnable)


def exonerated(check: Callable[[SubjectT, Case], Finding]) -> Callable[[SubjectT, Case], Finding]:
    """The check, repeated in float64 where a bare module that takes it shows a difference."""

    @wraps(check)
    def with_second_look(subject: SubjectT, case: Case) -> Finding:
        found = check(subject, case)
        if not isinstance(subject, BareSubject) or found.observed <= LEAST or subject.dtype == torch.float64:
            return found
        double: Any = subject.in_double()
        try:
            again = check(double, case)
        except DoesNotApply:
            raise
        except Exception:
            return found
        return again if again.observed <= found.observed * SHRINKS else found

    return with_second_look
