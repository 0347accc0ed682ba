"""Properties of a module while it trains: which no longer holds, and between which steps that began."""

import copy
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.modules.detection import detect
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.errors import BadInput
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training.recorder import Recorder, SilentRecorder

USUAL: tuple[PropertyName, ...] = ("causality", "batch_isolation", "repeatability")
LONGEST = 128
EVENT = "property_changed"


def _to_standard_error(line: str) -> None:
    sys.stderr.write(f"{line}\n")


class PropertyWatch:
    """Tries properties of `model` every so many steps, on a copy: training ends with the same bits as without.

        watch = PropertyWatch(model, ["causality"], every=100)
        optimizer.step()
        watch.step()

    A line goes to `report`, and an event `property_changed` to `recorder`, when a property fails that was not known to
    fail, and when it holds again. `judgements` has the last verdict of each. `factory` builds the module anew, for the
    properties that need a fresh one; without it the module as it is now serves.
    Raises `BadInput` for a property that does not apply to modules, `ModuleError` when no input fits the module.
    """

    def __init__(
        self,
        model: nn.Module,
        properties: Sequence[PropertyName] = USUAL,
        *,
        every: int = 100,
        vocab_size: int | None = None,
        width: int | None = None,
        longest: int = LONGEST,
        factory: Callable[[], nn.Module] | None = None,
        recorder: Recorder | None = None,
        report: Callable[[str], Any] = _to_standard_error,
    ) -> None:
        if every < 1:
            raise BadInput(f"every must be at least 1, got {every}")
        if unknown := [name for name in properties if name not in BARE]:
            raise BadInput(f"{unknown[0]} is no property of a module; there are {', '.join(sorted(BARE))}")
        self.model, self.properties, self.every = model, tuple(properties), every
        self.taken = 0
        self.judgements: dict[PropertyName, Judgement] = {}
        self.held_at: dict[PropertyName, int] = {}
        """The last step at which each was seen to hold."""
        self._recorder, self._report = recorder or SilentRecorder(), report
        self._factory = factory or (lambda: copy.deepcopy(self.model))
        self._sizes = (vocab_size, width, longest)

    def step(self) -> list[Judgement]:
        """To be called after each step of the optimiser; the verdicts, where this is a step at which they are tried."""
        self.taken += 1
        return self.check() if self.taken % self.every == 0 else []

    def check(self) -> list[Judgement]:
        """Try every property now."""
        with torch.random.fork_rng(), torch.enable_grad():
            subject = detect(self._factory, copy.deepcopy(self.model), type(self.model).__name__, *self._sizes)
            found = [judge(BARE[name], Check(), subject, Effort()) for name in self.properties]
        for judgement in found:
            self._note(judgement)
        return found

    def _note(self, judgement: Judgement) -> None:
        name, before = judgement.name, self.judgements.get(judgement.name)
        self.judgements[name] = judgement
        holds = judgement.verdict in ("pass", "skipped")
        held = before is None or before.verdict in ("pass", "skipped")
        if holds != held:
            last = f" (it held at step {self.held_at[name]:,})" if name in self.held_at else ""
            what = "holds again" if holds else f"does not hold{last}"
            self._report(f"step {self.taken:,}: {name} {what}: {judgement.reason}")
            detail = {"property": name, "verdict": judgement.verdict, "held_at": self.held_at.get(name)}
            self._recorder.event(self.taken, EVENT, {**detail, "reason": judgement.reason})
        if holds:
            self.held_at[name] = self.taken
