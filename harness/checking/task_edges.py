"""What is stated about the documents of a task: their length, the chunks of a gap, what a model without memory sees."""

from collections.abc import Iterator
from functools import partial

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken, wrong_ends
from cortexzoo.specs.data import PydocTopics
from cortexzoo.specs.task import KeyValue, Passkey, TaskSpec
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.task import Task

CHUNK, GAPS, DOCUMENTS = 16, (1, 2, 5), 3
KINDS = (KeyValue(num_pairs=4, key_length=2, value_length=3, num_queries=3), Passkey(num_digits=3, depth_chunks=2))
HELD_OUT = 32
"""Documents, of a task without a text."""
REACHES = (1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 10**6)


def of_edges() -> list[str]:
    """Of documents in chunks and in tokens: limits on both sides, and what of a stream is left out."""
    wrong = []
    for kind in KINDS:
        task = _task(kind)
        for gap in GAPS:
            wrong += [f"over {gap} chunks {flaw}" for flaw in (*_gap(task, gap), *_streams(task, gap))]
    return wrong + wrong_ends(_limits()) + [*_of_data()]


def _task(kind: KeyValue | Passkey, unit: str = "chunks", chunks: int | None = None) -> Task:
    return build_task(_spec(kind, unit, chunks), 0)


def _spec(kind: KeyValue | Passkey, unit: str = "chunks", chunks: int | None = None) -> TaskSpec:
    spec = {"name": "edges", "task": kind, "chunk_size": CHUNK, "gaps": GAPS, "gap_unit": unit}
    return TaskSpec.model_validate({**spec, "document_chunks": chunks})


def _gap(task: Task, gap: int) -> Iterator[str]:
    """Chunks of a gap lie between facts and questions, and there are as many as stated."""
    begin, end = task.gap_places(gap)
    if begin % CHUNK or end - begin != gap * CHUNK or task.gap_tokens(gap) != gap * CHUNK:
        yield f"the gap is {begin} to {end}, {task.gap_tokens(gap)} tokens"
    for index in range(DOCUMENTS):
        (facts, first), (asked, _) = task.example("train", index, gap).placed
        if not facts + len(first) <= begin <= end <= asked < end + CHUNK:
            yield f"the gap is {begin} to {end}, facts end at {facts + len(first)} and questions begin at {asked}"


def _streams(task: Task, gap: int) -> Iterator[str]:
    """For a model that sees so far: the end of the documents from there on, by whole chunks, and no chunk more."""
    whole = task.batch("test", range(DOCUMENTS), gap)
    length, (_, asked) = whole.inputs.shape[1], task.gap_places(gap)
    for reach in REACHES:
        pieces = list(task.stream("test", range(DOCUMENTS), gap, CHUNK, reach))
        begin = length - sum(piece.inputs.shape[1] for piece in pieces)
        needed = max(0, asked - reach)
        if begin % CHUNK or not needed - CHUNK < begin <= needed:
            yield f"a model that sees {reach} tokens is given those from {begin} on, should have those from {needed}"
        at = begin
        for piece in pieces:
            end = at + piece.inputs.shape[1]
            if piece.tokens.tolist() != whole.tokens[:, at : end + 1].tolist():
                yield f"a model that sees {reach} tokens is given others from {at} on"
            if piece.answers.tolist() != whole.answers[:, at : end + 1].tolist():
                yield f"a model that sees {reach} tokens is asked otherwise from {at} on"
            at = end


def _of_data() -> Iterator[str]:
    """What is held out of a task that has no text, and what its sum is of."""
    own = _spec(KINDS[0]).model_copy(update={"vocabulary": "own"})
    data = TaskData.from_spec(own, 0, PydocTopics())
    documents = [data.task.example("validation", index, GAPS[0]).tokens.tolist() for index in range(HELD_OUT)]
    if data.held_out_tokens().tolist() != [token for tokens in documents for token in tokens]:
        yield f"a task without a text holds out others than its {HELD_OUT} first validation documents"
    if data.training_tokens() is not None:
        yield "a task without a text trains on one"
    others = {
        "name": (own.model_copy(update={"name": "other"}), 0),
        "seed": (own, 1),
        "gaps": (own.model_copy(update={"gaps": (1, 2)}), 0),
        "task": (own.model_copy(update={"task": KINDS[1]}), 0),
        "vocabulary": (own.model_copy(update={"vocabulary": "bytes"}), 0),
    }
    sums = {what: TaskData.from_spec(spec, seed, PydocTopics()).sha256 for what, (spec, seed) in others.items()}
    if sums.pop("name") != data.sha256:
        yield "the sum of a task depends on its name"
    for what, found in sums.items():
        if found == data.sha256:
            yield f"the sum of a task does not depend on its {what}"


def _limits() -> Iterator[Attempt]:
    for kind in KINDS:
        for unit in ("chunks", "tokens"):
            task = _task(kind, unit)
            size = CHUNK if unit == "chunks" else 1
            what = f"{kind.kind} over gaps in {unit}"
            for gap in GAPS:
                seen = task.require_beyond
                yield fits(f"{what}: a gap of {gap} for a model that sees as far", partial(seen, gap * size, (9, gap)))
                yield mistaken(f"{what}: {gap} for one that sees a token more", partial(seen, gap * size + 1, (9, gap)))
            needed = task.length(max(GAPS)) // CHUNK
            yield fits(f"{what}: documents as long as needed", partial(_task, kind, unit, needed))
            yield mistaken(f"{what}: documents of a chunk less", partial(_task, kind, unit, needed - 1))
            yield mistaken(f"{what}: a gap below zero", partial(task.length, -1))
            yield mistaken(f"{what}: chunks of no gap", partial(task.gap_places, 0))
        yield mistaken("chunks of a gap of tokens", partial(_task(kind, "tokens").gap_places, 1))
