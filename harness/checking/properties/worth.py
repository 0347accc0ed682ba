"""What the memories are worth, by the committed record; and that a memory finds no answer in its own question."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, number, once
from cortexzoo.harness.checking.records import RecordError, WorthRecord, deviations, training_sum
from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.specs.properties import PROPERTIES
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.memory.contexts.codes import contexts_of
from cortexzoo.zoo.memory.contexts.diary import BOUNDARY, Diary
from cortexzoo.zoo.models.cortexgpt import CortexGPT
from cortexzoo.zoo.models.interface import MemoryState

LENGTH = 64
FEW = 2
SHORT_SPAN = 6
"""So short that a search finds all entries of the span, and the one behind it."""
WELL_SEEN = 1e-3


def each_memory_is_worth_it(subject: Subject, case: Case) -> Finding:
    """How far each memory lowers the loss on the test part, in standard deviations over seeds; the least counts."""
    record = _record(subject)
    found = {memory: deviations(record.worth(memory)) for memory in record.memories}
    least = min(found, key=lambda memory: found[memory])
    worths = ", ".join(f"{memory} {fmean(record.worth(memory)):+.3f}" for memory in record.memories)
    reason = f"worth in nats a byte over {len(record.seeds)} seeds: {worths}"
    return Finding(found[least], reason, {**case, "memory": least})


def memory_is_not_a_crutch(subject: Subject, case: Case) -> Finding:
    """Loss with long-term memory switched off, above that of an equal model that was trained without it."""
    record = _record(subject)
    if "long_term" not in record.memories:
        raise DoesNotApply("the variant has no long-term memory")
    above = fmean(record.off("long_term"))
    reason = f"long-term memory off: {above:+.3f} nats a byte against training without it, {len(record.seeds)} seeds"
    return Finding(above, reason, case)


def _record(subject: Subject) -> WorthRecord:
    """The committed record. Raises `DoesNotApply` where it is of something else."""
    experiment = subject.experiment
    if not subject.model.switches:
        raise DoesNotApply("the variant has no memory that could be left out")
    try:
        record = WorthRecord.read(experiment.name)
    except RecordError as problem:
        raise DoesNotApply(str(problem)) from problem
    if record.training != training_sum(experiment):
        raise DoesNotApply("the committed record is of another variant, recipe or data: measure again")
    if record.data_sha256 != load_data(experiment).sha256:
        raise DoesNotApply("the committed record is of another text: that of this Python differs")
    if len(record.seeds) < FEW:
        raise DoesNotApply("the committed record is of one seed, which has no spread")
    return record


def occurrence_cases(_: Subject) -> Iterable[Case]:
    """A text that is read at once or in pieces, with a consolidation after each, and again in one or the other way.

    Also token by token, from a memory so full that it begins with the text's first token, where the text is longer than
    what a running document may have, and of two tokens alone, whose contexts come again before and behind each place.
    """
    for pieces, again in ((1, 1), (3, 1), (1, 3), (3, 3)):
        yield {"pieces": pieces, "again": again, "full": 0}
    yield {"pieces": 1, "again": LENGTH, "full": 0}
    yield {"pieces": 2, "again": LENGTH, "full": 1}
    yield {"pieces": 1, "again": 1, "full": 0, "capacity": 12}
    yield {"pieces": 2, "again": 1, "full": 0, "kinds": 2}
    yield {"span": SHORT_SPAN}


@torch.no_grad()
def no_own_occurrence(subject: Subject, case: Case) -> Finding:
    """Random tokens, read, consolidated, and read again as training would read them: nothing may be found.

    What is kept of them must be filed under the places that they have in the text.
    """
    model = subject.copy()
    state = model.initial_state(1)
    if not isinstance(getattr(state, "long_term", None), Diary):
        raise DoesNotApply("its long-term memory stores no continuations")
    assert isinstance(model, CortexGPT) and model.contexts is not None
    if span := number(case, "span", 0):
        return _at_the_border(model, span, case)
    # Beyond the span that belongs to a place, other places may be found.
    length = min(LENGTH, model.contexts.spec.own_span)
    tokens, place = subject.random_tokens(1, length), torch.tensor([0])
    if kinds := number(case, "kinds", 0):
        tokens = tokens % kinds
    pieces = tokens.chunk(number(case, "again"), dim=1)

    def read() -> Any:
        read = model.placed(state, place)
        for piece in tokens.chunk(number(case, "pieces"), dim=1):
            read = model.consolidate(model(piece, read).state)
        return read

    if capacity := number(case, "capacity", 0):
        model.contexts.spec = model.contexts.spec.model_copy(update={"capacity": capacity})
        if wrong := _misfiled(read().long_term, tokens[0]):
            return Finding(math.inf, wrong, case)
        return Finding(0, "the last of a long text is filed under its places", case)
    if wrong := _misfiled(read().long_term, tokens[0]):
        return Finding(math.inf, wrong, case)
    if number(case, "full"):  # without the boundary that is its first place
        capacity = read().long_term.pages.filled - 1
        model.contexts.spec = model.contexts.spec.model_copy(update={"capacity": capacity})
    after = model.between_batches(read(), 1)
    if _found(model, pieces, after) == 0:
        raise DoesNotApply("long-term memory finds nothing, not even where it may")
    moved = _found(model, pieces, model.placed(after, place))
    reason = "a place of the training text finds " + (
        "itself" if moved > PROPERTIES["no_own_occurrence"].bound else "nothing of itself"
    )
    return Finding(moved, reason, case)


def _at_the_border(model: CortexGPT, span: int, case: Case) -> Finding:
    """One token over and over: of its last place the farthest entry belongs to it just yet, and in a longer text not.

    The first tokens of a document may be in lists of their own: those of one list alone find each other.
    """
    assert model.contexts is not None
    model.contexts.spec = model.contexts.read_out.spec = spec = model.contexts.spec.model_copy(
        update={"own_span": span, "top_k": max(model.contexts.spec.top_k, span)}
    )
    most = torch.zeros(1, span + spec.list_tokens + 1, dtype=torch.long)
    _, lists = model.contexts.read_out.book.of_contexts(contexts_of(most, most[:, :0], spec.context)[0])
    reaches = [
        max(asked - lists.tolist().index(lists[asked]) for asked in range(end)) for end in range(1, len(lists) + 1)
    ]
    if not {span, span + 1} <= set(reaches):
        return Finding(0, "the lists of the first tokens leave no pair so far apart", case)
    moved = []
    for distance in (span, span + 1):
        tokens, state = most[:, : 1 + reaches.index(distance)], model.initial_state(1)
        place = torch.tensor([0])
        after = model.between_batches(model.consolidate(model(tokens, model.placed(state, place)).state), 1)
        moved += [_found(model, [tokens], after), _found(model, [tokens], model.placed(after, place))]
    anywhere, within, _, beyond = moved
    if anywhere <= WELL_SEEN:
        raise DoesNotApply("long-term memory finds hardly anything, even where it may")
    bound = PROPERTIES["no_own_occurrence"].bound
    if beyond <= bound:
        return Finding(math.inf, f"what lies {span + 1} places away is left out, the span is {span}", case)
    which = "an entry" if within > bound else "no entry"
    return Finding(within, f"a place of the training text finds {which} {span} places away", case)


def _misfiled(diary: Diary, text: Tensor) -> str:
    """What is wrong with the places of a text, read from its first token on: of what is kept, and of what is open."""
    kept = [*zip(diary.pages.tokens.tolist(), diary.pages.sources.tolist(), strict=True)]
    begin = int(diary.begins[0])
    for token, place in kept + [(token, begin + ahead) for ahead, token in enumerate(diary.open[0].tolist())]:
        if place >= len(text) or (place >= 0 and token != int(text[place])):
            return f"token {token} is filed under place {place} of the text, which has another"
    filed = [place for (token, place), (after, _) in pairwise(kept) if place >= 0 and BOUNDARY not in (token, after)]
    once = [*range(min(filed, default=0), len(text) - 1)]
    if sorted(filed) != once or not filed:
        return f"of {len(once)} places of the text with a next token {len(set(filed))} are filed, {len(filed)} times"
    return ""


def _found(model: Model, pieces: Sequence[Tensor], state: MemoryState) -> float:
    """By how much long-term memory moves a log probability while the pieces are read."""
    moved = 0.0
    for piece in pieces:
        output = model(piece, state)
        alone = model(piece, state, disabled={"long_term"}).logits.log_softmax(dim=-1)
        moved = max(moved, float((output.logits.log_softmax(dim=-1) - alone).abs().max()))
        state = model.consolidate(output.state)
    return moved


WORTH = (
    Property("each_memory_is_worth_it", each_memory_is_worth_it, once),
    Property("memory_is_not_a_crutch", memory_is_not_a_crutch, once),
    Property("no_own_occurrence", no_own_occurrence, occurrence_cases),
)
