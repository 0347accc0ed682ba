"""Defects of training: checkpoints that forget, gates that let through, losses that measure something else."""

from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.mutants.base import (
    Host,
    Make,
    Mutant,
    after,
    before,
    in_source,
    instead,
    rebound,
    replaced,
)
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.training.evaluation import lm_loss
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.protection import ATensorAWeight
from cortexzoo.zoo.training.optimizer import set_rate
from cortexzoo.zoo.training.policies import build
from cortexzoo.zoo.training.policies.base import Policy, Step
from cortexzoo.zoo.training.policies.guards.gates import FiniteGate
from cortexzoo.zoo.training.policies.guards.spike_rules import RobustDeviation
from cortexzoo.zoo.training.state import snapshot

HOST: Host = "cortexgpt"
JUMP = range(100, 104)


def _counts_refusals(trainer: TrainingLoop, moment: str, step: Step) -> None:
    if moment == "step_refused":
        trainer.taken += 1


def _position_lost(original: Any) -> Any:
    return lambda self, _position, taken, refused, state: original(self, 0, taken, refused, state)


def _schedule_lost(original: Any) -> Any:
    return lambda self, position, _taken, refused, state: original(self, position, 0, refused, state)


def _gate_lost(original: Any) -> Any:
    def defective(self: TrainingLoop, *arguments: Any) -> None:
        original(self, *arguments)
        for policy in self.policies:
            if isinstance(policy, FiniteGate):
                policy.__dict__["gradients_known"] = lambda *_: None

    return defective


def _weightless(original: Any) -> Any:
    def defective(tensors: Any) -> Any:
        return original({n: t.bfloat16().to(t.dtype) if t.is_floating_point() else t for n, t in tensors.items()})

    return defective


def _hides_nan(trainer: TrainingLoop) -> None:
    for parameter in trainer.trainable:
        if parameter.grad is not None:
            parameter.grad.nan_to_num_(0.0, 0.0, 0.0)


def _steps_anyway(gate: FiniteGate, trainer: TrainingLoop, step: Step) -> None:
    if step.gradient_norm != step.gradient_norm:
        _hides_nan(trainer)
        trainer.optimizer.step()


def _keeps_memory(gate: FiniteGate, trainer: TrainingLoop, step: Step) -> None:
    if step.gradient_norm != step.gradient_norm and step.state is not None:
        trainer.memory = step.state


def _unshifted(model: nn.Module, tokens: Tensor, state: Any = None, disabled: Any = ()) -> Any:
    output = model(tokens[:, :-1], state, disabled)
    return nn.functional.cross_entropy(output.logits.flatten(0, 1), tokens[:, :-1].flatten()), output


def _in_bits() -> Make:
    return after(lambda result, *_: (result[0] / torch.log(torch.tensor(2.0)), result[1]))


def _summed_over_rows() -> Make:
    return after(lambda result, _model, tokens, *_: (result[0] * len(tokens), result[1]))


def _without_update(self: TrainingLoop, step: Step) -> None:
    assert step.state is not None
    self.memory, self.taken = step.state, self.taken + 1


def _jump(original: Any) -> Any:
    """The rate × 300 for a few steps, in the middle of training."""
    calls = 0

    def defective(optimizer: Any, rate: float) -> None:
        nonlocal calls
        calls += 1
        original(optimizer, rate * 300 if calls in JUMP else rate)

    return defective


def _fresh_memory(model: Any, reader: Any, tensors: Any) -> Any:
    saved = _memory(model, reader, tensors)
    rows = saved.short_term.keys.shape[0]
    return model.initial_state(rows)


_memory = snapshot._memory

_PROTECTED = (
    "        *objective.step_policies,\n        sleep(recipe, seed, objective, report),\n"
    "        *objective.weight_policies,\n        recovery,\n",
    "        sleep(recipe, seed, objective, report),\n        recovery,\n"
    "        *objective.step_policies,\n        *objective.weight_policies,\n",
)
"""The order in which policies act, and one in which those that protect act too late."""

TRAINING_MUTANTS = (
    Mutant("moments-not-saved", HOST, "checkpoints leave the optimiser's moments out",
           replaced(snapshot, "optimizer_tensors", instead(lambda _trainer: {})), caught_by="resume_is_exact"),
    Mutant("random-state-not-restored", HOST, "a resumed run draws other random numbers",
           replaced(snapshot, "set_random_state", instead(lambda *_: None)), caught_by="resume_is_exact"),
    Mutant("guard-history-lost", HOST, "the spike guard starts empty after a resume",
           replaced(RobustDeviation, "set_history", instead(lambda self, history: None)), caught_by="resume_is_exact"),
    Mutant("position-lost", HOST, "a resumed run starts the data again",
           replaced(TrainingLoop, "resume_from", _position_lost), caught_by="resume_is_exact"),
    Mutant("schedule-lost", HOST, "a resumed run starts the schedule again",
           replaced(TrainingLoop, "resume_from", _schedule_lost), caught_by="resume_is_exact"),
    Mutant("memory-not-restored", HOST, "a resumed run begins with an empty memory",
           replaced(snapshot, "_memory", instead(_fresh_memory)), caught_by="resume_is_exact"),
    Mutant("checkpoint-in-half-precision", HOST, "checkpoints are rounded to bfloat16",
           rebound(checkpoints.encode_tensors, _weightless), caught_by="resume_is_exact"),
    Mutant("refused-counts-as-taken", HOST, "skipped steps move the schedule on",
           replaced(TrainingLoop, "_notify", before(_counts_refusals)), caught_by="refusals_leave_no_trace"),
    Mutant("no-finite-gate", HOST, "no check that numbers are finite",
           replaced(FiniteGate, "_look_at", instead(lambda *_: None)), caught_by="refusals_leave_no_trace"),
    Mutant("gate-looks-at-the-loss-only", HOST, "gradients that are not finite pass the gate",
           replaced(FiniteGate, "gradients_known", instead(Policy.gradients_known)),
           caught_by="refusals_leave_no_trace"),
    Mutant("nan-becomes-zero", HOST, "gradients that are not finite are set to 0 before anyone looks",
           replaced(TrainingLoop, "_gradient_norm", before(_hides_nan)), caught_by="refusals_leave_no_trace"),
    Mutant("refusal-moves-moments", HOST, "the optimiser steps before the gate refuses",
           replaced(FiniteGate, "gradients_known", before(_steps_anyway)), caught_by="refusals_leave_no_trace"),
    Mutant("refusal-keeps-memory", HOST, "the memory of a refused step stays",
           replaced(FiniteGate, "gradients_known", before(_keeps_memory)), caught_by="refusals_leave_no_trace"),
    Mutant("gate-lost-on-loading", HOST, "gradients are not checked after a checkpoint was loaded",
           replaced(TrainingLoop, "load", _gate_lost), caught_by="any_order_works"),
    Mutant("unshifted-loss", HOST, "the loss compares with the token that was given",
           rebound(lm_loss, instead(_unshifted)), caught_by="loss_is_of_the_next_token"),
    Mutant("loss-in-bits", HOST, "the loss is in bits and called nats", rebound(lm_loss, _in_bits()),
           caught_by="loss_is_of_the_next_token"),
    Mutant("loss-grows-with-the-batch", HOST, "the loss is summed over rows", rebound(lm_loss, _summed_over_rows())),
    in_source("kept-before-protection", "continual", "a recovery point has weights before importance holds them back",
              build, "build_policies", *_PROTECTED, by="continual_training_follows_its_rules"),
    in_source("importance-stays", "continual", "a rollback leaves what is known of importance and the slow copy",
              ATensorAWeight, "__init__", "(self.name,)", "()", by="continual_training_follows_its_rules"),
    Mutant("updates-never-applied", HOST, "steps are counted and weights stay",
           replaced(TrainingLoop, "_update", instead(_without_update)), trains=True),
    Mutant("rate-jumps", HOST, "the learning rate is 300 times too high for four steps",
           rebound(set_rate, _jump), trains=True),
)  # fmt: skip
