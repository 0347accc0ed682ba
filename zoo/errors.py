"""What may go wrong with data, models, checkpoints and training. Every message is one line."""

from cortexzoo.specs.errors import Failure, UserError


class DataError(UserError):
    """Data that cannot be used: which file and where, what is required, what was found."""


class BackboneError(UserError):
    """A base that cannot be loaded or used: which, what is required, what was found, what to do."""


class OwnModuleError(UserError):
    """A module of the user's that cannot be built or called: which function, what is required, what it gave."""


class CostsUnknown(UserError):
    """What a model costs cannot be counted before it is trained."""


class NonFiniteLogits(Failure):
    """No token can be chosen: the model's logits are not finite. -inf for some tokens is allowed: never chosen."""


class TrainingError(UserError):
    """Training cannot start or continue."""


class SetupError(TrainingError):
    """Model, recipe and machine do not fit together."""


class TrainingStopped(TrainingError, Failure):
    """Training ended for numeric reasons at `step`, because of `cause`."""

    def __init__(self, step: int, cause: str) -> None:
        super().__init__(f"stopped at step {step}: {cause}")
        self.step = step
        self.cause = cause

    def __reduce__(self) -> tuple[type["TrainingStopped"], tuple[int, str]]:
        """From step and cause: the default would call the class with the message alone."""
        return type(self), (self.step, self.cause)


class ProcessLost(TrainingError, Failure):
    """Another process of the same run has ended, so that this one cannot continue."""


class CheckpointError(TrainingError, Failure):
    """A checkpoint that cannot be written or read. Whatever was there before is intact."""
