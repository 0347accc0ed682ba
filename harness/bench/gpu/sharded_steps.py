"""Small trainings by FSDP2 with one share, and without, on this process's device; writes their losses.

A recipe refuses FSDP2 with one process, which has nothing to share. Here it is asked for all the same, so that one
card shows whether torch's sharding and gathering run on CUDA and change nothing.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import patch

from cortexzoo.specs import load
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.training import loop
from cortexzoo.zoo.training.objectives.base import Objective
from cortexzoo.zoo.training.ranks import Ranks, leave_group
from cortexzoo.zoo.training.replicated import Model
from cortexzoo.zoo.training.sharded import Sharded

FEW = ("recipe.steps=20", "recipe.monitor.checkpoint_every=10", "recipe.monitor.validate_every=10")
NAMES = {
    "cortexgpt-stable": ("recipe.consolidation.every=5", "recipe.accumulation=2"),
    "cortex-v2-hybrid": (
        *("variant=cortex-v2-hybrid-scratch", "variant.backbone.architecture.vocab_size=512"),
        *("recipe.objective.in_chunk={kind: none}", "recipe.batch_size=8", "recipe.sleep.every=8"),
        "recipe.objective.stages=[{gaps: [0, 1], tokens_per_step: 1024, samples_per_gap: 2}]",
    ),
}


class Losses:
    """A recorder that keeps the losses."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if "train/loss" in values:
            self.found.append(values["train/loss"])

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        pass


def sharded(model: Model, objective: Objective, recipe: RecipeSpec, ranks: Ranks) -> Sharded:
    return Sharded(model, objective, ranks)


def losses(name: str, folder: Path) -> list[float]:
    recorder = Losses()
    build_trainer(load(name, "experiment", [*NAMES[name], *FEW]), recorder=recorder, folder=folder).run()
    return recorder.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    out: Path = parser.parse_args().runs
    found = {}
    for name in NAMES:
        whole = losses(name, out / f"{name}-whole")
        with patch.object(loop, "spread_over", sharded):
            found[name] = (losses(name, out / f"{name}-sharded"), whole)
    (out / "losses.json").write_text(json.dumps(found), encoding="utf-8")
    leave_group()


if __name__ == "__main__":
    main()
