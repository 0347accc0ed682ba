"""The policies that every training run has, in the order in which they act."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from specs.recipe import NormClipping, RecipeSpec
from zoo.data.order import cut_windows
from zoo.data.text import TextData
from zoo.training.clipping import GradientClipping
from zoo.training.consolidation import Consolidation
from zoo.training.finite_gate import FiniteGate
from zoo.training.keeping import KeepCheckpoints
from zoo.training.policy import Policy
from zoo.training.probe import Probe
from zoo.training.progress import ProgressReport
from zoo.training.recording import Recording
from zoo.training.schedule import warmup_steps
from zoo.training.telemetry import Telemetry
from zoo.training.validation import Validation


@dataclass(frozen=True)
class Policies:
    """The built-in policies of one run."""

    finite_gate: FiniteGate
    clipping: GradientClipping | None
    consolidation: Consolidation
    telemetry: Telemetry
    probe: Probe
    validation: Validation
    recording: Recording
    checkpoints: KeepCheckpoints | None
    progress: ProgressReport | None

    @classmethod
    def for_recipe(
        cls, recipe: RecipeSpec, seed: int, data: TextData, checkpoints: Path | None, progress: bool
    ) -> Self:
        """What `recipe` asks for; checkpoints are kept only in a given folder."""
        monitor, length = recipe.monitor, recipe.sequence_length
        clipping = GradientClipping(recipe.clipping.max_norm) if isinstance(recipe.clipping, NormClipping) else None
        starts = data.validation_starts(length, monitor.validation_sequences)
        batches = [
            cut_windows(data.validation, starts[first : first + recipe.batch_size], length)
            for first in range(0, len(starts), recipe.batch_size)
        ]
        validation = Validation(batches, monitor.validate_every, recipe.steps)
        probed = cut_windows(data.validation, data.validation_starts(length, recipe.batch_size), length)
        return cls(
            finite_gate=FiniteGate(),
            clipping=clipping,
            consolidation=Consolidation(recipe.consolidation, seed),
            telemetry=Telemetry(),
            probe=Probe(probed, monitor.probe_every, monitor.swing_window, warmup_steps(recipe.schedule, recipe.steps)),
            validation=validation,
            recording=Recording(),
            checkpoints=KeepCheckpoints(checkpoints, validation, monitor.checkpoint_every) if checkpoints else None,
            progress=ProgressReport(recipe.steps) if progress else None,
        )

    def around(self, further: Sequence[Policy]) -> list[Policy]:
        """All policies in order: the finite gate first, `further` ones next, the recorder after every measurement."""
        ordered: list[Policy | None] = [
            self.finite_gate, *further, self.clipping, self.consolidation, self.telemetry, self.probe, self.validation,
            self.recording, self.checkpoints, self.progress,
        ]  # fmt: skip
        present = [policy for policy in ordered if policy is not None]
        names = [policy.name for policy in present]
        assert len(names) == len(set(names)), f"policy names must differ: {names}"
        return present
