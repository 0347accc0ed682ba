"""Days of facts out of a task's documents: what is read by day, what is asked later, and what was never taught."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from cortexzoo.zoo.data.tasks.accuracy import AnswerTally
from cortexzoo.zoo.data.tasks.document import Document, Ints, Passage
from cortexzoo.zoo.data.tasks.task import Split, Task
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.hybrid.state import HybridState
from cortexzoo.zoo.training.evaluation import model_device, undisturbed

Key = tuple[int, ...]

ROWS = 64
MOST_TRIES = 20
"""So many documents are drawn for each that is needed, before a task has too few keys."""


@dataclass(frozen=True)
class Session:
    """One document, taken apart where its gap lies: its facts, and its questions in chunks of their own."""

    facts: Int[Tensor, " facts"]
    questions: Int[Tensor, " questions_and_target"]
    answers: Int[Tensor, " questions_and_target"]
    keys: tuple[Key, ...]
    """What each question names, by answer."""


def sessions_of(task: Task, split: Split, count: int, taken: set[Key] | None = None, first: int = 0) -> list[Session]:
    """`count` sessions none of whose keys is `taken` or comes twice; their keys are added to `taken`.

    Raises `DataError` where the task has too few keys.
    """
    taken = set() if taken is None else taken
    found: list[Session] = []
    for index in range(first, first + MOST_TRIES * max(1, count)):
        if len(found) == count:
            break
        session = _session(task, task.example(split, index, 1))
        if taken.isdisjoint(session.keys):
            taken.update(session.keys)
            found.append(session)
    if len(found) < count:
        raise DataError(f"task {task.name}: has keys for {len(found)} sessions of its own, {count} are needed")
    return found


def bound_anew(task: Task, sessions: Sequence[Session], split: Split) -> list[Session]:
    """The same keys with the values of other documents: facts and questions with other answers."""
    others = [_session(task, task.example(split, 10**6 + n, 1)) for n in range(len(sessions))]
    return [_with_values(one, other) for one, other in zip(sessions, others, strict=True)]


def near_keys(sessions: Sequence[Session], taken: Collection[Key], random: np.random.Generator) -> list[Session]:
    """Questions for keys that were never taught and differ from a taught one in one token, that of another key.

    Empty where keys are of one token.
    """
    everyone = [key for session in sessions for key in session.keys]
    if min(map(len, everyone)) < 2:
        return []
    return [_nearly(session, everyone, taken, random) for session in sessions]


@torch.no_grad()
def recall(
    model: Hybrid, sessions: Sequence[Session], state: HybridState | None = None, disabled: Collection[str] = ()
) -> float:
    """Share of whole answers right, each session's questions read from an empty memory, or from its row of `state`."""
    tally = AnswerTally(len(sessions), len(sessions[0].keys))
    for first, tokens, answers in _batches(sessions):
        rows = torch.arange(first, first + len(tokens), device=model_device(model))
        begun = (
            model.initial_state(len(tokens))
            if state is None
            else state.map(partial(torch.index_select, dim=0, index=rows))
        )
        with undisturbed(model):
            logits = model(tokens[:, :-1].to(model_device(model)), begun, disabled).logits
        tally.add(logits, tokens.to(logits.device), answers.to(logits.device), first)
    return tally.accuracy().exact


@torch.no_grad()
def memory_after(model: Hybrid, sessions: Sequence[Session]) -> HybridState:
    """The fast weights after each session's facts; the window is of no use over a chunk border."""
    with undisturbed(model):
        return model.read(torch.stack([s.facts for s in sessions]).to(model_device(model))).state


@torch.no_grad()
def novelty_of(model: Hybrid, sessions: Sequence[Session]) -> Tensor:
    """Of each question's key, at the question's last token."""
    return torch.cat([novelty_in(model, tokens[:, :-1])[_asked(answers)] for _, tokens, answers in _batches(sessions)])


@torch.no_grad()
def known_keys(model: Hybrid, sessions: Sequence[Session]) -> Bool[Tensor, " keys"]:
    """For which of the questions' keys the slow store has an answer, at the question's last token."""

    def spoken(_queries: Tensor, answer: Tensor) -> Tensor:
        return answer.ne(0).any(-1)

    return torch.cat(
        [_heard(model, tokens[:, :-1], spoken)[_asked(answers)] for _, tokens, answers in _batches(sessions)]
    )


@torch.no_grad()
def novelty_in(model: Hybrid, texts: Int[Tensor, "rows time"]) -> Float[Tensor, "rows time"]:
    """Of the query of every token."""
    store = model.slow_store
    assert store is not None
    return _heard(model, texts, lambda queries, _: store.answer(queries.flatten(2))[1])


def _heard(
    model: Hybrid, texts: Int[Tensor, "rows time"], what: Callable[[Tensor, Tensor], Tensor]
) -> Shaped[Tensor, "rows time"]:
    """What the slow store's queries and answers tell, of every token."""
    store = model.slow_store
    assert store is not None
    heard: list[Tensor] = []

    def listen(_module: object, inputs: tuple[Tensor], output: Tensor) -> None:
        heard.append(what(inputs[0], output))

    handle = store.register_forward_hook(listen)
    try:
        with undisturbed(model):
            model(texts.to(model_device(model)))
    finally:
        handle.remove()
    return torch.cat(heard, dim=1).cpu()


def _batches(sessions: Sequence[Session]) -> Iterator[tuple[int, Tensor, Tensor]]:
    for first in range(0, len(sessions), ROWS):
        some = sessions[first : first + ROWS]
        yield first, torch.stack([s.questions for s in some]), torch.stack([s.answers for s in some])


def _asked(answers: Int[Tensor, "rows time"]) -> Bool[Tensor, "rows time-1"]:
    """The places right before an answer begins."""
    return (answers[:, 1:] > 0) & (answers[:, 1:] != answers[:, :-1])


def _session(task: Task, document: Document) -> Session:
    begin, end = task.gap_places(1)
    facts, _ = document.cut(0, begin)
    questions, answers = document.cut(end, document.length + 1)
    return Session(
        torch.from_numpy(facts), torch.from_numpy(questions), torch.from_numpy(answers), _keys(document.placed[1][1])
    )


def _keys(passage: Passage) -> tuple[Key, ...]:
    """The tokens between two answers."""
    keys, begun = [], 0
    for number in range(1, int(passage.answers.max()) + 1):
        places = np.flatnonzero(passage.answers == number)
        keys.append(tuple(passage.tokens[begun : places[0]].tolist()))
        begun = int(places[-1]) + 1
    return tuple(keys)


def _with_values(session: Session, other: Session) -> Session:
    """Every value of `session`, in facts and questions, in the place of the one that `other` has there."""
    facts, questions = session.facts.clone(), session.questions.clone()
    fresh = [other.questions[other.answers == number] for number in range(1, len(session.keys) + 1)]
    for number, value in enumerate(fresh, start=1):
        place = session.answers == number
        fact = _find(session.facts.numpy(), _bound(session, number))
        facts[fact : fact + len(value)] = value
        questions[place] = value
    return Session(facts, questions, session.answers, session.keys)


def _bound(session: Session, number: int) -> tuple[Ints, Ints]:
    """A key without what only a question begins with, and its value."""
    value = session.questions[session.answers == number].numpy()
    key = np.array(session.keys[number - 1])
    return (key[1:] if len(key) > 1 else key), value


def _find(facts: Ints, bound: tuple[Ints, Ints]) -> int:
    """Where the value of a fact begins."""
    key, value = bound
    whole = np.concatenate([key, value])
    places = np.lib.stride_tricks.sliding_window_view(facts, len(whole))
    return int(np.flatnonzero((places == whole).all(1))[0]) + len(key)


def _nearly(session: Session, everyone: Sequence[Key], taken: Collection[Key], random: np.random.Generator) -> Session:
    questions, keys = session.questions.clone(), []
    for number, key in enumerate(session.keys, start=1):
        end = int((session.answers == number).nonzero()[0])
        changed = key
        while changed in taken:
            place = int(random.integers(len(key)))
            other = everyone[int(random.integers(len(everyone)))]
            changed = (*key[:place], other[place], *key[place + 1 :])
        questions[end - len(key) : end] = torch.tensor(changed)
        keys.append(changed)
    return Session(session.facts, questions, session.answers, tuple(keys))
