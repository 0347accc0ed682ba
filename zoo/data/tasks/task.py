"""What every task shares: where facts, gap and questions lie, and documents as pure functions of their number."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Literal, get_args

import numpy as np

from cortexzoo.specs.filler import NearKeys, NoiseFiller, OneFiller, PairsFiller, TextFiller, UnseenNoise
from cortexzoo.specs.task import TaskSpec
from cortexzoo.zoo.data.tasks.batch import Batch, batch_of
from cortexzoo.zoo.data.tasks.chance import Chance
from cortexzoo.zoo.data.tasks.document import Document, Filler, Ints, Noise, Passage
from cortexzoo.zoo.data.tasks.vocabulary import Vocabulary
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.streams import Stream

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True)
class Composition:
    """The content of one document, wherever it will lie."""

    facts: Passage
    questions: Passage
    evidence: Sequence[int]
    """For each answer: the place within the facts of the last token that it follows from."""
    noise: Ints | None = None
    """The tokens that noise is drawn from, where that hangs on the facts."""
    bound: Ints | None = None
    """The keys that are bound, by their numbers, where other pairs may fill the document."""
    slices: Mapping[str, Sequence[int]] = field(default_factory=dict)
    """What the accuracy is broken down by, besides the gap: one value an answer."""


class Task(ABC):
    """A generator of documents: facts, a gap of noise, then questions.

    Gaps count whole chunks: facts and questions lie in chunks of their own, at random places there, with so many chunks
    of noise between them; at gap 0 the questions follow the facts at once. With `gap_unit: tokens` just so many tokens
    of noise lie between them, whatever the chunks. Facts are the same at every gap.
    """

    noise: Ints
    """Tokens that noise is drawn from; never one of an answer."""
    noise_in_order = False
    depth_chunks = 0
    """The facts lie after 0 … so many further chunks of noise, at random."""

    def __init__(self, spec: TaskSpec, vocabulary: Vocabulary, seed: int, facts: int, questions: int) -> None:
        """`facts`, `questions`: tokens at most of the two. Raises `DataError` for a gap out of reach."""
        self.spec = spec
        self.vocabulary = vocabulary
        self.seed = seed
        self._facts, self._questions = facts, questions
        for gap in spec.gaps:
            self.length(gap)

    @abstractmethod
    def compose(self, rng: np.random.Generator) -> Composition:
        """The content of a document, drawn from `rng`."""

    @abstractmethod
    def chance(self) -> Chance:
        """The accuracy of one who knows the task but not the facts."""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def chunk_size(self) -> int:
        return self.spec.chunk_size

    def length(self, gap: int) -> int:
        """Tokens of a document, whole chunks. Raises `DataError` for a gap that no document can have."""
        if gap < 0:
            raise DataError(f"task {self.name}: a gap must be >= 0 {self.spec.gap_unit}, got {gap}")
        needed, most = self._needed_chunks(gap), self.spec.document_chunks
        if most is not None and needed > most:
            raise DataError(
                f"task {self.name}: a gap of {self._in_words(gap)} needs documents of {needed} chunks of "
                f"{self.chunk_size} tokens, but document_chunks is {most}: raise it or take smaller gaps"
            )
        return (most or needed) * self.chunk_size

    def gap_tokens(self, gap: int) -> int:
        """Tokens of noise that a gap has at least."""
        return gap * self.chunk_size if self.spec.gap_unit == "chunks" else gap

    def gap_places(self, gap: int) -> tuple[int, int]:
        """Where the chunks that contain only the gap begin and end. Raises `DataError` where there are none."""
        if self._is_bridged(gap):
            raise DataError(f"task {self.name}: a gap of {self._in_words(gap)} has no chunks of its own")
        end = self.length(gap) - self._chunks(self._questions) * self.chunk_size
        return end - gap * self.chunk_size, end

    def require_beyond(self, receptive_field: int, gaps: Sequence[int]) -> None:
        """Raise `DataError` if one of `gaps` leaves facts within the `reach` tokens that a model sees without memory.

        The reach of a window is its size times the number of layers that have one.
        """
        short = [gap for gap in gaps if self.gap_tokens(gap) < receptive_field]
        if short:
            unit = self.gap_tokens(1)
            raise DataError(
                f"task {self.name}: a gap of {self._in_words(short[0])} lies within the {receptive_field} tokens that "
                f"the model sees without memory: take gaps of {ceil(receptive_field / unit)} or more"
            )

    def example(self, split: Split, index: int, gap: int) -> Document:
        """Document `index` of a split: it follows from seed, split, index and gap alone. Raises `DataError`."""
        length = self.length(gap)
        rng = Stream.DOCUMENTS.generator(self.seed, SPLITS.index(split), index)
        key = int(rng.integers(2**63))
        room = rng.random(3).tolist()
        content = self.compose(rng)
        facts, questions, depth = self._starts(gap, length, content, room)
        ends = np.array([_start(content.questions, number + 1) for number in range(len(content.evidence))])
        slices: dict[str, Sequence[int]] = {"gap": [gap] * len(ends), **content.slices}
        if len(self.spec.fillers) > 1:
            slices["filler"] = [key % len(self.spec.fillers)] * len(ends)
        if self.depth_chunks:
            slices["depth"] = [depth] * len(ends)
        return Document(
            length=length,
            placed=((facts, content.facts), (questions, content.questions)),
            noise=self.filler(self.spec.fillers[key % len(self.spec.fillers)], content, key),
            distances=questions + ends - facts - np.array(content.evidence, dtype=np.int64),
            slices={name: np.array(values, dtype=np.int64) for name, values in slices.items()},
        )

    def filler(self, kind: OneFiller, content: Composition, key: int) -> Filler:
        """What surrounds the passages of a document; `key` makes it differ between documents."""
        assert isinstance(kind, NoiseFiller), "the spec is validated: only pairs have other fillers"
        return Noise(self.noise if content.noise is None else content.noise, key, self.noise_in_order)

    def batch(self, split: Split, indices: Sequence[int], gap: int) -> Batch:
        """Some documents as a whole. Raises `DataError`."""
        return batch_of([self.example(split, index, gap) for index in indices], 0, self.length(gap))

    def stream(
        self,
        split: Split,
        indices: Sequence[int],
        gap: int,
        chunk_size: int | None = None,
        receptive_field: int | None = None,
    ) -> Iterator[Batch]:
        """Some documents chunk by chunk, in the memory of a chunk however long the gap.

        With `reach` only the chunks of the questions and so many tokens before them. Raises `DataError`.
        """
        size, length = chunk_size or self.chunk_size, self.length(gap)
        documents = [self.example(split, index, gap) for index in indices]
        first = 0
        if receptive_field is not None and not self._is_bridged(gap):
            asked = length - self._chunks(self._questions) * self.chunk_size
            first = max(0, (asked - receptive_field) // self.chunk_size * self.chunk_size)
        return (batch_of(documents, begin, min(begin + size, length)) for begin in range(first, length, size))

    def _in_words(self, gap: int) -> str:
        return f"{gap} {self.spec.gap_unit[:-1] if gap == 1 else self.spec.gap_unit}"

    def _is_bridged(self, gap: int) -> bool:
        """Whether questions may lie in the chunk of the facts."""
        return gap == 0 or self.spec.gap_unit == "tokens"

    def _needed_chunks(self, gap: int) -> int:
        if self._is_bridged(gap):
            return self.depth_chunks + self._chunks(self._facts + self.gap_tokens(gap) + self._questions)
        return self.depth_chunks + self._chunks(self._facts) + gap + self._chunks(self._questions)

    def _chunks(self, tokens: int) -> int:
        return -(-tokens // self.chunk_size)

    def _starts(self, gap: int, length: int, content: Composition, room: Sequence[float]) -> tuple[int, int, int]:
        """Where facts and questions begin, and after how many chunks of random depth; `room`: shares of free places."""
        size = self.chunk_size
        first = length // size - self._needed_chunks(gap)
        if self._is_bridged(gap):
            first += self.depth_chunks
            body = self._facts + self.gap_tokens(gap) + self._questions
            facts = first * size + _place(room[0], -body % size)
            return facts, facts + len(content.facts) + self.gap_tokens(gap), self.depth_chunks
        depth = int(room[2] * (self.depth_chunks + 1))
        last = length - self._chunks(self._questions) * size
        facts = (first + depth) * size + _place(room[0], -self._facts % size)
        return facts, last + _place(room[1], -self._questions % size), depth


class PairsTask(Task):
    """A task of keys and values, whose documents other fillers than noise can surround."""

    def filler(self, kind: OneFiller, content: Composition, key: int) -> Filler:
        match kind:
            case NoiseFiller():
                return super().filler(kind, content, key)
            case UnseenNoise():
                return Noise(self.unseen_noise(), key)
            case TextFiller():
                return Noise(self.text(), key, in_order=True)
            case PairsFiller() | NearKeys():
                assert content.bound is not None, "pairs bind keys"
                return self.other_pairs(content.bound, key, near=isinstance(kind, NearKeys))

    @abstractmethod
    def unseen_noise(self) -> Ints:
        """Tokens that neither the task nor its noise uses. Raises `DataError` where there are too few."""

    @abstractmethod
    def text(self) -> Ints:
        """The embedded text in tokens that make no fact."""

    @abstractmethod
    def other_pairs(self, bound: Ints, key: int, *, near: bool) -> Filler:
        """Pairs of keys that are not `bound`, or of those near to them."""


def _place(share: float, room: int) -> int:
    """A place among 0 … room."""
    return int(share * (room + 1))


def _start(passage: Passage, number: int) -> int:
    return int(np.argmax(passage.answers == number))
