"""Trains tiny models for fifty steps with however many processes run this, and writes their losses to a folder.

Where a checkpoint of another number of processes is given, training also continues from its 25th step.
"""

import json
import os
import sys
from pathlib import Path

from cortexzoo.specs import load
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.parallel import DataParallel, FullySharded
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.training.ranks import leave_group
from tests.zoo.training.tiny import Notebook

STEPS, HALF = 50, 25
NAMES = {
    "cortexgpt-stable": [
        "variant.hidden_size=16", "variant.columns.num_columns=2", "variant.memory.short_term.num_heads=4",
        "variant.memory.short_term.read_out.dropout=0.0", "recipe.sequence_length=32", "recipe.consolidation.every=10",
        "recipe.accumulation=2",
    ],
    "cortex-v2-hybrid": [
        "variant=cortex-v2-hybrid-scratch", "variant.backbone.architecture.vocab_size=512",
        "variant.backbone.architecture.hidden_size=16", "variant.backbone.architecture.num_layers=1",
        "variant.mixer.head_dim=8", "recipe.batch_size=4", "recipe.objective.in_chunk={kind: none}",
        "recipe.objective.stages=[{gaps: [0, 1], tokens_per_step: 1024, samples_per_gap: 2}]", "recipe.sleep.every=20",
        "recipe.sleep.steps=2",
    ],
}  # fmt: skip
MONITOR = (
    *("probe_every=25", "validation_sequences=4", "keep_last=2"),
    *(f"validate_every={HALF}", f"checkpoint_every={HALF}"),
)
KINDS = {"ddp": DataParallel(), "fsdp2": FullySharded()}


def experiment(name: str, kind: str) -> ExperimentSpec:
    changes = [*NAMES[name], f"recipe.steps={STEPS}", *(f"recipe.monitor.{each}" for each in MONITOR)]
    spec = load(name, "experiment", changes)
    return spec.model_copy(update={"recipe": spec.recipe.model_copy(update={"parallel": KINDS[kind]})})


def losses(name: str, kind: str, folder: Path, resumed: Path | None = None) -> dict[int, float]:
    """By step."""
    notebook = Notebook()
    trainer = build_trainer(experiment(name, kind), recorder=notebook, folder=folder / "checkpoints")
    if resumed is not None:
        trainer.load(resumed)
        assert trainer.position == HALF
    trainer.run()
    return {step: row["train/loss"] for step, row in notebook.rows}


def main(out: Path, kinds: list[str], others: Path | None) -> None:
    found = {}
    for name in NAMES:
        for kind in kinds:
            found[f"{name} {kind}"] = losses(name, kind, out / f"{name}-{kind}")
        if others is not None:
            kept = others / f"{name}-ddp" / "checkpoints" / f"step-{HALF:08d}"
            found[f"{name} resumed"] = losses(name, kinds[-1], out / f"{name}-resumed", kept)
    if int(os.environ.get("RANK", "0")) == 0:  # the others record nothing
        (out / "losses.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), ["ddp", "fsdp2"], Path(sys.argv[2]))
    leave_group()
