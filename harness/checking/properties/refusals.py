"""What does not fit is refused, in one line, and what only just fits is not."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch

from cortexzoo.harness.checking.mistakes.attempt import Attempt, wrong_ends
from cortexzoo.harness.checking.mistakes.bases import of_bases
from cortexzoo.harness.checking.mistakes.calls import of_calls, of_states
from cortexzoo.harness.checking.mistakes.data import of_data
from cortexzoo.harness.checking.mistakes.foreign import of_modules
from cortexzoo.harness.checking.mistakes.keys import of_keys
from cortexzoo.harness.checking.mistakes.operators import of_operators
from cortexzoo.harness.checking.mistakes.refused import of_refused
from cortexzoo.harness.checking.mistakes.training import of_checkpoints, of_training
from cortexzoo.harness.checking.mistakes.vocabularies import of_vocabularies
from cortexzoo.harness.checking.properties.base import Case, Finding, Property, text
from cortexzoo.harness.checking.subject import Subject

AREAS: Mapping[str, Callable[[Subject], Iterator[Attempt]]] = {
    "calls": of_calls,
    "states": of_states,
    "operators": lambda _: of_operators(),
    "refused": of_refused,
    "data": of_data,
    "vocabularies": of_vocabularies,
    "bases": of_bases,
    "keys": lambda _: of_keys(),
    "modules": of_modules,
    "training": of_training,
    "checkpoints": of_checkpoints,
}


def refusal_cases(_: Subject) -> Iterable[Case]:
    """Each area once, the quickest first."""
    for area in AREAS:
        yield {"area": area}


def mistakes_are_refused(subject: Subject, case: Case) -> Finding:
    """Each attempt of an area: a mistake must be refused in one line, and what lies on a limit must not."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        wrong = wrong_ends(AREAS[text(case, "area")](subject))
    if not wrong:
        return Finding(0, "mistakes are refused, and nothing else", case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0]})


REFUSALS = (Property("mistakes_are_refused", mistakes_are_refused, refusal_cases),)
