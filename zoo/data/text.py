"""Byte-level text: read once, split once into three parts, summed once."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
from jaxtyping import Int
from torch import Tensor

from cortexzoo.specs.data import DataSpec, TextSpec
from cortexzoo.zoo.data.order import ByteArray, TrainingOrder, cut_windows, validation_starts
from cortexzoo.zoo.data.reference import ReferenceLosses, reference_losses
from cortexzoo.zoo.data.sources import read_source
from cortexzoo.zoo.errors import DataError

HeldOutPart = Literal["validation", "test"]


@dataclass(frozen=True)
class TextData:
    """A text as bytes: the first part trains, the second validates, the last tests, and no byte is in two of them."""

    train: ByteArray = field(repr=False)
    validation: ByteArray = field(repr=False)
    test: ByteArray = field(repr=False)
    sha256: str
    """Hex digest of the whole text, all parts together."""

    @classmethod
    def from_spec(cls, spec: DataSpec, folder: Path | None = None) -> Self:
        """Read and split what `spec` names; relative paths start at `folder`. Raises `DataError`."""
        if not isinstance(spec, TextSpec):
            raise DataError(
                f"data {spec.name}: text is required here (family: text), got a task (family: {spec.family})"
            )
        return cls.from_bytes(read_source(spec.source, folder), spec.validation_fraction, spec.test_fraction)

    @classmethod
    def from_bytes(cls, content: bytes, validation_fraction: float, test_fraction: float = 0.0) -> Self:
        """Split `content`: its last `test_fraction` tests, the `validation_fraction` before it validates."""
        text = np.frombuffer(content, dtype=np.uint8)
        first, second = (int(len(text) * (1 - rest)) for rest in (validation_fraction + test_fraction, test_fraction))
        return cls(text[:first], text[first:second], text[second:], hashlib.sha256(content).hexdigest())

    def require(self, sequence_length: int, vocab_size: int) -> None:
        """Raise `DataError` unless all parts contain one sequence and its last target, and every byte has a logit.

        A text that was split without a test part needs none.
        """
        parts = {
            "training": self.train,
            "validation": self.validation,
            **({"test": self.test} if len(self.test) else {}),
        }
        for name, part in parts.items():
            if len(part) < sequence_length + 1:
                raise DataError(
                    f"the {name} part has {len(part)} bytes, but one sequence of {sequence_length} bytes and its "
                    f"last target need {sequence_length + 1}: use a longer text or a smaller recipe.sequence_length"
                )
        largest = int(max(part.max() for part in parts.values()))
        if largest >= vocab_size:
            raise DataError(
                f"variant.vocab_size must be at least {largest + 1}, since the text contains byte {largest}, "
                f"got {vocab_size}"
            )

    def windows(
        self,
        part: HeldOutPart,
        sequence_length: int,
        batch_size: int,
        at_most: int | None = None,
    ) -> list[Int[Tensor, "windows time_and_target"]]:
        """Contiguous windows of a part that is held out, or `at_most` of them evenly spread, in batches."""
        text = self.validation if part == "validation" else self.test
        starts = validation_starts(len(text), sequence_length, at_most)
        return [
            cut_windows(text, starts[first : first + batch_size], sequence_length)
            for first in range(0, len(starts), batch_size)
        ]

    def held_out_tokens(self) -> ByteArray:
        """The tokens of the validation part."""
        return self.validation

    def training_order(self, sequence_length: int, seed: int) -> TrainingOrder:
        """The seeded order of training windows."""
        return TrainingOrder(len(self.train), sequence_length, seed)

    def validation_starts(self, sequence_length: int, at_most: int | None = None) -> np.ndarray:
        """Where the validation windows start: contiguous, or `at_most` of them evenly spread."""
        return validation_starts(len(self.validation), sequence_length, at_most)

    def reference_losses(
        self, sequence_length: int, at_most: int | None = None, part: HeldOutPart = "validation"
    ) -> ReferenceLosses:
        """What counting the training part reaches on exactly the positions that these windows score."""
        text = self.validation if part == "validation" else self.test
        return reference_losses(
            self.train, text, validation_starts(len(text), sequence_length, at_most), sequence_length
        )
