"""Recall counted again, one document after the other, of a predictor that answers some questions and not others."""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from cortexzoo.specs.task import TaskSpec, TokenPairs
from cortexzoo.zoo.data.tasks.accuracy import accuracy
from cortexzoo.zoo.data.tasks.build import build_task, build_task_in
from cortexzoo.zoo.data.tasks.recall_measure import recall_at, recall_by_gap
from cortexzoo.zoo.data.tasks.task import SPLITS, Split, Task
from cortexzoo.zoo.errors import DataError

DOCUMENTS, ROWS = 7, 3
"""Several batches, the last of them smaller."""
GAPS = (1, 2)
AT_ONCE = 32
"""Tokens: a vocabulary may be large."""
LONGEST = 20_000
"""Tokens of one document over each of a task's own gaps, where they are asked for."""
FORGOTTEN = 3
"""The predictor knows nothing of the tokens that this divides."""
KNOWN = 3.0
"""The logit of the token that the predictor expects; all others are 0."""


@dataclass
class _Row:
    """What followed each token of a document when it came first, but for some tokens."""

    followed: dict[int, int] = field(default_factory=dict)
    last: int | None = None

    def expects(self, token: int) -> int | None:
        """Reads a token and tells which one comes next."""
        if self.last is not None and self.last % FORGOTTEN:
            self.followed.setdefault(self.last, token)
        self.last = token
        return self.followed.get(token)


def counted_again(task: Task) -> list[str]:
    """What `recall_at` reports otherwise than a count of single documents does, and documents of more than one part."""
    gaps = _gaps(task)
    drawn = [{task.example(split, index, gaps[0]).tokens.tobytes() for split in SPLITS} for index in range(DOCUMENTS)]
    alike = all(len(documents) < len(SPLITS) for documents in drawn)
    wrong = [f"the first {DOCUMENTS} documents are in several of training, validation and test"] if alike else []
    for gap, split in [*((gap, SPLITS[1]) for gap in gaps), (gaps[0], SPLITS[2])]:
        longest = list[int]()
        found = recall_at(
            task,
            _induction(task.vocabulary.size, longest),
            gap,
            documents=DOCUMENTS,
            batch_size=ROWS,
            split=split,
            chunk_size=min(AT_ONCE, task.chunk_size),
        )
        if max(longest) > min(AT_ONCE, task.chunk_size):
            wrong.append(
                f"{max(longest)} tokens are read at once, at most {min(AT_ONCE, task.chunk_size)} were asked for"
            )
        right, tokens, losses = _by_document(task, gap, split)
        wrong += _by_slice(task, gap, split, right, found.by_slice)
        reported = {
            "answers": float(found.accuracy.answers),
            "answers right": found.accuracy.exact,
            "tokens right": found.accuracy.token,
            "nats a token": found.loss,
        }
        answers = [one for document in right for one in document]
        counted = {
            "answers": float(len(answers)),
            "answers right": sum(answers) / len(answers),
            "tokens right": sum(tokens) / len(tokens),
            "nats a token": sum(losses) / len(losses),
        }
        for kind, (number, documents) in (_by_filler(task, gap, right) if split == SPLITS[1] else {}).items():
            if number not in found.by_slice["filler"]:
                wrong.append(f"over {gap} chunks no document is filed under {kind}")
                continue
            reported[f"answers right with {kind}"] = found.by_slice["filler"][number].exact
            counted[f"answers right with {kind}"] = sum(documents) / len(documents)
        wrong += [
            f"{what} over {gap} chunks: {reported[what]:.6g}, counted again {value:.6g}"
            for what, value in counted.items()
            if not math.isclose(reported[what], value, rel_tol=1e-5, abs_tol=1e-9)
        ]
    return wrong + _never_finite(task, gaps) + _of_all_gaps(task, gaps)


def of_one_answer() -> list[str]:
    """What is reported of a single document with a single answer of one token, and of a batch of them."""
    kind = TokenPairs(num_pairs=2, num_queries=1, num_keys=4, num_values=3, num_noise=4)
    task = build_task(TaskSpec(name="single", task=kind, vocabulary="own", chunk_size=16, gaps=GAPS))
    found = recall_at(task, _induction(task.vocabulary.size, []), GAPS[0], documents=1, batch_size=1)
    (right,), _, (loss,) = _by_document(task, GAPS[0], "validation", 1)
    batch = task.batch("validation", range(DOCUMENTS), GAPS[0])
    logits, _ = _induction(task.vocabulary.size, [])(batch.inputs, None)
    whole, several = accuracy(logits, batch), _by_document(task, GAPS[0], "validation")
    shares = [sum(part) / len(part) for part in ([one for some in several[0] for one in some], several[1])]
    if (whole.exact, whole.token) != tuple(shares):
        return [f"of a batch {whole.exact:.3f} and {whole.token:.3f} are right, counted again {shares}"]
    counted = (found.accuracy.answers, found.accuracy.exact, found.loss)
    if all(math.isclose(one, other, rel_tol=1e-5) for one, other in zip(counted, (1, sum(right), loss), strict=True)):
        return []
    return [f"a single answer is reported as {counted}, counted again {(1, sum(right), loss)}"]


def _by_slice(task: Task, gap: int, split: Split, right: list[list[bool]], found: Mapping[str, Any]) -> list[str]:
    """Shares of the answers that each document files under a value."""
    wanted: dict[str, dict[int, list[bool]]] = {}
    for index, answers in enumerate(right):
        for name, values in task.example(split, index, gap).slices.items():
            for value, hit in zip(values.tolist(), answers, strict=True):
                wanted.setdefault(name, {}).setdefault(value, []).append(hit)
    shares = {name: {value: sum(hits) / len(hits) for value, hits in some.items()} for name, some in wanted.items()}
    counted = {name: {value: one.exact for value, one in some.items()} for name, some in found.items()}
    return [] if counted == shares else [f"over {gap} chunks answers are right by {counted}, counted again {shares}"]


def _never_finite(task: Task, gaps: list[int]) -> list[str]:
    """What is infinite, or no number, is not right, where it is the largest."""
    wrong = []
    for large in (math.inf, math.nan):
        predict = _induction(task.vocabulary.size, [], large)
        found = recall_at(task, predict, gaps[0], documents=DOCUMENTS, batch_size=ROWS)
        plain = recall_at(task, _nothing(task.vocabulary.size), gaps[0], documents=DOCUMENTS, batch_size=ROWS)
        if found.accuracy.token > plain.accuracy.token:
            wrong.append(f"a prediction of {large} is right")
    return wrong


def _of_all_gaps(task: Task, gaps: list[int]) -> list[str]:
    """Tasks over some gaps, or over their own."""
    predict = _induction(task.vocabulary.size, [])
    asked: dict[str, Any] = {"documents": ROWS, "batch_size": ROWS}
    for some in (gaps[-1:], gaps, None):
        due = task.spec.gaps if some is None else some
        if some is None and sum(map(task.length, due)) > LONGEST:
            continue
        found = recall_by_gap([task], predict, some, split="test", **asked)
        wanted = {gap: recall_at(task, predict, gap, split="test", **asked).accuracy.exact for gap in due}
        if found != {task.name: wanted}:
            return [f"by gap {found} of the answers are right, asked one by one {wanted}"]
    return []


def _nothing(vocabulary: int) -> Callable[[Tensor, None], tuple[Tensor, None]]:
    return lambda tokens, _: (torch.zeros(*tokens.shape, vocabulary), None)


def _induction(
    vocabulary: int, longest: list[int], known: float = KNOWN
) -> Callable[[Tensor, list[_Row] | None], tuple[Tensor, list[_Row]]]:
    def predict(tokens: Tensor, state: list[_Row] | None) -> tuple[Tensor, list[_Row]]:
        rows = [_Row() for _ in tokens] if state is None else state
        logits = torch.zeros(*tokens.shape, vocabulary)
        longest.append(tokens.shape[1])
        for row, line in enumerate(tokens.tolist()):
            for place, token in enumerate(line):
                if (next_one := rows[row].expects(token)) is not None:
                    logits[row, place, next_one] = known
        return logits, rows

    return predict


def _by_document(
    task: Task, gap: int, split: Split, documents: int = DOCUMENTS
) -> tuple[list[list[bool]], list[bool], list[float]]:
    """Whether each answer of each document is right; and of each token of an answer whether it is, and its loss."""
    answers, tokens, losses = [], [], []
    for index in range(documents):
        document = task.example(split, index, gap)
        row, hits = _Row(), dict[int, list[bool]]()
        following = zip(document.tokens[1:].tolist(), document.answers[1:].tolist(), strict=True)
        for token, (target, answer) in zip(document.tokens[:-1].tolist(), following, strict=True):
            expected = row.expects(token)
            if answer:
                # Of equal logits the first is the largest.
                hits.setdefault(answer, []).append(target == (expected or 0))
                others = task.vocabulary.size - 1
                total = math.log(others + (1.0 if expected is None else math.exp(KNOWN)))
                losses.append(total - (KNOWN if expected == target else 0.0))
        answers.append([all(hits[number]) for number in sorted(hits)])
        tokens += [hit for some in hits.values() for hit in some]
    return answers, tokens, losses


def _gaps(task: Task) -> list[int]:
    """Two that documents can have, or one."""
    fitting = []
    for gap in dict.fromkeys((*GAPS, *task.spec.gaps)):
        with suppress(DataError):
            task.length(gap)
            fitting.append(gap)
    return fitting[: len(GAPS)]


def _by_filler(task: Task, gap: int, right: list[list[bool]]) -> dict[str, tuple[int, list[bool]]]:
    """By filler its number and the answers of documents that have it: those of the task with this filler alone.

    Nothing where a document could have either of two fillers.
    """
    fillers = task.spec.fillers
    found: dict[str, tuple[int, list[bool]]] = {}
    if len(fillers) < 2:
        return found
    alone = [build_task_in(task.spec.model_copy(update={"filler": one}), task.vocabulary, task.seed) for one in fillers]
    for index in range(DOCUMENTS):
        mixed = task.example("validation", index, gap).tokens
        like = [n for n, one in enumerate(alone) if (one.example("validation", index, gap).tokens == mixed).all()]
        if len(like) != 1:
            return {}
        found.setdefault(fillers[like[0]].kind, (like[0], []))[1].extend(right[index])
    return found
