"""`answers_follow_from_documents`: passes as it is, and finds a mistake in whatever documents are made of."""

import pytest

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.properties.documents import document_cases
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.data.tasks import batch, chance, filler
from cortexzoo.zoo.data.tasks import task as tasks
from cortexzoo.zoo.data.tasks.addition import AdditionTask
from cortexzoo.zoo.data.tasks.copying import CopyTask
from cortexzoo.zoo.data.tasks.document import Document, PassageWriter
from cortexzoo.zoo.data.tasks.filler import SpelledPairFiller
from cortexzoo.zoo.data.tasks.key_value import KeyValueTask
from cortexzoo.zoo.data.tasks.multi_query_recall import MultiQueryRecallTask
from cortexzoo.zoo.data.tasks.n_back import NBackTask
from cortexzoo.zoo.data.tasks.passkey import PasskeyTask
from cortexzoo.zoo.data.tasks.selective_copy import SelectiveCopyTask
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.data.tasks.token_pairs import TokenPairsTask
from tests.harness import tiny
from tests.harness.checking.properties.planted import is_caught

PROPERTY = REGISTRY["answers_follow_from_documents"]
NOISE = {"filler": "noise", "unit": "chunks", "chunks": 0, "seed": 0}


def judged(task: str, filler: str = "noise", unit: str = "chunks") -> Judgement:
    return judge_case(PROPERTY, Check(), tiny.subject(), {**NOISE, "task": task, "filler": filler, "unit": unit})


def test_it_passes_as_it_is() -> None:
    judgement = judge(PROPERTY, Check(), tiny.subject())
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried >= len(list(document_cases(tiny.subject())))


@pytest.mark.parametrize(
    ("task", "owner", "function", "old", "new"),
    [
        ("kv of letters", KeyValueTask, "compose", "replace=False", "replace=True"),
        ("kv", KeyValueTask, "compose", "questions.answer(values[pair])", "questions.answer(values[pair - 1])"),
        ("kv", Task, "_starts", "(first + depth) * size", "(first + depth + 1) * size"),
        ("kv", Task, "example", "SPLITS.index(split), index", "index"),
        ("kv", Task, "example", "facts - np.array", "np.array"),
        ("kv", Task, "stream", "begin + size, length)", "begin + size, length) - 1"),
        ("kv", tasks, "_place", "(room + 1)", "room"),
        ("kv", batch, "batch_of", "document.cut(begin, end + 1)", "document.cut(begin, end)"),
        ("kv", Document, "cut", "min(end, start", "min(end - 1, start"),
        ("kv", PassageWriter, "answer", "self._num_answers += 1", "self._num_answers = 1"),
        ("kv_tokens", TokenPairsTask, "compose", "kind.num_values, size", "kind.num_values - 1, size"),
        ("overwrite", TokenPairsTask, "compose", "rng.integers(1, kind.num_values)", "rng.integers(kind.num_values)"),
        ("overwrite", TokenPairsTask, "compose", "ends[pair] = facts.write", "facts.write"),
        ("kv", chance, "of_uniform_symbols", "** -count", "** -1"),
        ("add", AdditionTask, "chance", "stretches * (stretches - 1)", "stretches * (stretches + 1)"),
        ("mqar", MultiQueryRecallTask, "chance", "half - asked", "half"),
        ("copy", CopyTask, "compose", '== "reversed"', '== "same"'),
        ("nback", NBackTask, "compose", "string[-distance]", "string[distance - 1]"),
        ("add", AdditionTask, "compose", "zfill(count + 1)", 'ljust(count + 1, "0")'),
        ("mqar", MultiQueryRecallTask, "compose", "np.delete(self._keys, bound)", "self._keys"),
        ("mqar", MultiQueryRecallTask, "compose", "2 * places[asked], keys[asked]", "2 * places[asked], keys"),
        ("selective_copy", SelectiveCopyTask, "compose", "np.sort(rng.choice", "(rng.choice"),
        ("passkey", PasskeyTask, "compose", "end = facts.write(number)", "end = facts.write(number[::-1])"),
        ("passkey", Task, "_starts", "room[2] * (self.depth_chunks + 1)", "room[2] * self.depth_chunks"),
    ],
)
def test_a_mistake_in_documents_is_found(task: str, owner: object, function: str, old: str, new: str) -> None:
    assert is_caught(owner, function, old, new, lambda: judged(task))


@pytest.mark.parametrize(
    ("task", "kind", "owner", "function", "old", "new"),
    [
        ("kv of letters", "pairs", SpelledPairFiller, "_keys", "np.sort(self.bound)", "self.bound"),
        ("kv", "near_keys", SpelledPairFiller, "_keys", "base ** (self.key_length - 1)", "base ** 0"),
        (
            "kv_tokens",
            "pairs",
            TokenPairsTask,
            "other_pairs",
            "np.setdiff1d(np.arange(count), bound)",
            "np.arange(count)",
        ),
        ("kv_tokens", "near_keys", filler, "near_tokens", "free[places]", "free[places - 1]"),
    ],
)
def test_a_filler_that_misleads_is_found(
    task: str, kind: str, owner: object, function: str, old: str, new: str
) -> None:
    assert is_caught(owner, function, old, new, lambda: judged(task, kind))


def test_a_gap_that_is_short_of_a_token_is_found() -> None:
    assert is_caught(Task, "gap_tokens", "else gap", "else gap - (gap == 3)", lambda: judged("kv", unit="tokens"))
