"""The experiments that are trained on a card that is not there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.runs.train import subject_of, train_run
from cortexzoo.specs import load
from cortexzoo.zoo.build import build_trainer
from tests.zoo.training.tiny import Notebook

STEPS, HALF = 6, 3
MONITOR = (
    *(f"recipe.steps={STEPS}", f"recipe.monitor.validate_every={HALF}", f"recipe.monitor.checkpoint_every={HALF}"),
    *("recipe.monitor.probe_every=3", "recipe.monitor.validation_sequences=4", "recipe.monitor.keep_last=2"),
)
EXPERIMENTS = {
    "cortexgpt-stable": (
        *("variant.hidden_size=16", "variant.columns.num_columns=2", "recipe.sequence_length=32"),
        *("recipe.consolidation.every=2", "recipe.accumulation=2", "recipe.sleep={kind: replay, every: 2, steps: 1}"),
    ),
    "cortexgpt-original": (
        *("variant.hidden_size=16", "variant.columns.num_columns=4", "recipe.sequence_length=16"),
        *("recipe.batch_size=4", "recipe.consolidation={kind: interval, every: 2}"),
    ),
    "cortex-v2-hybrid": (
        *("variant=cortex-v2-hybrid-scratch", "variant.backbone.architecture.vocab_size=512"),
        *("variant.backbone.architecture.hidden_size=16", "variant.backbone.architecture.num_layers=1"),
        *("variant.mixer.head_dim=8", "recipe.batch_size=4", "recipe.sleep.every=2", "recipe.sleep.steps=1"),
        "recipe.objective.in_chunk={kind: none}",
        "recipe.objective.stages=[{gaps: [0, 1], tokens_per_step: 1024, samples_per_gap: 2}]",
    ),
}


def judged(name: str, properties: Sequence[str], folder: Path) -> dict[str, Any]:
    """By property its verdict, and why."""
    experiment = load(name, "experiment", [*EXPERIMENTS[name], *MONITOR, "trackers=[jsonl]"])
    subject, checks = subject_of(train_run(experiment, folder)), experiment.suite.properties
    found = [judge(REGISTRY[each], checks[each], subject) for each in properties]
    return {each.name: f"{each.verdict}: {each.reason}" for each in found}


def trained(name: str, folder: Path) -> dict[str, Any]:
    """Where it ran, its losses, and those of its second half again, resumed from its first."""
    spec = load(name, "experiment", [*EXPERIMENTS[name], *MONITOR])
    checkpoints = folder / name / "checkpoints"
    notebook = Notebook()
    trainer = build_trainer(spec, recorder=notebook, folder=checkpoints)
    trainer.run()
    again = Notebook()
    resumed = build_trainer(spec, recorder=again, folder=folder / name / "again")
    resumed.load(checkpoints / f"step-{HALF:08d}")
    resumed.run()
    return {
        "device": trainer.device.type,
        "losses": list(notebook.column("train/loss").values()),
        "validation": list(notebook.column("validation/loss").values()),
        "resumed": list(again.column("train/loss").values()),
    }
