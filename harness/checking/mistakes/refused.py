"""Steps that are refused: batches on both sides of a vocabulary's limits, and what is written down of refused ones."""

import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from safetensors.torch import load_file

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.zoo.training.policies.base import Step
from cortexzoo.zoo.training.policies.guards.gates import BatchGate
from cortexzoo.zoo.training.policies.guards.post_mortem import PostMortem

VOCABULARY, MOST = 9, 2
NUMBERS = (3, 5, 6, 8)
"""Refused steps, of which the first two are written; the other way round in a run that is resumed."""


def of_refused(_: Subject) -> Iterator[Attempt]:
    """Tokens on the limits of a vocabulary and beyond, batches without a token, and the files of refused steps."""
    for tokens in ([0, VOCABULARY - 1], [0], [VOCABULARY - 1]):
        yield fits(f"a batch of tokens {tokens} of {VOCABULARY}", partial(_served, tokens))
    for tokens in ([0, VOCABULARY], [-1, 3], [-1, VOCABULARY - 1], [VOCABULARY], [-(10**9)], [10**9]):
        yield mistaken(f"a batch of tokens {tokens} of {VOCABULARY}", partial(_served, tokens))
    yield mistaken("a batch without a token", partial(_served, []))
    yield Attempt("the files of refused steps", _written, True)


def _served(tokens: list[int]) -> None:
    """Raises where the gate refuses it."""
    trainer = SimpleNamespace(model=SimpleNamespace(vocab_size=VOCABULARY))
    last = torch.tensor(tokens, dtype=torch.long).reshape(1, 1, -1)
    step = Step(1, tokens=torch.cat([torch.ones_like(last), last]))  # in the second of two parts
    BatchGate().batch_ready(cast(Any, trainer), step)
    if step.refused is not None:
        raise ValueError(step.refused)


def _written() -> None:
    """Raises where the first refused steps of each process are not written as they were, or others are."""
    for rank in (0, 1):
        with tempfile.TemporaryDirectory() as name:
            folder, events = Path(name) / "refused", list[object]()
            told = SimpleNamespace(
                ranks=SimpleNamespace(rank=rank), taken=1, event=lambda *event, to=events: to.append(event)
            )
            for number in (*NUMBERS, NUMBERS[0]):  # the last again, as after a resumption
                step = Step(number, tokens=torch.full((2, 1, 3), number), loss=float("nan"), gradient_norm=2.5)
                step.refuse(f"reason {number}")
                PostMortem(folder, MOST).step_refused(cast(Any, told), step)
            behind = "" if rank == 0 else f".rank-{rank}"
            kept = [f"step-{number:08d}{behind}" for number in NUMBERS[:MOST]]
            due = sorted(f"{one}.{kind}" for one in kept for kind in ("json", "safetensors"))
            if (found := sorted(path.name for path in folder.iterdir())) != due or events:
                raise RuntimeError(f"of process {rank} {found} are written, {due} should be")
            for number, one in zip(NUMBERS, kept, strict=False):
                content = json.loads((folder / f"{one}.json").read_text(encoding="utf-8"))
                said = [content.get(key) for key in ("step", "reason", "loss", "gradient_norm", "rollback")]
                tokens = load_file(folder / f"{one}.safetensors")["tokens"]
                whole = tokens.shape == (2, 1, 3) and bool((tokens == number).all())
                if said != [number, f"reason {number}", "nan", 2.5, False] or not whole:
                    raise RuntimeError(
                        f"the refused step {number} is written as {said} with {tokens.flatten().tolist()}"
                    )
