"""Tasks of lm-evaluation-harness, read by a model with its memory. The only file that imports lm_eval."""

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from lm_eval import evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from torch import Tensor

from cortexzoo.harness.errors import BadInput, Failure, in_one_line
from cortexzoo.harness.runs.prompt import PIECE, Writing
from cortexzoo.zoo.errors import NonFiniteLogits
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState

BEFORE = "\n"
"""Stands before a text without a context: no model here has a token for the beginning."""
MOST_NEW = 256
FEWSHOT_SEED = 1234
"""That of the library's own command."""


class ReadingModel(LM):  # type: ignore[misc, unused-ignore]
    """A model of the zoo for lm-evaluation-harness: each request is one document, whose memory is carried to its end.

    Every document begins with the memory that training ended with, and nothing passes from one to the next. A text of
    any length is read in pieces, without a window.
    """

    def __init__(self, model: MemoryLanguageModel[Any], state: MemoryState, writing: Writing) -> None:
        super().__init__()
        self.model = model.eval()
        self.writing = writing
        with torch.no_grad():
            self.start = model.between_batches(state, 1)

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        """Sum of the log-likelihoods of a continuation's tokens, and whether each is the likeliest one."""
        return [self._continuation(*request.args) for request in requests]

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        """The same of whole texts, each token after all before it."""
        return [self._continuation("", request.args[0])[0] for request in requests]

    def generate_until(self, requests: Sequence[Instance]) -> list[str]:
        """The likeliest continuation up to the first stop string. Raises `BadInput` for a task that samples."""
        return [self._until(*request.args) for request in requests]

    def _continuation(self, context: str, continuation: str) -> tuple[float, bool]:
        read, scored = self._tokens(context or BEFORE, continuation)
        targets = torch.tensor(scored, device=self._device_of_model)
        total, likeliest, state = 0.0, True, self._read(read[:-1])
        inputs = torch.tensor([[read[-1], *scored[:-1]]], device=self._device_of_model)
        for place in range(0, len(scored), PIECE):
            with torch.no_grad():
                output = self.model(inputs[:, place : place + PIECE], state)
            state, logits = output.state, output.logits[0].double()
            if not bool(logits.isfinite().any(dim=-1).all()):
                raise NonFiniteLogits("a text cannot be scored: the model's logits are not finite")
            wanted = targets[place : place + PIECE]
            total += float(logits.log_softmax(-1).gather(1, wanted[:, None]).sum())
            likeliest &= bool((logits[:, : self.writing.size].argmax(-1) == wanted).all())
        return total, likeliest

    def _until(self, context: str, options: dict[str, Any]) -> str:
        if options.get("do_sample") or options.get("temperature", 0.0) > 0:
            raise BadInput(
                "a task that samples (do_sample, temperature) is not supported: the likeliest token is taken"
            )
        stops = [options["until"]] if isinstance(options.get("until"), str) else list(options.get("until") or ())
        prompt = self.writing.encode(context or BEFORE, "the task's text")
        state, last = self._read(prompt[:-1]), prompt[-1]
        written: list[int] = []
        for _ in range(int(options.get("max_gen_toks", MOST_NEW))):
            with torch.no_grad():
                output = self.model.read(torch.tensor([[last]], device=self._device_of_model), state)
            state, last = output.state, int(output.logits[0, -1, : self.writing.size].argmax())
            written.append(last)
            text = self.writing.show("", written)
            if found := [text.index(stop) for stop in stops if stop and stop in text]:
                return text[: min(found)]
        return self.writing.show("", written)

    def _tokens(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Of the context, and of the continuation after it, at least one each.

        A tokenizer may join blanks between the two with the word after them, so they count to the continuation.
        """
        blanks = len(context) - len(context.rstrip())
        if blanks and context.rstrip() and self.writing.tokenizer is not None:
            context, continuation = context[:-blanks], context[-blanks:] + continuation
        read = self.writing.encode(context, "the task's text")
        both = self.writing.encode(context + continuation, "the task's text")
        return (read, both[len(read) :]) if len(both) > len(read) else (both[:-1], both[-1:])

    def _read(self, tokens: Sequence[int]) -> MemoryState:
        state: MemoryState = self.start
        for place in range(0, len(tokens), PIECE):
            piece = torch.tensor([tokens[place : place + PIECE]], device=self._device_of_model)
            with torch.no_grad():
                state = self.model.read(piece, state).state
        return state

    @property
    def _device_of_model(self) -> torch.device:
        first: Tensor = next(self.model.parameters())
        return first.device


def evaluate_tasks(
    model: ReadingModel, names: Sequence[str], *, folder: Path | None = None, limit: int | None = None
) -> dict[str, dict[str, float]]:
    """The metrics of each task or group by name, as lm-evaluation-harness computes them: `acc,none`.

    `folder` has tasks of the user's own, whose YAML is code. With `limit` the first so many documents of each task.
    Raises `BadInput` for an unknown task and one that runs what a model writes, `Failure` without a task's data.
    """
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    own = None if folder is None else TaskManager(include_path=str(folder), include_defaults=False)
    # The library's own tasks are thousands of files, read only where one of them is meant.
    known = own if own is not None and set(names) <= set(own.all_tasks) else TaskManager(include_path=folder)
    found: dict[str, dict[str, Any]] = {"tasks": {}, "groups": {}, "group_map": {}}
    for name in names:
        for part, entries in _loaded(known, name).items():
            found[part] |= entries
    for name, task in found["tasks"].items():
        if getattr(task, "UNSAFE_CODE", False):
            raise BadInput(f"--tasks {name}: runs code that the model writes, which is not supported")
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
    results: Any = evaluate(lm=model, task_dict=found, limit=limit, log_samples=False)
    return {name: _numbers(values) for name, values in results["results"].items()}


def _loaded(manager: TaskManager, name: str) -> Mapping[str, dict[str, Any]]:
    if name not in manager.all_tasks:
        near = get_close_matches(name, manager.all_tasks, 1)
        meant = f": did you mean {near[0]}?" if near else ""
        raise BadInput(f"--tasks {name}: lm-evaluation-harness has no such task{meant}")
    try:
        found: Mapping[str, dict[str, Any]] = manager.load(name)
    except Exception as problem:  # of datasets, its file systems and its clients
        raise Failure(
            f"--tasks {name}: its data could not be loaded ({in_one_line(problem)}): tasks of the Hugging Face hub "
            "need a network, or their data in the cache; tasks of your own can name local files"
        ) from problem
    return found


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in values.items() if isinstance(value, float | int) and "," in key}
