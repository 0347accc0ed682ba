"""Writing out the batch of a refused step, so that one can look at what hurt."""

import json
import math
from pathlib import Path

from cortexzoo.zoo.checkpoints import encode_tensors
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer


class PostMortem(Policy):
    """Writes `step-<number>.safetensors` (tokens [accumulation, rows, T + 1]) and `.json` for the first refused steps.

    With several processes each writes its own rows. A file that cannot be written is an event and nothing more.
    """

    name = "post_mortem"

    def __init__(self, folder: Path, at_most: int) -> None:
        self.folder = folder
        self.at_most = at_most

    def step_refused(self, trainer: Trainer, step: Step) -> None:
        rank = trainer.ranks.rank
        name = f"step-{step.number:08d}" if rank == 0 else f"step-{step.number:08d}.rank-{rank}"
        try:
            self._write(name, step, "*.json" if rank == 0 else f"*.rank-{rank}.json")
        except OSError as problem:
            trainer.event("post_mortem_failed", {"problem": problem.strerror or str(problem)})

    def _write(self, name: str, step: Step, pattern: str) -> None:
        assert step.tokens is not None
        written = {path.stem for path in self.folder.glob(pattern) if ".rank-" in pattern or ".rank-" not in path.stem}
        if len(written | {name}) > self.at_most:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        tensors, _ = encode_tensors({"tokens": step.tokens})
        (self.folder / f"{name}.safetensors").write_bytes(tensors)
        numbers = {"loss": step.loss, "gradient_norm": step.gradient_norm, "learning_rate": step.learning_rate}
        content = {
            "step": step.number,
            "reason": step.refused,
            "rollback": step.rollback,
            **{key: value if math.isfinite(value) else str(value) for key, value in numbers.items()},
        }
        (self.folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
