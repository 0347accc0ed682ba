"""Prompts in the tokens that a run was trained in: bytes, or those of its base's own tokenizer; files in pieces."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from cortexzoo.harness.errors import UserError
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.tokenizer import kept_tokenizer
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.task import TaskSpec
from cortexzoo.specs.variant import backbone_of
from cortexzoo.zoo.data.text_vocabulary import TokenizerVocabulary
from cortexzoo.zoo.models.backbones import load_tokenizer

BYTES = 256
PIECE = 4096
"""Tokens that are read at once."""


class PromptError(UserError):
    """A prompt that cannot be read, or that the model has no tokens for. The message is one line."""


class Writing:
    """How text becomes tokens and tokens become text."""

    def __init__(self, tokenizer: Any, vocab_size: int) -> None:
        """`tokenizer` None: a token is a byte. `vocab_size`: how many tokens the model has logits for."""
        self.tokenizer = tokenizer
        self.size = min(BYTES if tokenizer is None else len(tokenizer), vocab_size)
        """The first so many tokens stand for something."""

    @classmethod
    def of_run(cls, run: Run) -> "Writing":
        """That of a run: the tokenizer that it keeps, if it has one. Raises as `of`, and `RunFolderError`."""
        kept = kept_tokenizer(run)
        if kept is None:
            return cls.of(run.spec)
        return cls(_KeptTokenizer(TokenizerVocabulary.of_file(kept)), run.spec.variant.vocab_size)

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> "Writing":
        """In bytes, or in the tokens of a task's base.

        Raises `PromptError` where no text can be written, `BackboneError` without the tokenizer.
        """
        data, variant = experiment.data, experiment.variant
        tokenizer = None
        if isinstance(data, TaskSpec):
            if data.vocabulary == "own":
                raise PromptError(
                    f"data.vocabulary: {data.name} was trained on in tokens of its own, in which no text can be "
                    "written: read `recall` in the run's summary.json, or train with vocabulary bytes or tokenizer"
                )
            if data.vocabulary == "tokenizer" and (backbone := backbone_of(variant)) is not None:
                tokenizer = load_tokenizer(backbone)
        return cls(tokenizer, variant.vocab_size)

    def pieces(
        self, file: Path | None, prompt: str | None, named: str = "--prompt-file"
    ) -> Iterator[Int[Tensor, "1 time"]]:
        """Tokens of the file, then of the prompt, `PIECE` at once. Raises `PromptError`, with the file `named`.

        Bytes are read as they are needed; a tokenizer is given the whole file, so that it finds the same tokens however
        the file is read.
        """
        if file is not None:
            yield from _tensors(self._of_file(file, named))
        if prompt is not None:
            yield from _tensors(self._checked(self._encoded("--prompt", os.fsencode(prompt)), "--prompt"))

    def encode(self, text: str, named: str) -> list[int]:
        """The tokens of `text`, at least one. Raises `PromptError`, with the text `named`."""
        return self._checked(self._encoded(named, os.fsencode(text)), named)

    def show(self, prompt: str, tokens: list[int]) -> str:
        """The prompt and what was generated after it; what is no UTF-8 shows as �."""
        if self.tokenizer is None:
            return (os.fsencode(prompt) + bytes(tokens)).decode(errors="replace")
        return prompt + str(self.tokenizer.decode(tokens))

    def _of_file(self, file: Path, named: str) -> Iterator[int]:
        name, empty = f"{named} {file}", True
        try:
            with file.open("rb") as opened:
                blocks = iter(lambda: opened.read(PIECE if self.tokenizer is None else -1), b"")
                for block in blocks:
                    empty = False
                    yield from self._checked(self._encoded(name, block), name)
        except OSError as problem:
            raise PromptError(f"{name}: cannot be read: {problem.strerror or problem}") from None
        if empty:
            raise PromptError(f"{name}: must contain at least one byte, got none")

    def _encoded(self, name: str, content: bytes) -> list[int]:
        if self.tokenizer is None:
            return list(content)
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise PromptError(
                f"{name}: must be UTF-8, as the tokenizer reads text, got byte "
                f"{content[error.start]} at place {error.start}: save it as UTF-8"
            ) from None
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return tokens

    def _checked(self, tokens: list[int], name: str) -> list[int]:
        if not tokens:
            raise PromptError(
                f"{name}: must contain at least one {'byte' if self.tokenizer is None else 'token'}, got none"
            )
        if max(tokens) >= self.size:
            what = "byte" if self.tokenizer is None else "token"
            raise PromptError(f"{name}: contains {what} {max(tokens)}, but the model has only {self.size} {what}s")
        return tokens


class _KeptTokenizer:
    """A run's own tokenizer, with the methods of those of Hugging Face."""

    def __init__(self, vocabulary: TokenizerVocabulary) -> None:
        self._vocabulary = vocabulary

    def __len__(self) -> int:
        return self._vocabulary.size

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        tokens: list[int] = self._vocabulary.encode(text.encode()).tolist()
        return tokens

    def decode(self, token_ids: list[int]) -> str:
        return self._vocabulary.decode(token_ids)


def _tensors(tokens: Iterator[int] | list[int]) -> Iterator[Int[Tensor, "1 time"]]:
    rest = iter(tokens)
    while piece := list(islice(rest, PIECE)):
        yield torch.tensor([piece])
