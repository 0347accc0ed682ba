"""The properties that a bare module can be checked against, by name."""

from dataclasses import replace
from functools import partial

from cortexzoo.harness.checking.modules.finiteness import FINITENESS
from cortexzoo.harness.checking.modules.isolation import ISOLATION
from cortexzoo.harness.checking.modules.learning import LEARNING
from cortexzoo.harness.checking.modules.native import native_or, with_native
from cortexzoo.harness.checking.modules.repeatability import REPEATABILITY
from cortexzoo.harness.checking.modules.rounding import exonerated
from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties import OF_ANY_MODEL
from cortexzoo.harness.checking.properties.base import Case, Finding, Property
from cortexzoo.harness.checking.properties.growth import linear_memory
from cortexzoo.specs.properties import PropertyName


def _of_the_awake(entry: Property[BareSubject]) -> Property[BareSubject]:
    def check(subject: BareSubject, case: Case) -> Finding:
        return entry.check(subject.awake, case)

    def explain(subject: BareSubject, case: Case) -> Case | None:
        return None if entry.explain is None else entry.explain(subject.awake, case)

    return replace(entry, check=check, explain=explain)


ROUNDED: tuple[PropertyName, ...] = ("chunk_invariance", "padding_changes_nothing")
"""Shared properties that compare numbers which may be rounded differently."""

BARE: dict[PropertyName, Property[BareSubject]] = {
    **{entry.name: entry for entry in (*ISOLATION, *REPEATABILITY, *FINITENESS, *LEARNING)},
    **{
        entry.name: replace(entry, check=exonerated(entry.check)) if entry.name in ROUNDED else entry
        for entry in OF_ANY_MODEL
    },
}
BARE["linear_memory"] = replace(BARE["linear_memory"], check=partial(linear_memory, by_what_is_added=True))
HIDDEN: tuple[PropertyName, ...] = (
    "causality", "batch_isolation", "repeatability", "padding_changes_nothing", "chunk_invariance", "own_token_counts",
)  # fmt: skip
"""Those about what the module computes, which weights that begin at zero would hide."""
_pieces = BARE["chunk_invariance"]
BARE["chunk_invariance"] = replace(_pieces, check=native_or(_pieces.check), cases=with_native(_pieces.cases))
BARE |= {name: _of_the_awake(BARE[name]) for name in HIDDEN}
