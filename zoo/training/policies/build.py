"""The policies that every training run has, in the order in which they act."""

from collections.abc import Sequence
from pathlib import Path

from cortexzoo.specs import guards as kinds
from cortexzoo.specs.plasticity import UsageTargets
from cortexzoo.specs.plugins import built_by, is_added
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.specs.sleep import NoSleep
from cortexzoo.zoo.training.objectives.base import Objective
from cortexzoo.zoo.training.policies.base import Policy, Trainer
from cortexzoo.zoo.training.policies.checkpointing import KeepCheckpoints
from cortexzoo.zoo.training.policies.consolidation import Consolidation
from cortexzoo.zoo.training.policies.guards.adagc import AdaGC
from cortexzoo.zoo.training.policies.guards.adaptive_clipping import AdaptiveClipping
from cortexzoo.zoo.training.policies.guards.agc import AGC
from cortexzoo.zoo.training.policies.guards.gates import BatchGate, FiniteGate
from cortexzoo.zoo.training.policies.guards.norm_clipping import NormClipping
from cortexzoo.zoo.training.policies.guards.post_mortem import PostMortem
from cortexzoo.zoo.training.policies.guards.recovery import Recovery
from cortexzoo.zoo.training.policies.guards.spike_rules import AverageRatio, RobustDeviation, SpikeCount
from cortexzoo.zoo.training.policies.guards.spikes import SpikeGuard
from cortexzoo.zoo.training.policies.guards.updates import UpdateGuard
from cortexzoo.zoo.training.policies.guards.zclip import ZClip
from cortexzoo.zoo.training.policies.homeostasis import Homeostasis
from cortexzoo.zoo.training.policies.measuring.probe import Probe
from cortexzoo.zoo.training.policies.measuring.progress import ProgressReport
from cortexzoo.zoo.training.policies.measuring.recording import Recording
from cortexzoo.zoo.training.policies.measuring.stability import StabilityMonitor, UpdateSize
from cortexzoo.zoo.training.policies.measuring.telemetry import Telemetry
from cortexzoo.zoo.training.policies.measuring.validation import Validation
from cortexzoo.zoo.training.schedule import warmup_steps
from cortexzoo.zoo.training.sleep.policy import Sleep
from cortexzoo.zoo.training.sleep.score import Score


def build_policies(
    recipe: RecipeSpec,
    seed: int,
    objective: Objective,
    *,
    checkpoints: Path | None,
    refused_batches: Path | None,
    progress: bool,
    further: Sequence[Policy] = (),
) -> list[Policy]:
    """All policies of a run, in the order in which they act; checkpoints and refused batches only in given folders.

    The gates come first, then spikes, then `further`; sleep comes when the step's own weights and memory are final,
    recovery when nothing changes them any more, the recorder after every measurement, checkpoints when everything is
    recorded.
    """
    monitor = recipe.monitor
    recovery = Recovery(recipe.recovery) if isinstance(recipe.recovery, kinds.RecoveryCheckpoints) else None
    on_disk = recovery if recovery is not None and recovery.spec.on_disk else None
    validation = Validation(monitor.validate_every, recipe.steps)
    report = ProgressReport(recipe.steps) if progress else None
    probe = Probe(
        objective.probe(), monitor.probe_every, monitor.swing_window, warmup_steps(recipe.schedule, recipe.steps)
    )
    post_mortem = PostMortem(refused_batches, monitor.refused_batches) if refused_batches else None
    keep = None
    if checkpoints is not None:
        keep = KeepCheckpoints(checkpoints, validation, monitor.checkpoint_every, monitor.keep_last, on_disk)
    ordered: list[Policy | None] = [
        BatchGate(),
        FiniteGate(may_roll_back=recovery is not None),
        spike_guard(recipe.spikes, may_roll_back=recovery is not None),
        *further,
        clipping(recipe.clipping),
        update_guard(recipe.spikes) if recovery is not None else None,
        UpdateSize(monitor.probe_every),
        Homeostasis(recipe.homeostasis) if isinstance(recipe.homeostasis, UsageTargets) else None,
        Consolidation(recipe.consolidation, seed),
        *objective.step_policies,
        sleep(recipe, seed, objective, report),
        *objective.weight_policies,
        recovery,
        post_mortem,
        StabilityMonitor(),
        Telemetry(),
        *objective.policies,
        probe,
        validation,
        Recording(),
        keep,
        report,
    ]
    return [policy for policy in ordered if policy is not None]


def clipping(spec: kinds.ClippingSpec) -> Policy | None:
    """The policy of a clipping kind; None: gradients are used as they are."""
    if is_added(spec):
        policy: Policy = built_by(spec)(spec)
        return policy
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


def update_guard(spec: kinds.SpikeSpec) -> UpdateGuard | None:
    """The policy that undoes updates out of proportion; None: the kind of spike detection has none."""
    if not isinstance(spec, kinds.RobustDeviation):
        return None
    return UpdateGuard(spec.update_factor, spec.window, spec.min_history)


def sleep(recipe: RecipeSpec, seed: int, objective: Objective, report: ProgressReport | None) -> Sleep | None:
    """The policy of a kind of sleep; None: the recipe never sleeps."""
    if isinstance(recipe.sleep, NoSleep):
        return None
    progress = {} if report is None else {"progress": report.asleep}

    def score(trainer: Trainer) -> Score:
        return Score.of(objective.held_out(trainer))

    return Sleep(recipe.sleep, seed, score, **progress)
