"""Defects of the guards around a loop of one's own."""

from cortexzoo.harness.checking.mutants.base import Mutant, in_source
from cortexzoo.specs.properties import PropertyName
from cortexzoo.zoo.training.own_loop import LoopGuard

FOLLOWS: PropertyName = "own_loop_follows_its_guards"

OWN_LOOP_MUTANTS: tuple[Mutant, ...] = (
    in_source("own-loop-refused-stays", "transformer", "gradients of a refused step stay and are added to the next",
              LoopGuard, "step", "self.optimizer.zero_grad(set_to_none=True)",
              "step.refused or self.optimizer.zero_grad(set_to_none=True)", by=FOLLOWS),
    in_source("own-loop-steps-anyway", "transformer", "the optimiser takes steps that are refused", LoopGuard, "step",
              "self.refused += 1", "self.refused += 1; self._take_step()", by=FOLLOWS),
    in_source("own-loop-copies-late", "transformer", "a copy to return to is taken a step too late", LoopGuard, "_due",
              ">= self.recovery.every", "> self.recovery.every", by=FOLLOWS),
    in_source("own-loop-copies-when-refused", "transformer", "a refused step counts as taken", LoopGuard, "step",
              "self.refused += 1", "self.refused += 1; self.taken += 1", by=FOLLOWS),
    in_source("own-loop-keeps-moments", "transformer", "a rollback leaves the optimiser as it was", LoopGuard,
              "_roll_back", "self.optimizer.load_state_dict(copy.deepcopy(then.optimizer))", "pass", by=FOLLOWS),
    in_source("own-loop-keeps-the-schedule", "transformer", "a rollback leaves the schedule where it was", LoopGuard,
              "_roll_back", "other.load_state_dict(copy.deepcopy(state))", "pass", by=FOLLOWS),
    in_source("own-loop-keeps-histories", "transformer", "a rollback leaves what the guards have learnt", LoopGuard,
              "_roll_back", "recover(policy, cast(Any, self), then.policies[policy.name], {})", "pass", by=FOLLOWS),
    in_source("own-loop-rates-a-step-behind", "transformer", "the copy of the schedule is from before its step",
              LoopGuard, "_copy_rates", "and self._rates_are_due", "and not self._rates_are_due", by=FOLLOWS),
    in_source("own-loop-endless-storm", "transformer", "a storm of rollbacks ends nothing", LoopGuard, "_roll_back",
              "if len(self._rollback_steps) >= spec.storm_limit:", "if len(self._rollback_steps) < 0:", by=FOLLOWS),
    in_source("own-loop-forgets-rollbacks", "transformer", "what is saved has no rollbacks", LoopGuard, "state_dict",
              '"rollbacks": self.rollbacks}', '"rollbacks": 0}', by=FOLLOWS),
    in_source("own-loop-forgets-storms", "transformer", "what is saved does not say when it was rolled back", LoopGuard,
              "state_dict", "list(self._rollback_steps)", "[]", by=FOLLOWS),
    in_source("own-loop-last-of-two", "transformer", "of two micro-batches the last one's loss counts", LoopGuard,
              "_guarded_step", "fmean(observed)", "observed[-1]", by=FOLLOWS),
)  # fmt: skip
