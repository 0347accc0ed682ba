"""Trains a tiny CortexGPT with however many processes run this, and writes what it measured to a folder."""

import json
import sys
from pathlib import Path

import torch

from cortexzoo.specs.memory import MemorySpec, ProjectedReadOut, RawRing, ShortTermRing
from cortexzoo.specs.recipe import AdamWSpec, EveryInterval, MonitorSpec
from cortexzoo.specs.variant import ColumnsSpec, CortexGPTSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy, Step
from cortexzoo.zoo.training.ranks import leave_group
from tests.zoo.training.tiny import At, Notebook, PoisonedLoss, tiny_data, tiny_spec


class PoisonedVocabulary(PoisonedLoss):
    """Makes the loss NaN on the second process only, where there is one."""

    def batch_ready(self, trainer: TrainingLoop, step: Step) -> None:
        if step.number in self.steps and trainer.ranks.rank == trainer.ranks.count - 1:
            bias = trainer.model.vocabulary.bias
            self.clean = bias.detach().clone()
            bias.data[0] = float("nan")

    def step_refused(self, trainer: TrainingLoop, step: Step) -> None:
        if self.clean is not None:
            trainer.model.vocabulary.bias.data.copy_(self.clean)
            self.clean = None


def refuse_on_the_last_process(trainer: TrainingLoop, step: Step) -> None:
    """A decision that only one process makes."""
    if trainer.ranks.rank == trainer.ranks.count - 1:
        step.refuse("this process does not want to")


def main(out: Path) -> None:
    long_term = RawRing(code_size=4, top_k=2, capacity=12, writes=5)
    # Dropout draws other numbers on another process: without it the two runs are the same sum in another order.
    short_term = ShortTermRing(capacity=6, carry_over=True, read_out=ProjectedReadOut(dropout=0.0))
    variant = CortexGPTSpec(
        name="tiny", hidden_size=8, columns=ColumnsSpec(num_columns=2),
        memory=MemorySpec(short_term=short_term, long_term=long_term),
    )  # fmt: skip
    spec = tiny_spec(
        steps=10, accumulation=2, optimizer=AdamWSpec(learning_rate=0.01), consolidation=EveryInterval(every=2),
        monitor=MonitorSpec(probe_every=2, validate_every=5, checkpoint_every=5),
    )  # fmt: skip
    torch.manual_seed(0)
    policies: list[Policy] = [PoisonedVocabulary({4}), At("gradients_known", {7}, refuse_on_the_last_process)]
    notebook = Notebook()
    trainer = TrainingLoop(
        build_model(variant), spec, tiny_data(), recorder=notebook, checkpoints=out / "checkpoints", policies=policies
    )
    result = trainer.run()
    again = TrainingLoop(build_model(variant), spec, tiny_data(), policies=policies)
    again.load(out / "checkpoints" / "last")
    assert again.position == 10
    assert all(torch.equal(a, b) for a, b in zip(again.model.parameters(), trainer.model.parameters(), strict=True))
    assert all(torch.equal(t, trainer.memory.tensors()[n]) for n, t in again.memory.tensors().items())
    if trainer.ranks.is_main:
        found = {"rows": notebook.rows, "refused": result.steps_refused, "processes": trainer.ranks.count}
        (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave_group()
