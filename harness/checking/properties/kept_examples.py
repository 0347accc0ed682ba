"""The training examples that are kept for a sleep: which, where they are from, and whether each has the same chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from cortexzoo.harness.checking.training.reference_sleep import Dreams
from cortexzoo.harness.checking.training.roles import training_starts
from cortexzoo.harness.checking.training.witness import Served
from cortexzoo.specs.sleep import ReplaySleep
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.policies.base import HeldOutScore, Step
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.reservoir import Example, Reservoir
from cortexzoo.zoo.training.sleep.score import Score

TRIALS, OFFERED, KEPT = 300, 12, 4
STANDARD_DEVIATIONS = 5


def wrong_examples(
    spec: Dreams, examples: Sequence[Example], served: Sequence[Served], text: TextData | None
) -> list[str]:
    """What is wrong with the examples that were kept of those trained on: which, what counts of them, their places."""
    if not spec.keeps_examples:
        return ["examples are kept, and none is needed"] if examples else []
    trained = [
        (row.tolist(), [True] * (len(row) - 1) if one.scored is None else one.scored.flatten(0, 1)[number].tolist())
        for one in served
        for number, row in enumerate(one.tokens.flatten(0, 1))
    ]
    kept = [(example.tokens.tolist(), example.scored.tolist()) for example in examples]
    if any(row not in trained for row in kept):
        return ["an example was kept that was not trained on, or other targets of it"]
    due = min(spec.reservoir, len(trained))
    if len(kept) != due:
        return [f"{len(kept)} examples are kept, {due} should be"]
    if text is None:
        return []
    places = training_starts(text, torch.stack([example.tokens for example in examples]))
    if (told := [example.place for example in examples]) != places:
        return [f"examples of places {places} are said to stand at {told}"]
    return []


def not_a_sample() -> list[str]:
    """Whether examples differ in their chance to be kept: of one step, or of one after another."""
    examples = [Example(torch.tensor([number, 0]), torch.ones(1, dtype=torch.bool)) for number in range(OFFERED)]
    at_once, in_steps = np.zeros(OFFERED), np.zeros(OFFERED)
    for trial in range(TRIALS):
        reservoir = Reservoir(KEPT).offered(examples, np.random.default_rng(trial))
        at_once[[int(example.tokens[0]) for example in reservoir.examples]] += 1
        in_steps[_of_steps(trial)] += 1
    return _uneven(at_once, KEPT, "of a step") + _uneven(in_steps, 1, "of a step each") + _read(examples)


def _read(examples: Sequence[Example]) -> list[str]:
    """Read back with as much room, and, for a run that is resumed with another recipe, with less and with more."""
    kept = Reservoir(KEPT).offered(examples, np.random.default_rng(0))
    for capacity in (KEPT, KEPT - 1, KEPT + 1):
        read = Reservoir.from_tensors(capacity, kept.tensors())
        found = [example.tokens.tolist() for example in read.examples]
        if (read.capacity, read.seen) != (capacity, OFFERED) or len(found) != min(capacity, KEPT):
            return [f"of {KEPT} examples of {OFFERED} {len(found)} of {read.seen} are read into room for {capacity}"]
        if any(row not in [example.tokens.tolist() for example in kept.examples] for row in found):
            return ["examples that are read are not those that were kept"]
    return []


def _of_steps(seed: int) -> int:
    """The step whose example is kept, of which there is one a step and room for one."""
    sleep = Sleep(ReplaySleep(reservoir=1), seed, lambda _: Score.of(HeldOutScore(1.0)))
    for number in range(OFFERED):
        sleep.keep_examples(cast(Any, _Trainer()), Step(number + 1, tokens=torch.full((1, 1, 2), number)))
    return int(sleep.reservoir.examples[0].tokens[0])


def _whole(tensor: Tensor, _dimension: int) -> Tensor:
    return tensor


@dataclass
class _Trainer:
    """As much of a trainer of one process as is asked for examples."""

    ranks: Any = field(default_factory=lambda: SimpleNamespace(gather_tensor=_whole))


def _uneven(counts: Any, kept: int, which: str) -> list[str]:
    share = kept / OFFERED
    allowed = STANDARD_DEVIATIONS * math.sqrt(TRIALS * share * (1 - share))
    worst = int(np.argmax(abs(counts - TRIALS * share)))
    if abs(counts[worst] - TRIALS * share) <= allowed:
        return []
    return [f"example {worst + 1} of {OFFERED}, {which}, was kept {int(counts[worst])} times in {TRIALS}"]
