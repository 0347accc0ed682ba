"""A memory task as training data: its documents, and plain text to see what training does to the base."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from cortexzoo.specs.base import without_documentation
from cortexzoo.specs.data import TextSource
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.tasks.document import Ints
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.data.tasks.vocabulary import Tokenizer
from cortexzoo.zoo.errors import DataError

SUMMED_DOCUMENTS = 4
HELD_OUT_DOCUMENTS = 32
HELD_OUT_TEXT = 0.1
"""Share of the text that drift is measured on; the rest may train."""


@dataclass(frozen=True)
class TaskData:
    """A task's documents follow from its spec and the seed; the text is that of a source, in the task's tokens."""

    task: Task
    text: Ints | None = field(repr=False)
    """None: the task's vocabulary cannot spell a text."""
    sha256: str
    """Hex digest of the spec but for its name, the first documents and the text."""

    @classmethod
    def from_spec(
        cls,
        spec: TaskSpec,
        seed: int,
        source: TextSource,
        tokenizer: Tokenizer | None = None,
        folder: Path | None = None,
    ) -> Self:
        """Raises `DataError` when a gap is out of reach, a token is missing, or the text cannot be read."""
        task = build_task(spec, seed, tokenizer)
        text: Ints | None = None
        if spec.vocabulary != "own":
            content = read_source(source, folder)
            spelled = (
                list(content) if tokenizer is None else tokenizer.encode(content.decode(), add_special_tokens=False)
            )
            text = np.array(spelled, dtype=np.int64)
        content = without_documentation(spec.model_dump(mode="json", exclude={"name"}))
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        gap = spec.gaps[0]
        digest.update(task.batch("train", range(SUMMED_DOCUMENTS), gap).tokens.numpy().tobytes())
        digest.update(b"" if text is None else text.tobytes())
        return cls(task, text, digest.hexdigest())

    def held_out_tokens(self) -> Ints:
        """Tokens that nothing is trained on: the end of the text, or documents where the vocabulary has no text."""
        if self.text is not None:
            return self.text[int(len(self.text) * (1 - HELD_OUT_TEXT)) :]
        documents = self.task.batch("validation", range(HELD_OUT_DOCUMENTS), self.task.spec.gaps[0])
        tokens: Ints = documents.tokens.flatten().numpy()
        return tokens

    def training_tokens(self) -> Ints | None:
        """The part of the text that may train."""
        return None if self.text is None else self.text[: int(len(self.text) * (1 - HELD_OUT_TEXT))]

    def require(self, vocab_size: int) -> None:
        """Raise `DataError` unless every token has a logit."""
        if self.task.vocabulary.size > vocab_size:
            raise DataError(
                f"task {self.task.name}: needs {self.task.vocabulary.size} tokens, but the model has {vocab_size}: "
                "use a variant with a larger vocabulary, or a task that needs fewer tokens"
            )

    def require_text(self, sequence_length: int) -> None:
        """Raise `DataError` unless what is held out of the text, and the rest, contain one sequence and its target."""
        shortest = min(len(part) for part in (self.held_out_tokens(), self.training_tokens()) if part is not None)
        if shortest < sequence_length + 1:
            raise DataError(
                f"recipe.objective.drift.source: a part of its text has {shortest} tokens, but one sequence of "
                f"{sequence_length} tokens and its last target need {sequence_length + 1}: use a longer text or a "
                "smaller recipe.sequence_length"
            )
