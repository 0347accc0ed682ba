"""On which texts, and in which forms, what a model computes is compared with the written-out form."""

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from cortexzoo.harness.checking.other_settings import CHUNK, settings_for
from cortexzoo.harness.checking.properties.base import Case
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.memory import Contexts
from cortexzoo.specs.variant import HardTopK
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.transformer import Transformer

LONGEST, MOST_ROWS, MOST_BEFORE = 150, 3, 60
MANY_ROWS = 66
"""More than a block has queries."""


def reference_cases(subject: Subject) -> Iterable[Case]:
    """One token, lengths on both sides of a chunk and a window, and a memory of nothing, a chunk, or more than a ring.

    A hybrid begins between two chunks. A text that `recurs` is the data's, and begins again with what was read before;
    one that `recalls` repeats the end of one of more than 255 tokens, far behind the 255th or right behind it, and one
    that `nearly recalls` has another token early on; one of `runs` repeats a token so often that more contexts are
    equal than a memory finds. Once the model is in training mode, and drops out. Then each memory is switched off, and
    the model has settings that are not the subject's, with matches of more than 24 tokens among them. Under autocast,
    which leaves float64 alone, a CortexGPT takes the form that it has on a card.
    """
    model = subject.model
    sizes = [(1, 2, 0), (2, 1, 0), (9, 2, 0), (33, 1, 0), (70, 2, 0), (130, 1, 0)]
    if isinstance(model, CortexGPT | Transformer):
        sizes += [(1, 2, 3), (9, 3, 30)]
    if isinstance(model, Hybrid):
        sizes += [(9, 2, model.spec.chunk_size)]
    for length, rows, before in sizes:
        yield _case(length, rows, before)
    if isinstance(model, CortexGPT):
        yield _case(40, 2, 50, "recurs")
        yield _case(9, 2, 12, training=True)
        yield _case(35, 2, 12, form="autocast")
        if model.memory.shares_one_ring:
            yield _case(2, MANY_ROWS, 0)
        if model.contexts is not None:
            yield _case(8, 1, len(runs(model.contexts.spec)), "runs")
            yield _case(12, 1, 300, "recalls")
            yield _case(12, 1, 262, "recalls")
    if isinstance(model, CortexGPT | Hybrid):
        before = model.spec.chunk_size if isinstance(model, Hybrid) else 12
        for switch in model.switches:
            if switch != "slow_store" and not (switch == "short_term" and _chooses(model)):
                yield _case(9, 2, before, without=switch)
        for name in settings_for(model):
            yield _case(19, 2, 5 * CHUNK, settings=name)
            yield _case(2 * CHUNK + 3, 1, 0, training=True, settings=name)
            if isinstance(model, CortexGPT):
                yield _case(36, 1, 5 * CHUNK, "nearly recalls", settings=name)


def _chooses(model: CortexGPT | Hybrid) -> bool:
    """Whether its columns choose among all tokens of a call, so that a token alone is another question."""
    return isinstance(model, CortexGPT) and isinstance(model.spec.columns.sparsity, HardTopK)


def _case(length: int, rows: int, before: int, text: str = "random", *, training: bool = False, **further: Any) -> Case:
    return {"length": length, "rows": rows, "before": before, "seed": 0, "text": text, "training": training, **further}


def runs(spec: Contexts) -> list[int]:
    """Two runs of a token with other ends: of the equal contexts in them a memory finds some, and only one end."""
    return [0] * (spec.context + spec.top_k) + [1] + [0] * (spec.context + 5) + [2]


def reference_strategy(subject: Subject) -> st.SearchStrategy[Case]:
    """Any text after any other."""
    before: st.SearchStrategy[int] = st.just(0)
    if isinstance(subject.model, CortexGPT | Transformer):
        before = st.integers(0, MOST_BEFORE)
    elif isinstance(subject.model, Hybrid):
        before = st.sampled_from([0, subject.model.spec.chunk_size])
    return st.fixed_dictionaries(
        {
            "length": st.integers(1, LONGEST),
            "rows": st.integers(1, MOST_ROWS),
            "before": before,
            "seed": st.integers(0, 99),
            "text": st.sampled_from(["random", "recurs"]),
            "training": st.booleans(),
        }
    )
