"""A text in tokens: read once, split once into three parts, summed once."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, Self, TypeAlias, overload

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cortexzoo.specs.data import DataSpec, TextSpec
from cortexzoo.specs.text_vocabulary import ByteTokens
from cortexzoo.zoo.data.mixed_order import MixedOrder
from cortexzoo.zoo.data.order import (
    DocumentOrder,
    Starts,
    TrainingOrder,
    cut_windows,
    evenly_spread,
    validation_starts,
)
from cortexzoo.zoo.data.reference import ReferenceLosses, losses_at
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.data.text_vocabulary import ByteVocabulary, TextVocabulary, TokenArray, character_start
from cortexzoo.zoo.data.token_files import StoredTokens
from cortexzoo.zoo.data.vocabulary_source import OfBase, text_vocabulary
from cortexzoo.zoo.errors import DataError

Part = Literal["training", "validation", "test"]
HeldOutPart = Literal["validation", "test"]

PartTokens: TypeAlias = TokenArray | StoredTokens

COUNTED = 1 << 22
"""Tokens of a token file that counting models count; of a text in memory they count all."""
BEFORE = 8
"""Tokens before a window in which counting finds the context of the window's first byte."""


class Batches(Sequence[Tensor]):
    """Batches that are cut when they are asked for."""

    def __init__(self, starts: Sequence[Starts], cut: Callable[[Starts], Tensor]) -> None:
        self._starts, self._cut = starts, cut

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> "Batches": ...
    def __getitem__(self, index: int | slice) -> "Tensor | Batches":
        if isinstance(index, slice):
            return Batches(self._starts[index], self._cut)
        return self._cut(self._starts[index])


@dataclass(frozen=True)
class TextData:
    """A text as tokens: the first part trains, the second validates, the last tests, and no byte is in two of them."""

    train: PartTokens = field(repr=False)
    validation: PartTokens = field(repr=False)
    test: PartTokens = field(repr=False)
    sha256: str
    """Hex digest of the whole text, all parts together, as bytes."""
    vocabulary: TextVocabulary = field(default_factory=ByteVocabulary)
    byte_counts: Mapping[Part, int] | None = None
    """How many bytes of the text each part has; None: a token is a byte."""
    spelled: Mapping[Part, int] | None = None
    """How many bytes the tokens of each part stand for; None: count them."""
    documents: Mapping[Part, Starts] | None = None
    """Where documents begin, from 0 in each part: each window is of one; None: windows run across them."""
    weights: tuple[float, ...] | None = None
    """The documents are the texts of a mixture, and training windows are drawn from each as often as its weight."""

    @classmethod
    def from_spec(cls, spec: DataSpec, folder: Path | None = None, of_base: OfBase = lambda: None) -> Self:
        """Read and split what `spec` names; relative paths start at `folder`. `of_base`: as for `text_vocabulary`.

        Raises `DataError`.
        """
        if not isinstance(spec, TextSpec):
            raise DataError(
                f"data {spec.name}: text is required here (family: text), got a task (family: {spec.family})"
            )
        content = read_source(spec.source, folder)
        if isinstance(spec.vocabulary, ByteTokens):
            text_vocabulary(spec.vocabulary, b"", of_base, folder)
            return cls.from_bytes(content, spec.validation_fraction, spec.test_fraction)
        places = cuts(len(content), spec.validation_fraction, spec.test_fraction)
        first, second = (character_start(content, place) for place in places)
        parts = content[:first], content[first:second], content[second:]
        vocabulary = text_vocabulary(spec.vocabulary, parts[0], of_base, folder)
        return cls.from_parts(parts, vocabulary)

    @classmethod
    def from_bytes(cls, content: bytes, validation_fraction: float, test_fraction: float = 0.0) -> Self:
        """Split `content`: its last `test_fraction` tests, the `validation_fraction` before it validates."""
        first, second = cuts(len(content), validation_fraction, test_fraction)
        text = np.frombuffer(content, dtype=np.uint8)
        return cls(text[:first], text[first:second], text[second:], hashlib.sha256(content).hexdigest())

    @classmethod
    def from_parts(cls, parts: tuple[bytes, bytes, bytes], vocabulary: TextVocabulary) -> Self:
        """The three parts of a text in the tokens of `vocabulary`. Raises `DataError`."""
        names: tuple[Part, ...] = ("training", "validation", "test")
        train, validation, test = (vocabulary.encode(part) for part in parts)
        counts = {name: len(part) for name, part in zip(names, parts, strict=True)}
        return cls(train, validation, test, hashlib.sha256(b"".join(parts)).hexdigest(), vocabulary, counts)

    @classmethod
    def from_tokens(cls, tokens: TokenArray, validation_fraction: float, vocabulary: TextVocabulary) -> Self:
        """Tokens of a text in two parts, without a test part."""
        first = int(len(tokens) * (1 - validation_fraction))
        train, validation, test = tokens[:first], tokens[first:], tokens[:0]
        counts: dict[Part, int] | None = None
        if vocabulary.sha256 is not None:
            counts = {"training": len(vocabulary.bytes_of(train)), "validation": len(vocabulary.bytes_of(validation))}
        return cls(train, validation, test, hashlib.sha256(tokens.tobytes()).hexdigest(), vocabulary, counts)

    def part(self, name: Part) -> PartTokens:
        """The tokens of a part."""
        return {"training": self.train, "validation": self.validation, "test": self.test}[name]

    def require(self, sequence_length: int, vocab_size: int) -> None:
        """Raise `DataError` unless all parts contain one sequence and its last target, and every token has a logit.

        A text that was split without a test part needs none.
        """
        names: tuple[Part, ...] = ("training", "validation", "test") if len(self.test) else ("training", "validation")
        unit = self.vocabulary.unit
        for name in names:
            if len(self.part(name)) < sequence_length + 1:
                raise DataError(
                    f"the {name} part has {len(self.part(name))} {unit}s, but one sequence of {sequence_length} "
                    f"{unit}s and its last target need {sequence_length + 1}: use a longer text or a smaller "
                    "recipe.sequence_length"
                )
        if self.weights is not None:
            self._require_texts(sequence_length, names)
        largest = int(max(_largest(self.part(name)) for name in names))
        if self.byte_counts is not None and (needed := self.vocabulary.needed) > vocab_size:
            raise DataError(
                f"variant.vocab_size must be at least {needed}, as many tokens as the tokenizer has, got {vocab_size}"
            )
        if largest >= vocab_size:
            raise DataError(
                f"variant.vocab_size must be at least {largest + 1}, since the text contains {unit} {largest}, "
                f"got {vocab_size}"
            )

    def _require_texts(self, sequence_length: int, names: tuple[Part, ...]) -> None:
        """Every text of a mixture is long enough by itself."""
        for name in names:
            for index, length in enumerate(self._lengths(name)):
                if length < sequence_length + 1:
                    raise DataError(
                        f"data.parts.{index}: its {name} part has {length} {self.vocabulary.unit}s, but one sequence "
                        f"and its last target need {sequence_length + 1}: use a longer text, or leave this one out"
                    )

    def _lengths(self, part: Part) -> tuple[int, ...]:
        assert self.documents is not None
        return tuple(int(n) for n in np.diff(np.append(self.documents[part], len(self.part(part)))))

    def windows(
        self,
        part: HeldOutPart,
        sequence_length: int,
        batch_size: int,
        at_most: int | None = None,
    ) -> Batches:
        """Windows of a part that is held out one after the other, or `at_most` of them evenly spread, in batches.

        Each is [windows, time_and_target], cut when it is asked for.
        """
        starts = self.window_starts(part, sequence_length, at_most)
        batches = [starts[first : first + batch_size] for first in range(0, len(starts), batch_size)]
        return Batches(batches, lambda chosen: cut_windows(self.part(part), chosen, sequence_length))

    def scored(self, part: Part, starts: Starts, sequence_length: int) -> Bool[Tensor, "windows time"] | None:
        """Which inputs of the windows at `starts` have a target of the same document; None: all count."""
        if part == "training" and self.weights is not None:
            return None  # each window ends within its text
        order = self._document_order(part, sequence_length)
        return None if order is None else order.scored(starts)

    def scored_windows(
        self, part: HeldOutPart, sequence_length: int, batch_size: int, at_most: int | None = None
    ) -> Batches | None:
        """For each batch of `windows`, what counts [windows, time]; None: everything."""
        order = self._document_order(part, sequence_length)
        if order is None:
            return None
        starts = self.window_starts(part, sequence_length, at_most)
        return Batches(
            [starts[first : first + batch_size] for first in range(0, len(starts), batch_size)], order.scored
        )

    def held_out_tokens(self) -> TokenArray:
        """The tokens of the validation part, of a token file the first millions."""
        return self.validation[:COUNTED] if isinstance(self.validation, StoredTokens) else self.validation

    def training_order(self, sequence_length: int, seed: int) -> TrainingOrder | DocumentOrder | MixedOrder:
        """The seeded order of training windows."""
        if self.weights is not None:
            return MixedOrder(self._lengths("training"), self.weights, sequence_length, seed)
        order = self._document_order("training", sequence_length, seed)
        return TrainingOrder(len(self.train), sequence_length, seed) if order is None else order

    def window_starts(self, part: Part, sequence_length: int, at_most: int | None = None) -> Starts:
        """Where the windows of a part start: one after the other, or `at_most` of them evenly spread."""
        order = self._document_order(part, sequence_length)
        if order is not None:
            return order.window_starts(evenly_spread(order.windows_per_epoch, at_most))
        return validation_starts(len(self.part(part)), sequence_length, at_most)

    def validation_starts(self, sequence_length: int, at_most: int | None = None) -> Starts:
        """As `window_starts`, of the validation part."""
        return self.window_starts("validation", sequence_length, at_most)

    def _document_order(self, part: Part, sequence_length: int, seed: int = 0) -> DocumentOrder | None:
        if self.documents is None:
            return None
        return DocumentOrder(self.documents[part], len(self.part(part)), sequence_length, seed)

    @cached_property
    def bytes_per_token(self) -> float:
        """Of the training part; 1 where a token is a byte."""
        return 1.0 if self.byte_counts is None else self.byte_counts["training"] / len(self.train)

    def token_bytes(self, part: Part) -> Float[Tensor, " vocab"] | None:
        """How many bytes of a part's text each token stands for; None: one.

        Tokens that do not add up to the text, such as those of a tokenizer that changes it, count in proportion.
        """
        return None if self.byte_counts is None else torch.from_numpy(self.vocabulary.lengths * self._scale(part))

    def _scale(self, part: Part) -> float:
        """Bytes of the text by bytes that its tokens stand for: 1 for a tokenizer that leaves the text as it is."""
        assert self.byte_counts is not None
        if self.spelled is not None:
            return self.byte_counts[part] / max(self.spelled[part], 1)
        spelled = int(np.bincount(self.part(part)[:], minlength=self.vocabulary.size) @ self.vocabulary.lengths)
        return self.byte_counts[part] / max(spelled, 1)

    def reference_losses(
        self, sequence_length: int, at_most: int | None = None, part: HeldOutPart = "validation"
    ) -> ReferenceLosses:
        """What counting bytes of the training part reaches on exactly what these windows score, in nats a byte."""
        text = self.part(part)
        starts = self.window_starts(part, sequence_length, at_most)
        if isinstance(text, np.ndarray) and self.byte_counts is None and self.documents is None:
            assert isinstance(self.train, np.ndarray)
            places = (starts[:, None] + 1 + np.arange(sequence_length)[None, :]).ravel()
            return losses_at(self.train, text, places)
        pieces: list[npt.NDArray[np.uint8]] = []
        scored_places: list[npt.NDArray[np.int64]] = []
        length = 0
        scored_of = self.scored(part, starts, sequence_length)
        for index, start in enumerate(starts.tolist()):
            targets = sequence_length if scored_of is None else int(scored_of[index].sum())
            before = self.vocabulary.bytes_of(text[max(0, start - BEFORE) : start + 1])
            scored = self.vocabulary.bytes_of(text[start + 1 : start + 1 + targets])
            pieces += [before, scored]
            length += len(before)
            scored_places.append(np.arange(length, length + len(scored)))
            length += len(scored)
        found = np.concatenate(scored_places)
        counted = losses_at(self.vocabulary.bytes_of(self._counted()), np.concatenate(pieces), found[found > 0])
        return counted if self.byte_counts is None else counted.scaled(1 / self._scale(part))

    def _counted(self) -> TokenArray:
        """The training tokens that counting models count."""
        return self.train[:COUNTED] if isinstance(self.train, StoredTokens) else self.train

    @property
    def counted_bytes(self) -> int | None:
        """How much of the training part counting models count; None: all of it."""
        if not isinstance(self.train, StoredTokens) or len(self.train) <= COUNTED:
            return None
        return len(self.vocabulary.bytes_of(self._counted()))


def _largest(tokens: PartTokens) -> int:
    return tokens.largest if isinstance(tokens, StoredTokens) else int(tokens.max())


def cuts(length: int, validation_fraction: float, test_fraction: float) -> tuple[int, int]:
    """Where validation and test part begin."""
    return int(length * (1 - (validation_fraction + test_fraction))), int(length * (1 - test_fraction))
