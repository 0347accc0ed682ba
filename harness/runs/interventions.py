"""What is done to a run on purpose: faults that are injected, and guards that are taken away to see their worth."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from cortexzoo.harness.runs.run_folder import FAULTS, Run
from cortexzoo.harness.tracking.base import CompositeRecorder
from cortexzoo.harness.tracking.raising import RaisingSink
from cortexzoo.specs import FaultsSpec
from cortexzoo.specs.fault import TrackerError
from cortexzoo.zoo.training.faults.injection import inject
from cortexzoo.zoo.training.loop import TrainingLoop

GUARDS_OFF = (
    "recipe.clipping={kind: none}",
    "recipe.spikes={kind: none}",
    "recipe.recovery={kind: none}",
)
"""Overrides that leave a recipe without guards, those apart that no recipe can switch off."""

ALWAYS_ON = frozenset({"finite_gate", "batch_gate"})
"""The guards that no recipe can switch off, by the names of their policies."""


@dataclass(frozen=True)
class Interventions:
    """Faults to inject, and whether the guards stay that no recipe can switch off.

    `NONE` changes nothing; a run with anything else stands for no experiment.
    """

    faults: FaultsSpec | None = None
    guards: bool = True

    def apply(self, trainer: TrainingLoop) -> None:
        """Change `trainer` before it runs, on every process.

        Raises `SpecError` when a fault is due after the last step, or a process that there is not.
        """
        if not self.guards:
            trainer.policies = [policy for policy in trainer.policies if policy.name not in ALWAYS_ON]
        if self.faults is not None:
            inject(trainer, self.faults)

    def record(self, run: Run, recorder: CompositeRecorder) -> None:
        """Write the faults beside the run's spec, and let trackers raise whose fault it is. Raises `RunStopped`."""
        if self.faults is None:
            return
        run.write_spec(FAULTS, self.faults)
        for fault in self.faults.faults.values():
            if isinstance(fault, TrackerError):
                recorder.attach(RaisingSink.name, partial(RaisingSink, fault.step))

    def as_json(self) -> dict[str, Any]:
        """For the manifest."""
        return {"faults": None if self.faults is None else self.faults.hash(), "guards": self.guards}


NONE = Interventions()
