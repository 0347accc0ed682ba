"""How far runs are that other processes train, read from their folders."""

from collections.abc import Sequence
from pathlib import Path

from cortexzoo.harness.runs.find import unfinished_runs
from cortexzoo.harness.runs.run_folder import MANIFEST, Run, RunFolderError
from cortexzoo.harness.tracking.jsonl import METRICS
from cortexzoo.harness.tracking.tail import Tail
from cortexzoo.specs import ExperimentSpec


class StepsTaken:
    """Counts the steps of runs that begin after this was made, or continue, of the given experiments only."""

    def __init__(self, runs: Path, experiments: Sequence[ExperimentSpec]) -> None:
        self.total = sum(experiment.recipe.steps for experiment in experiments)
        self._hashes = {experiment.hash() for experiment in experiments}
        self._folders = {runs / experiment.name for experiment in experiments}
        self._known = self._there()
        self._tails: dict[str, Tail] = {}
        """Of the newest run of each experiment, by its hash."""
        self._steps: dict[str, int] = {}
        cut_short = [next(unfinished_runs(runs, experiment), None) for experiment in experiments]
        self.to_go_on = sum(run is not None for run in cut_short)
        """So many of them were started before."""
        for run in cut_short:
            if run is not None:
                self._meet(run.path)

    def look(self) -> int:
        """Steps so far, all runs together."""
        for folder in sorted(self._there() - self._known):
            self._known.add(folder)
            self._meet(folder)
        for spec_hash, tail in self._tails.items():
            if lines := tail.lines():
                self._steps[spec_hash] = int(lines[-1]["step"])
        return sum(self._steps.values())

    def _there(self) -> set[Path]:
        return {manifest.parent for folder in self._folders for manifest in folder.glob(f"*/{MANIFEST}")}

    def _meet(self, folder: Path) -> None:
        try:
            spec_hash = str(Run(folder).manifest.get("spec_hash"))
        except RunFolderError:
            return
        if spec_hash in self._hashes:
            self._tails[spec_hash] = Tail(folder / METRICS)
            self._steps[spec_hash] = 0
