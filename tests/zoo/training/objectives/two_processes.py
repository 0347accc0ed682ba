"""Trains a tiny hybrid on a memory task with however many processes run this, and writes what it measured."""

import json
import sys
from pathlib import Path

from cortexzoo.specs.objective import InChunkDivergence, InChunkSamples, Recall, Stage
from cortexzoo.specs.recipe import EveryInterval
from cortexzoo.specs.sleep import ReplaySleep
from cortexzoo.zoo.training.ranks import leave_group
from tests.zoo.training.objectives.tiny import STAGES, tiny_experiment, tiny_trainer
from tests.zoo.training.tiny import Notebook

GUARDED = Recall(
    stages=(Stage(gaps=(2,), tokens_per_step=64),),
    bptt_chunks=2,
    recompute_activations=True,
    in_chunk=InChunkSamples(documents=1),
)


def main(out: Path) -> None:
    notebook = Notebook()
    # Documents of gap 1 are two a step, and rows of the memory fewer than the batch that processes share out.
    experiment = tiny_experiment(
        Recall(stages=STAGES, in_chunk=InChunkDivergence(sequences=2)),
        consolidation=EveryInterval(every=1),
        sleep=ReplaySleep(every=3, steps=2),
        accumulation=2,
    )
    trainer = tiny_trainer(experiment, notebook=notebook)
    result = trainer.run()
    trainer.save(out / "last")
    again = tiny_trainer(experiment)
    again.load(out / "last")
    assert all((tensor == trainer.memory.tensors()[name]).all() for name, tensor in again.memory.tensors().items())
    guarded = tiny_trainer(tiny_experiment(GUARDED, steps=2))
    assert guarded.run().steps_taken == 2
    if trainer.ranks.is_main:
        found = {"rows": notebook.rows, "recall": result.recall, "processes": trainer.ranks.count}
        (out / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave_group()
