"""Documents of memory tasks: what a reader of their tokens answers, where their parts lie, and how they are drawn."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number, text
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.task_chances import chance_again
from cortexzoo.harness.checking.task_draws import wrongly_drawn, wrongly_filed
from cortexzoo.harness.checking.task_edges import of_edges
from cortexzoo.harness.checking.task_pictures import of_pictures
from cortexzoo.harness.checking.task_readers import Read, mistakes
from cortexzoo.harness.checking.tokens_of_tasks import of_tokens
from cortexzoo.specs.filler import NearKeys, NoiseFiller, OneFiller, PairsFiller, TextFiller, UnseenNoise
from cortexzoo.specs.task import (
    Addition,
    Copy,
    KeyValue,
    MemoryTask,
    MultiQueryRecall,
    NBack,
    Overwrite,
    PairsOfTokens,
    Passkey,
    SelectiveCopy,
    TaskSpec,
    TokenPairs,
)
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.document import Document
from cortexzoo.zoo.data.tasks.task import SPLITS, Task

TASKS: dict[str, MemoryTask] = {
    "kv": KeyValue(num_pairs=4, key_length=2, value_length=3, num_queries=3),
    "kv of letters": KeyValue(num_pairs=7, key_length=1, value_length=2, num_queries=2),
    "copy": Copy(num_letters=7),
    "copy as it is": Copy(num_letters=5, order="same"),
    "nback": NBack(num_letters=11, num_queries=5),
    "add": Addition(num_digits=3),
    "kv_tokens": TokenPairs(num_pairs=4, num_queries=3, num_keys=9, num_values=5, num_noise=6),
    "overwrite": Overwrite(num_pairs=4, num_queries=4, num_keys=9, num_values=3, num_noise=6, num_rebound=2),
    "mqar": MultiQueryRecall(vocab_size=18, sequence_length=21, num_pairs=4),
    "mqar far": MultiQueryRecall(vocab_size=12, sequence_length=24, num_pairs=3, power=2.5),
    "selective_copy": SelectiveCopy(sequence_length=20, vocab_size=7, num_copied=5),
    "passkey": Passkey(num_digits=3, depth_chunks=2),
}
"""Small, so that a few dozen documents come to every place and value. No two sizes of a task are alike."""
FILLERS: dict[str, OneFiller] = {
    "noise": NoiseFiller(), "unseen_noise": UnseenNoise(), "text": TextFiller(), "pairs": PairsFiller(),
    "near_keys": NearKeys(),
}  # fmt: skip
OF_PAIRS = ("kv", "kv of letters", "kv_tokens", "overwrite")
CHUNK, GAPS, USUAL = 16, (0, 1, 3), 1
DOCUMENTS, READ_WHOLE = 32, 12
"""Of each part, for how they are drawn; and at each gap, for what they contain."""
ENDS_ALIKE = KeyValue | PairsOfTokens | MultiQueryRecall | SelectiveCopy | Passkey
"""Tasks whose answer ends with the last token that it follows from."""
OTHERS: Mapping[str, Callable[[], list[str]]] = {
    "tokens": of_tokens, "edges": of_edges, "pictures": of_pictures
}  # fmt: skip
STREAMED = 2
"""Documents that are read chunk by chunk."""
DEVIATIONS, UNLIKELY = 7.0, 1e-9
"""What is drawn evenly comes about as often as expected, and is not left out where that is so unlikely by chance."""


def document_cases(_: Subject) -> Iterable[Case]:
    """Every task with each filler that it can have, by whole chunks; then by tokens, and in documents of one length.

    And tasks in the tokens of a base, the limits of lengths and gaps, and documents that are drawn for the eye.
    """
    for of in OTHERS:
        yield {"of": of}
    for task in TASKS:
        for filler in FILLERS if task in OF_PAIRS else ("noise",):
            yield {"task": task, "filler": filler, "unit": "chunks", "chunks": 0, "seed": 0}
    for task in TASKS:
        yield {"task": task, "filler": "noise", "unit": "tokens", "chunks": 0, "seed": 1}
        yield {"task": task, "filler": "noise", "unit": "chunks", "chunks": 19, "seed": 2}


def document_strategy(_: Subject) -> st.SearchStrategy[Case]:
    """Other documents of the same tasks; of those without pairs only with noise."""
    return st.fixed_dictionaries(
        {
            "task": st.sampled_from(list(TASKS)), "filler": st.sampled_from(list(FILLERS)),
            "unit": st.sampled_from(("chunks", "tokens")), "chunks": st.sampled_from((0, 19, 24)),
            "seed": st.integers(3, 99),
        }
    )  # fmt: skip


def answers_follow_from_documents(_: Subject, case: Case) -> Finding:
    """Some documents at several gaps, read by their tokens alone, and what is stated about them."""
    if "of" in case:
        wrong = OTHERS[text(case, "of")]()
        return Finding(len(wrong), "; ".join(wrong[:3]) or "documents are as stated", case)
    task = _task(case)
    wrong = [*(one for gap in GAPS for one in _at_a_gap(task, gap, _filler(case))), *_drawn(task), *_chance(task)]
    if text(case, "unit") == "chunks":
        documents = [task.example(split, index, max(GAPS)) for split in SPLITS for index in range(DOCUMENTS)]
        wrong += wrongly_drawn(task, documents, _filler(case))
    if not wrong:
        return Finding(0, "the answers are those that the documents' own facts give", case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0]})


def _filler(case: Case) -> str:
    return text(case, "filler") if text(case, "task") in OF_PAIRS else "noise"


def _task(case: Case) -> Task:
    name, filler, seed = text(case, "task"), _filler(case), number(case, "seed")
    spelled_out = filler in ("unseen_noise", "text")
    spec = TaskSpec(
        name="documents", task=TASKS[name], vocabulary="bytes" if spelled_out or seed % 2 else "own",
        chunk_size=CHUNK, gap_unit=text(case, "unit"), gaps=GAPS, filler=FILLERS[filler],  # type: ignore[arg-type]
        document_chunks=number(case, "chunks") or None,
    )  # fmt: skip
    return build_task(spec, seed)


def _at_a_gap(task: Task, gap: int, filler: str) -> Iterator[str]:
    documents = [task.example("validation", index, gap) for index in range(READ_WHOLE)]
    depths = Counter[int]()
    for index, document in enumerate(documents):
        flaws = (*_placed(task, document, gap), *wrongly_filed(task, document, gap))
        for flaw in (*mistakes(Read.of(task, document, filler)), *flaws):
            yield f"document {index} at gap {gap}: {flaw}"
        depths[document.placed[0][0] // CHUNK] += 1
    yield from _pieces(task, documents[:STREAMED], gap)
    yield from _at_each_depth(task, depths, gap)


def _placed(task: Task, document: Document, gap: int) -> Iterator[str]:
    """Where facts and questions lie, how long the document is, and how far its answers are from their facts."""
    (begin, facts), (asked, questions) = document.placed
    end, most = begin + len(facts), task.spec.document_chunks
    if document.length % CHUNK or begin < 0 or asked + len(questions) > document.length:
        yield f"{document.length} tokens, with passages at {begin} and {asked}"
    if most is not None and document.length != most * CHUNK:
        yield f"{document.length // CHUNK} chunks, not {most}"
    if task.spec.gap_unit == "tokens" or gap == 0:
        if asked - end != gap:
            yield f"{asked - end} tokens lie between facts and questions, not {gap}"
        if asked + len(questions) <= document.length - CHUNK:
            yield f"nothing is asked in the last chunk, questions end at {asked + len(questions)}"
    elif asked // CHUNK - (end - 1) // CHUNK - 1 < gap or (not task.depth_chunks and _chunks_apart(document) != gap):
        yield f"{_chunks_apart(document)} chunks lie between facts and questions, not {gap}"
    answers = document.answers
    firsts = [int(np.argmax(answers == one)) for one in range(1, int(answers.max()) + 1)]
    if len(document.distances) != len(firsts) or any(len(one) != len(firsts) for one in document.slices.values()):
        yield f"{len(firsts)} answers have {len(document.distances)} distances"
        return
    tokens = document.tokens
    for one, (first, distance) in enumerate(zip(firsts, document.distances.tolist(), strict=True), start=1):
        if not begin <= first - distance < end:
            yield f"an answer at {first} follows from what lies {distance} before it, the facts are {begin} to {end}"
        elif isinstance(task.spec.task, ENDS_ALIKE) and tokens[first - distance] != tokens[answers == one][-1]:
            yield f"an answer at {first} follows from another token, {distance} before it"


def _chunks_apart(document: Document) -> int:
    (begin, facts), (asked, _) = document.placed
    return asked // CHUNK - (begin + len(facts) - 1) // CHUNK - 1


def _pieces(task: Task, documents: list[Document], gap: int) -> Iterator[str]:
    """Batches and streams are these documents; another part, seed or number gives others; other gaps the same facts."""
    batch = task.batch("validation", range(len(documents)), gap)
    wanted = [(document.tokens.tolist(), document.answers.tolist()) for document in documents]
    if [*zip(batch.tokens.tolist(), batch.answers.tolist(), strict=True)] != wanted:
        yield f"a batch at gap {gap} is not its documents"
    for size in (CHUNK, 3 * CHUNK):
        begun, is_whole = 0, True
        for piece in task.stream("validation", range(len(documents)), gap, size):
            end = min(begun + size, documents[0].length)
            cut = [(tokens[begun : end + 1], answers[begun : end + 1]) for tokens, answers in wanted]
            is_whole &= [*zip(piece.tokens.tolist(), piece.answers.tolist(), strict=True)] == cut
            begun = end
        if not is_whole or begun != documents[0].length:
            yield f"a stream at gap {gap} in pieces of {size} is not its documents"
    if any(list(_content(task, 0, other)) != list(_content(task, 0, gap)) for other in GAPS):
        yield "the facts of a document differ from gap to gap"


def _content(task: Task, index: int, gap: int) -> Iterator[Any]:
    return (passage.tokens.tolist() for _, passage in task.example("validation", index, gap).placed)


def _at_each_depth(task: Task, depths: Counter[int], gap: int) -> Iterator[str]:
    if task.spec.gap_unit == "chunks" and gap and task.depth_chunks:
        first = min(depths)
        if sorted(depths) != list(range(first, first + task.depth_chunks + 1)):
            yield f"facts begin in chunks {sorted(depths)}, after 0 to {task.depth_chunks} further ones"


def _at_each_place(task: Task, documents: list[Document]) -> Iterator[str]:
    """Passages begin at every place of their chunks, where there are few. Over a gap of tokens they move together."""
    lengths = [len(passage) for _, passage in documents[0].placed]
    if task.spec.gap_unit == "chunks":
        rooms = {"facts": lengths[0], "questions": lengths[1]}
    else:
        rooms = {"facts": sum(lengths) + USUAL}
    for which, (name, needed) in enumerate(rooms.items()):
        places = -needed % CHUNK + 1
        found = {document.placed[which][0] % CHUNK for document in documents}
        if (1 - 1 / places) ** len(documents) < UNLIKELY and found != set(range(places)):
            yield f"{name} begin at places {sorted(found)} of a chunk, there is room for {places}"


def _drawn(task: Task) -> Iterator[str]:
    """No two documents are alike, and each symbol is among the answers as often as the others."""
    every = [task.example(split, index, USUAL) for split in SPLITS for index in range(DOCUMENTS)]
    alike = len(every) - len({document.tokens.tobytes() for document in every})
    if alike:
        yield f"{alike} of {len(every)} documents are those of another number or part"
    yield from _at_each_place(task, every)
    if isinstance(task.spec.task, Addition):
        return  # sums are not drawn evenly
    cuts = [document.cut(document.placed[1][0], document.length) for document in every]
    answered = Counter(token for tokens, answers in cuts for token in tokens[answers > 0].tolist())
    possible, count = _symbols(task), answered.total()
    if odd := sorted(set(answered) - possible):
        yield f"token {odd[0]} is among the answers, and none can have it"
    share = 1 / len(possible)
    allowed = DEVIATIONS * math.sqrt(count * share * (1 - share))
    for token in sorted(possible):
        times = answered[token]
        if abs(times - count * share) > allowed or (not times and (1 - share) ** count < UNLIKELY):
            yield f"of {count} answer tokens {times} are {token}, expected {count * share:.1f}"


def _chance(task: Task) -> Iterator[str]:
    """What is reported as chance is what the best guess without the facts gets right."""
    wanted, found = chance_again(task.spec.task), task.chance()
    for name, one, other in zip(("answers", "tokens"), (found.exact, found.token), wanted or (), strict=False):
        if not math.isclose(one, other, rel_tol=1e-9):
            yield f"by chance {one:.6g} of the {name} are said to be right, {other:.6g} are"


def _symbols(task: Task) -> set[int]:
    """The tokens that answers are made of."""
    kind, vocabulary = task.spec.task, task.vocabulary
    match kind:
        case TokenPairs() | Overwrite():
            return set(vocabulary.distinct(kind.num_tokens)[kind.num_keys : kind.num_keys + kind.num_values].tolist())
        case MultiQueryRecall():
            return set(vocabulary.distinct(kind.vocab_size)[kind.vocab_size // 2 :].tolist())
        case SelectiveCopy():
            return set(vocabulary.distinct(kind.vocab_size)[:-2].tolist())
        case Passkey():
            return {vocabulary.spell(digit)[0] for digit in "0123456789"}
    return {vocabulary.spell(letter)[0] for letter in "abcdefghijklmnopqrstuvwxyz"}


DOCUMENTS_OF_TASKS = (
    Property(
        "answers_follow_from_documents",
        answers_follow_from_documents,
        document_cases,
        strategy=document_strategy,
        cost=5,
    ),
)
