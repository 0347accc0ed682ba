"""Mistakes in modules that a user brings: they return something else, or carry what cannot be kept."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs.allowed_code import allowed_meanwhile
from cortexzoo.specs.own_variant import ModuleSpec
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.models.own_module import own_model
from cortexzoo.zoo.models.read_text import ReadState

VOCAB, PIECE = 11, 4
MODULES = f'''
import torch
from torch import nn

from cortexzoo.specs.variant import TransformerSpec
from cortexzoo.zoo.build import build_model

SMALL = TransformerSpec(name="small", vocab_size={VOCAB}, hidden_size=8, num_heads=2, num_layers=1)
VOCAB = {VOCAB}


class Given(nn.Module):
    """Gives what `give(logits, tokens)` makes of logits [B, T, V]; with a state where `states` is true."""

    def __init__(self, give, first=None):
        super().__init__()
        self.table, self.give = nn.Embedding(VOCAB, VOCAB), give
        if first is not None:
            self.initial_state = lambda rows: first

    def forward(self, tokens, state=None):
        return self.give(self.table(tokens), tokens)


def one_token(logits, tokens):
    if tokens.shape[1] > 1:
        raise RuntimeError("one token at a time")
    return logits


def one_row(logits, tokens):
    if len(tokens) > 1:
        raise RuntimeError("one row at a time")
    return logits


class Answer:
    def __init__(self, logits):
        self.logits = logits


def make(kind):
    some = torch.zeros(1)
    return {{
        "logits": lambda: Given(lambda logits, _: logits),
        "logits first": lambda: Given(lambda logits, _: (logits, None)),
        "logits of a list": lambda: Given(lambda logits, _: [logits]),
        "named logits": lambda: Given(lambda logits, _: Answer(logits)),
        "logits of a row": lambda: Given(one_row),
        "what was read": lambda: Given(lambda logits, _: logits.cumsum(1)),
        "logits and a state": lambda: Given(lambda logits, _: (logits, some), some),
        "a list of both": lambda: Given(lambda logits, _: [logits, some], some),
        "more beside a state": lambda: Given(lambda logits, _: (logits, some, "more"), some),
        "a model": lambda: build_model(SMALL, 0),
        "nothing": lambda: Given(lambda logits, _: None),
        "no logits": lambda: Given(lambda logits, _: ()),
        "fewer logits": lambda: Given(lambda logits, _: logits[..., 1:]),
        "logits of fewer tokens": lambda: Given(lambda logits, _: logits[:, 1:]),
        "flat logits": lambda: Given(lambda logits, _: logits.flatten(0, 1)),
        "logits of one token": lambda: Given(one_token),
        "no state": lambda: Given(lambda logits, _: logits, some),
        "an empty tuple for a state": lambda: Given(lambda logits, _: (logits,), some),
        "a state of words": lambda: Given(lambda logits, _: (logits, "words"), some),
        "a beginning of words": lambda: Given(lambda logits, _: (logits, some), "words"),
    }}[kind]()
'''
FIT = 10
"""So many of these kinds fit, the first ones."""
KINDS = [line.split('"')[1] for line in MODULES.splitlines() if line.startswith('        "')]


def of_modules(_: Subject) -> Iterator[Attempt]:
    """Of modules in a file, as a variant names them."""
    for number, kind in enumerate(KINDS):
        yield (fits if number < FIT else mistaken)(f"a module that returns {kind}", partial(_made, kind))
    yield fits("a text in pieces of four", _in_pieces)
    yield mistaken("a limit for a module with a state", partial(_made, "logits and a state", max_length=4))
    yield fits("a model of this package", partial(_made, "a model"))
    yield mistaken("a model of this package with more tokens", partial(_made, "a model", vocab_size=VOCAB - 1))
    yield fits("what was read, saved and continued", _saved)
    yield mistaken("what was read, without it", partial(ReadState.from_tensors, {"token": torch.zeros(1, 1)}))


def _in_pieces() -> None:
    """A module that sums up what it reads, four tokens at a time: whole, and continued where a call ended."""
    model = _made("what was read", max_length=PIECE)
    tokens = torch.arange(2 * 11).view(2, 11) % VOCAB
    with torch.no_grad():
        wanted = torch.cat([model.module(piece) for piece in tokens.split(PIECE, dim=1)], dim=1)  # type: ignore[operator]
        found = {"at once": model(tokens).logits}
        for size in (3, 1):
            state, read = model.initial_state(2), []
            for piece in (*tokens.split(size, dim=1), tokens[:, :0]):
                output = model(piece, state)
                state = output.state
                read.append(output.logits)
            found[f"{size} at a time"] = torch.cat(read, dim=1)
        for name, logits in found.items():
            if not torch.allclose(logits, wanted, atol=1e-5):
                raise ValueError(f"read {name}, it gives something else than its pieces")


def _saved() -> None:
    """A text of two tokens is kept by its tensors; its size is told."""
    model, tokens = _made("what was read"), torch.tensor([[1, 2, 3]])
    state = model(tokens[:, :2]).state
    again = type(state).from_tensors(state.tensors())
    if not torch.equal(model(tokens[:, 2:], again).logits, model(tokens).logits[:, 2:]):
        raise ValueError("a text that was saved is continued as another")
    if state.sizes() != {"cache": 2}:
        raise ValueError(f"two tokens were read, and told are {state.sizes()}")


def _made(kind: str, max_length: int | None = None, vocab_size: int = VOCAB) -> MemoryLanguageModel[Any]:
    with tempfile.TemporaryDirectory() as folder, allowed_meanwhile():
        file = Path(folder) / "modules.py"
        file.write_text(MODULES, encoding="utf-8")
        return own_model(
            ModuleSpec(
                name="own",
                source=f"{file}:make",
                vocab_size=vocab_size,
                max_length=max_length,
                arguments={"kind": kind},
            )
        )
