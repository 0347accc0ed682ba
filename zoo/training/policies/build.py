"""The policies that every training run has, in the order in which they act."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from cortexzoo.specs import guards as kinds
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.sleep import NoSleep
from cortexzoo.zoo.training.objectives.base import Objective
from cortexzoo.zoo.training.policies.base import Policy
from cortexzoo.zoo.training.policies.checkpointing import KeepCheckpoints
from cortexzoo.zoo.training.policies.consolidation import Consolidation
from cortexzoo.zoo.training.policies.guards.adagc import AdaGC
from cortexzoo.zoo.training.policies.guards.adaptive_clipping import AdaptiveClipping
from cortexzoo.zoo.training.policies.guards.agc import AGC
from cortexzoo.zoo.training.policies.guards.average_ratio import AverageRatio
from cortexzoo.zoo.training.policies.guards.batch_gate import BatchGate
from cortexzoo.zoo.training.policies.guards.finite_gate import FiniteGate
from cortexzoo.zoo.training.policies.guards.norm_clipping import NormClipping
from cortexzoo.zoo.training.policies.guards.post_mortem import PostMortem
from cortexzoo.zoo.training.policies.guards.recovery import Recovery
from cortexzoo.zoo.training.policies.guards.robust_deviation import RobustDeviation
from cortexzoo.zoo.training.policies.guards.spike_count import SpikeCount
from cortexzoo.zoo.training.policies.guards.spikes import SpikeGuard
from cortexzoo.zoo.training.policies.guards.zclip import ZClip
from cortexzoo.zoo.training.policies.measuring.probe import Probe
from cortexzoo.zoo.training.policies.measuring.progress import ProgressReport
from cortexzoo.zoo.training.policies.measuring.recording import Recording
from cortexzoo.zoo.training.policies.measuring.stability import StabilityMonitor, UpdateSize
from cortexzoo.zoo.training.policies.measuring.telemetry import Telemetry
from cortexzoo.zoo.training.policies.measuring.validation import Validation
from cortexzoo.zoo.training.schedule import warmup_steps
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.score import Score

if TYPE_CHECKING:
    from cortexzoo.zoo.training.loop import Trainer


@dataclass(frozen=True)
class Policies:
    """The built-in policies of one run."""

    batch_gate: BatchGate
    finite_gate: FiniteGate
    spikes: SpikeGuard
    clipping: Policy | None
    update_size: UpdateSize
    consolidation: Consolidation
    sleep: Sleep | None
    recovery: Recovery | None
    post_mortem: PostMortem | None
    stability: StabilityMonitor
    telemetry: Telemetry
    objective: tuple[Policy, ...]
    probe: Probe
    validation: Validation
    recording: Recording
    checkpoints: KeepCheckpoints | None
    progress: ProgressReport | None

    @classmethod
    def for_recipe(
        cls,
        recipe: RecipeSpec,
        seed: int,
        objective: Objective,
        checkpoints: Path | None,
        refused_batches: Path | None,
        progress: bool,
    ) -> Self:
        """What `recipe` asks for; checkpoints and refused batches are kept only in given folders."""
        monitor = recipe.monitor
        recovery = Recovery(recipe.recovery) if isinstance(recipe.recovery, kinds.RecoveryCheckpoints) else None
        on_disk = recovery if recovery is not None and recovery.spec.on_disk else None
        validation = Validation(monitor.validate_every, recipe.steps)
        report = ProgressReport(recipe.steps) if progress else None
        return cls(
            batch_gate=BatchGate(),
            finite_gate=FiniteGate(may_roll_back=recovery is not None),
            spikes=spike_guard(recipe.spikes, may_roll_back=recovery is not None),
            clipping=clipping(recipe.clipping),
            update_size=UpdateSize(monitor.probe_every),
            consolidation=Consolidation(recipe.consolidation, seed),
            sleep=sleep(recipe, seed, objective, report),
            recovery=recovery,
            post_mortem=PostMortem(refused_batches, monitor.refused_batches) if refused_batches else None,
            stability=StabilityMonitor(),
            telemetry=Telemetry(),
            objective=tuple(objective.policies),
            probe=Probe(
                objective.probe(),
                monitor.probe_every,
                monitor.swing_window,
                warmup_steps(recipe.schedule, recipe.steps),
            ),
            validation=validation,
            recording=Recording(),
            checkpoints=None
            if checkpoints is None
            else KeepCheckpoints(checkpoints, validation, monitor.checkpoint_every, monitor.keep_last, on_disk),
            progress=report,
        )

    def around(self, further: Sequence[Policy]) -> list[Policy]:
        """All policies in order.

        The gates come first, then spikes are told, then `further` ones act; sleep comes when the step's own weights and
        memory are final, recovery when nothing changes them any more, the recorder after every measurement, checkpoints
        when everything is recorded.
        """
        ordered: list[Policy | None] = [
            self.batch_gate, self.finite_gate, self.spikes, *further, self.clipping, self.update_size,
            self.consolidation, self.sleep, self.recovery, self.post_mortem, self.stability, self.telemetry,
            *self.objective, self.probe, self.validation, self.recording, self.checkpoints, self.progress,
        ]  # fmt: skip
        return [policy for policy in ordered if policy is not None]


def clipping(spec: kinds.ClippingSpec) -> Policy | None:
    """The policy of a clipping kind; None: gradients are used as they are."""
    match spec:
        case kinds.NormClipping(max_norm=max_norm):
            return NormClipping(max_norm)
        case kinds.NoClipping():
            return None
        case kinds.AdaptiveClipping():
            return AdaptiveClipping(spec)
        case kinds.ZClip():
            return ZClip(spec)
        case kinds.AdaGC():
            return AdaGC(spec)
        case kinds.AGC():
            return AGC(spec)


def spike_guard(spec: kinds.SpikeSpec, may_roll_back: bool) -> SpikeGuard:
    """The policy of a kind of spike detection."""
    match spec:
        case kinds.NoSpikeDetection():
            return SpikeCount()
        case kinds.AverageRatio():
            return AverageRatio(spec, may_roll_back)
        case kinds.RobustDeviation():
            return RobustDeviation(spec, may_roll_back)


def sleep(recipe: RecipeSpec, seed: int, objective: Objective, report: ProgressReport | None) -> Sleep | None:
    """The policy of a kind of sleep; None: the recipe never sleeps."""
    if isinstance(recipe.sleep, NoSleep):
        return None
    tell = {} if report is None else {"tell": report.asleep}

    def score(trainer: "Trainer") -> Score:
        held_out = objective.held_out(trainer)
        return Score(held_out.loss, held_out.recall)

    return Sleep(recipe.sleep, seed, score, **tell)
