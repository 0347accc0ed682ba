"""Defects of sampling, and of training on one text after another."""

from typing import Any

from cortexzoo.harness.checking.mutants.base import Host, Mutant, in_source
from cortexzoo.zoo import generation
from cortexzoo.zoo.training.objectives.continual import ContinualObjective, EarlierSelf
from cortexzoo.zoo.training.objectives.protection import FollowingSlowly, RatesByImportance
from cortexzoo.zoo.training.objectives.replay import KeptWindows, Replay

HOST: Host = "cortexgpt"
BOTH_TEXTS: Host = "continual"


def _sampled(name: str, defect: str, function: str, old: str, new: str) -> Mutant:
    return in_source(name, HOST, defect, generation, function, old, new, by="sampling_follows_its_settings")


def _continual(name: str, defect: str, owner: Any, function: str, old: str, new: str) -> Mutant:
    return in_source(name, BOTH_TEXTS, defect, owner, function, old, new, by="continual_training_follows_its_rules")


SAMPLING_MUTANTS = (
    _sampled("temperature-upside-down", "logits are multiplied by the temperature", "_sample",
             "logits / temperature", "logits * temperature"),
    _sampled("one-token-too-few", "of the k likeliest tokens the last is never drawn", "_sample",
             "logits < least", "logits <= least"),
    _sampled("sampling-forgets", "each new token is drawn as if it stood after the prompt's memory", "generate",
             "    state = output.state", "    state = state"),
    _sampled("sampling-with-dropout", "the model stays in training mode", "generate", "model.eval()", "model.train()"),
    _sampled("sampling-ignores-its-seed", "every seed draws the same tokens", "generate",
             "manual_seed(seed)", "manual_seed(0)"),
    _continual("replays-what-was-never-read", "windows are kept that were not trained on", KeptWindows, "__init__",
               "choice(trained_on,", "choice(2 * trained_on,"),
    _continual("replays-one-window", "the same window is read again in every step", Replay, "drawn",
               "self.kept, self.rows", "self.kept[:1], self.rows"),
    _continual("earlier-self-too-early", "the model stays near itself a step before the earlier text ends", EarlierSelf,
               "_look", "step.number !=", "step.number + 1 !="),
    _continual("divergence-unweighted", "the weight of the divergence from the earlier self is 1", ContinualObjective,
               "loss", "self.replay.kl_weight * apart", "apart"),
    _continual("earlier-loss-of-validation", "the validation part is reported as the test part", ContinualObjective,
               "test_loss", '"test"', '"validation"'),
    _continual("importance-of-no-size", "rates fall with the gradients' size, not with their share", RatesByImportance,
               "step_taken", "/ max(mean, 1e-30)", ""),
    _continual("follower-leads", "the slow learner takes the fast one's part", FollowingSlowly, "_follow",
               "then.lerp(now, self.spec.rate)", "now.lerp(then, self.spec.rate)"),
)  # fmt: skip
