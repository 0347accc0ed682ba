"""A text in which every token shows its role: training, validation and test part share no token."""

from functools import lru_cache

import numpy as np
from torch import Tensor

from cortexzoo.harness.checking.case import DoesNotApply
from cortexzoo.zoo.data.text import TextData

LENGTH = 16
"""Tokens of a window, without its last target."""
WINDOWS = 21
"""Training windows of an epoch. Odd, so that epochs end within batches."""
VALIDATION_WINDOWS = 7
LEAST_VOCABULARY = 6
WORDS = 12


@lru_cache(maxsize=8)
def text_of_roles(vocab_size: int) -> TextData:
    """Three parts of words from alphabets of their own. No two training windows are equal, wherever they start."""
    if vocab_size < LEAST_VOCABULARY:
        raise DoesNotApply(f"with {vocab_size} tokens no text can show by its tokens which part they are of")
    third = min(vocab_size, 256) // 3
    random = np.random.default_rng(0)
    train = _words(random, 0, third, (WINDOWS + 1) * LENGTH + 1 + LENGTH // 2)
    validation = _words(random, third, third, VALIDATION_WINDOWS * LENGTH + 1 + LENGTH // 2)
    test = _words(random, 2 * third, third, 2 * LENGTH + 1)
    assert len({train[i : i + LENGTH + 1].tobytes() for i in range(len(train) - LENGTH)}) == len(train) - LENGTH
    return TextData(train, validation, test, "a text of the harness")


def training_starts(data: TextData, tokens: Tensor) -> list[int | None]:
    """Where each window [rows, T + 1] starts in the training part; None: it is no window of it."""
    text = data.train
    places = {text[i : i + LENGTH + 1].tobytes(): i for i in range(len(text) - LENGTH)}
    return [places.get(row.numpy().astype(np.uint8).tobytes()) for row in tokens.cpu()]


def _words(random: np.random.Generator, first: int, count: int, length: int) -> np.ndarray:
    """Words of three to five tokens in a random order, with single tokens between them that make windows differ."""
    words = [first + random.integers(count, size=random.integers(3, 6)) for _ in range(WORDS)]
    text: list[int] = []
    while len(text) < length:
        text += [*words[random.integers(WORDS)].tolist(), first + int(random.integers(count))]
    return np.array(text[:length], dtype=np.uint8)
