"""Byte-level text: read once, split once, summed once."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from cortexzoo.specs.data import DataSpec, TextSpec
from cortexzoo.zoo.data.order import ByteArray, TrainingOrder, validation_starts
from cortexzoo.zoo.data.reference import ReferenceLosses, reference_losses
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.errors import DataError


@dataclass(frozen=True)
class TextData:
    """A text as bytes: the first part trains, the last part validates, and no byte is in both."""

    train: ByteArray = field(repr=False)
    validation: ByteArray = field(repr=False)
    sha256: str
    """Hex digest of the whole text, both parts together."""

    @classmethod
    def from_spec(cls, spec: DataSpec, folder: Path | None = None) -> Self:
        """Read and split what `spec` names; relative paths start at `folder`. Raises `DataError`."""
        if not isinstance(spec, TextSpec):
            raise DataError(
                f"data {spec.name}: text is required here (family: text), got a task (family: {spec.family})"
            )
        return cls.from_bytes(read_source(spec.source, folder), spec.validation_fraction)

    @classmethod
    def from_bytes(cls, content: bytes, validation_fraction: float) -> Self:
        """Split `content`: its last `validation_fraction` validates."""
        text = np.frombuffer(content, dtype=np.uint8)
        cut = int(len(text) * (1 - validation_fraction))
        return cls(text[:cut], text[cut:], hashlib.sha256(content).hexdigest())

    def require(self, sequence_length: int, vocab_size: int) -> None:
        """Raise `DataError` unless both parts contain one sequence and its last target, and every byte has a logit."""
        for name, part in (("training", self.train), ("validation", self.validation)):
            if len(part) < sequence_length + 1:
                raise DataError(
                    f"the {name} part has {len(part)} bytes, but one sequence of {sequence_length} bytes and its "
                    f"last target need {sequence_length + 1}: use a longer text or a smaller recipe.sequence_length"
                )
        largest = int(max(self.train.max(), self.validation.max()))
        if largest >= vocab_size:
            raise DataError(
                f"variant.vocab_size must be at least {largest + 1}, since the text contains byte {largest}, "
                f"got {vocab_size}"
            )

    def held_out_tokens(self) -> ByteArray:
        """All tokens that nothing is trained on."""
        return self.validation

    def training_order(self, sequence_length: int, seed: int) -> TrainingOrder:
        """The seeded order of training windows."""
        return TrainingOrder(len(self.train), sequence_length, seed)

    def validation_starts(self, sequence_length: int, at_most: int | None = None) -> np.ndarray:
        """Where the validation windows start: contiguous, or `at_most` of them evenly spread."""
        return validation_starts(len(self.validation), sequence_length, at_most)

    def reference_losses(self, sequence_length: int, at_most: int | None = None) -> ReferenceLosses:
        """What counting reaches on exactly the positions that these validation windows score."""
        starts = self.validation_starts(sequence_length, at_most)
        return reference_losses(self.train, self.validation, starts, sequence_length)
