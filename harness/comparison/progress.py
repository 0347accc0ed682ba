"""How far runs are that other processes train, read from their folders: they need not tell."""

from collections.abc import Sequence
from pathlib import Path

from harness.run_folder import MANIFEST, Run, RunFolderError
from harness.tracking.jsonl import METRICS
from harness.tracking.tail import Tail
from specs import ExperimentSpec


class StepsTaken:
    """Counts the steps of runs that begin after this was made, of the given experiments only."""

    def __init__(self, runs: Path, experiments: Sequence[ExperimentSpec]) -> None:
        self.total = sum(experiment.recipe.steps for experiment in experiments)
        self._hashes = {experiment.hash() for experiment in experiments}
        self._folders = {runs / experiment.name for experiment in experiments}
        self._passed_over = self._there()
        self._tails: dict[Path, Tail] = {}
        self._steps: dict[Path, int] = {}

    def look(self) -> int:
        """Steps so far, all runs together."""
        for folder in self._there() - self._passed_over - self._tails.keys():
            self._meet(folder)
        for folder, tail in self._tails.items():
            if lines := tail.lines():
                self._steps[folder] = int(lines[-1]["step"])
        return sum(self._steps.values())

    def _there(self) -> set[Path]:
        return {manifest.parent for folder in self._folders for manifest in folder.glob(f"*/{MANIFEST}")}

    def _meet(self, folder: Path) -> None:
        try:
            ours = Run(folder).manifest.get("spec_hash") in self._hashes
        except RunFolderError:
            return
        if ours:
            self._tails[folder] = Tail(folder / METRICS)
        else:
            self._passed_over.add(folder)
