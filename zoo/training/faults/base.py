"""What all injected faults have in common: each happens once, at its step, and is recorded first."""

from abc import abstractmethod
from typing import Generic, TypeVar

from cortexzoo.specs.fault import FaultBase
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer

SpecT = TypeVar("SpecT", bound=FaultBase)

INJECTED = "fault_injected"
MISSED = "fault_missed"


class InjectedFault(Policy, Generic[SpecT]):
    """One fault of a run. It stands before every guard, so that they see what it did.

    It is injected once: a rollback goes back in training, but the numbers of the steps continue.
    """

    def __init__(self, label: str, spec: SpecT) -> None:
        self.name = f"fault/{label}"
        self.label = label
        self.spec = spec
        self.here = False
        """Whether it happens in the current step."""

    def batch_ready(self, trainer: Trainer, step: Step) -> None:
        self.here = step.number == self.spec.step
        if self.here:
            self.record(trainer, step, INJECTED)

    def record(self, trainer: Trainer, step: Step, event: str, **detail: object) -> None:
        """One event, under the number of the damaged step."""
        if trainer.ranks.is_main:
            trainer.recorder.event(step.number, event, {"fault": self.label, **_size(self.spec), **detail})


class FaultAfterStep(InjectedFault[SpecT]):
    """A fault in what a step leaves behind, whether it was taken or refused."""

    @abstractmethod
    def inject(self, trainer: Trainer, step: Step) -> None:
        """Do it."""

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if self.here:
            self.inject(trainer, step)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        self.step_taken(trainer, step)


def _size(spec: FaultBase) -> dict[str, object]:
    """Kind and size of a fault, without what it declares."""
    own = {name: value for name, value in spec.model_dump().items() if name not in FaultBase.model_fields}
    return {name: value for name, value in own.items() if value is not None}
