"""What can end training before its last step. Every message is one line."""


class TrainingError(Exception):
    """Training cannot start or go on."""


class SetupError(TrainingError):
    """Model, recipe and machine do not fit together."""


class TrainingStopped(TrainingError):
    """Training was given up for numeric reasons at `step`, because of `cause`."""

    def __init__(self, step: int, cause: str) -> None:
        super().__init__(f"stopped at step {step}: {cause}")
        self.step = step
        self.cause = cause

    def __reduce__(self) -> tuple[type["TrainingStopped"], tuple[int, str]]:
        """Made anew from step and cause: otherwise no process could tell another of it."""
        return type(self), (self.step, self.cause)


class CheckpointError(TrainingError):
    """A checkpoint that cannot be written or read. Whatever was there before is intact."""
