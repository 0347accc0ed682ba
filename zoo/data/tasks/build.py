"""From a task spec to its generator."""

from typing import assert_never

from cortexzoo.specs.plugins import built_by, characters_of, is_added
from cortexzoo.specs.task import (
    Addition,
    Copy,
    KeyValue,
    MemoryTask,
    MultiQueryRecall,
    NBack,
    Overwrite,
    Passkey,
    SelectiveCopy,
    TaskSpec,
    TokenPairs,
)
from cortexzoo.zoo.data.tasks import addition, copying, key_value, n_back, passkey
from cortexzoo.zoo.data.tasks.multi_query_recall import MultiQueryRecallTask
from cortexzoo.zoo.data.tasks.overwrite import OverwriteTask
from cortexzoo.zoo.data.tasks.selective_copy import SelectiveCopyTask
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.data.tasks.token_pairs import TokenPairsTask
from cortexzoo.zoo.data.tasks.vocabulary import (
    ByteVocabulary,
    OwnVocabulary,
    Tokenizer,
    TokenizerVocabulary,
    Vocabulary,
)
from cortexzoo.zoo.errors import DataError


def build_task(spec: TaskSpec, seed: int = 0, tokenizer: Tokenizer | None = None) -> Task:
    """The generator that a task spec describes; every document follows from the spec, `seed` and its own number.

    `tokenizer` is the base's own, for `vocabulary: tokenizer`. Raises `DataError` when a gap is out of reach of the
    documents, or when the vocabulary lacks what the task needs.
    """
    return build_task_in(spec, build_vocabulary(spec, tokenizer), seed)


def build_task_in(spec: TaskSpec, vocabulary: Vocabulary, seed: int = 0) -> Task:
    """As `build_task`, in a vocabulary that is there already. Raises `DataError`."""
    if is_added(spec.task):
        added: Task = built_by(spec.task)(spec, spec.task, vocabulary, seed)
        return added
    match spec.task:
        case KeyValue() as kind:
            return key_value.KeyValueTask(spec, kind, vocabulary, seed)
        case Copy() as kind:
            return copying.CopyTask(spec, kind, vocabulary, seed)
        case NBack() as kind:
            return n_back.NBackTask(spec, kind, vocabulary, seed)
        case Addition() as kind:
            return addition.AdditionTask(spec, kind, vocabulary, seed)
        case TokenPairs() as kind:
            return TokenPairsTask(spec, kind, vocabulary, seed)
        case Overwrite() as kind:
            return OverwriteTask(spec, kind, vocabulary, seed)
        case MultiQueryRecall() as kind:
            return MultiQueryRecallTask(spec, kind, vocabulary, seed)
        case SelectiveCopy() as kind:
            return SelectiveCopyTask(spec, kind, vocabulary, seed)
        case Passkey() as kind:
            return passkey.PasskeyTask(spec, kind, vocabulary, seed)
    assert_never(spec.task)


def build_vocabulary(spec: TaskSpec, tokenizer: Tokenizer | None = None) -> Vocabulary:
    """The tokens that a task is written in. Raises `DataError` where a tokenizer is needed and none is given."""
    if spec.vocabulary == "bytes":
        return ByteVocabulary()
    if spec.vocabulary == "own":
        return own_vocabulary(spec.task)
    if tokenizer is None:
        raise DataError(f"task {spec.name}: vocabulary is tokenizer, but the model has none: use bytes or own")
    return TokenizerVocabulary(tokenizer)


def own_vocabulary(task: MemoryTask) -> OwnVocabulary:
    """The smallest vocabulary that a task can be written in."""
    if is_added(task):
        return OwnVocabulary(characters_of(task))
    match task:
        case KeyValue():
            return OwnVocabulary(key_value.CHARACTERS)
        case Copy():
            return OwnVocabulary(copying.CHARACTERS)
        case NBack():
            return OwnVocabulary(n_back.CHARACTERS)
        case Addition():
            return OwnVocabulary(addition.CHARACTERS)
        case Passkey():
            return OwnVocabulary(passkey.CHARACTERS)
        case TokenPairs() | Overwrite() | MultiQueryRecall() | SelectiveCopy():
            return OwnVocabulary(num_symbols=task.num_tokens)
    assert_never(task)
