"""Handing each finished step to the recorder, before a checkpoint can include the step."""

from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


class Recording(Policy):
    """Gives all metrics of a step, taken or refused, to the trainer's recorder; the reason of a refusal is an event."""

    name = "recording"

    def step_taken(self, trainer: Trainer, step: Step) -> None:
        if trainer.ranks.is_main:
            trainer.recorder.metrics(step.number, step.metrics)

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        trainer.event("step_refused", {"reason": step.refused})
        self.step_taken(trainer, step)
