"""The comparison with an independent loop: on one thread, and blind to no seed."""

from functools import cache

import pytest
import torch

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.properties import REGISTRY, dreaming, steps
from cortexzoo.harness.checking.properties.base import Finding
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.training import schedule
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from tests.harness import tiny
from tests.harness.checking.properties.test_forward import SMALL, untrained


def test_training_and_reference_are_compared_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def compared(*_: object) -> Finding:
        seen.append(torch.get_num_threads())
        return Finding(0, "", {})

    monkeypatch.setattr(steps, "compared", compared)
    monkeypatch.setattr(dreaming, "_fates", compared)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        steps.steps_match_a_reference(tiny.subject(), {"recipe": "cosine", "steps": 1})
        steps.rollback_restores_everything(tiny.subject(), {"clipping": "norm", "steps": 1})
        dreaming.sleep_matches_a_reference(tiny.subject(), {"acceptance": "always"})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1, 1]


@cache
def subject() -> Subject:
    return untrained(load_experiment("cortexgpt-stable", [*SMALL, "variant.memory.long_term={kind: raw_ring}"]))


def judged() -> Judgement:
    return judge(REGISTRY["steps_match_a_reference"], Check(), subject())


FORKED = 'torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])'


@pytest.mark.parametrize(
    ("owner", "function", "old", "new"),
    [
        (schedule, "warmup_steps", "steps - 1)", "steps)"),
        (schedule, "warmup_steps", "steps - 1)", "steps - 2)"),
        (NextTokenObjective, "loss", "place * self.recipe.batch_size", "place"),
        (NextTokenObjective, "loss", "model.placed(state, torch.from_numpy(starts).to(tokens.device))", "state"),
        (schedule, "rate_factor", "1.0 if not falling else", "1.0 if falling else"),
        (TrainingLoop, "run", f"stack.enter_context({FORKED})", "pass"),
    ],
)
def test_limits_of_a_schedule_places_and_the_generator_of_others(
    owner: object, function: str, old: str, new: str
) -> None:
    with rewritten(owner, function, old, new)():
        assert judged().verdict in ("fail", "error")


def test_it_passes_as_it_is() -> None:
    assert judged().verdict == "pass"


@pytest.mark.parametrize("name", ["restarts", "constant"])
def test_a_last_bit_does_not_count_in_bfloat16(name: str) -> None:
    """Where each gradient is clipped by itself, the reference rounds otherwise."""
    experiment = load_experiment("cortexgpt-stable")
    halved = experiment.recipe.model_copy(update={"precision": "bf16"})
    of = untrained(experiment.model_copy(update={"recipe": halved}))
    finding = steps.steps_match_a_reference(of, {"recipe": name, "steps": 10})
    assert finding.observed < 1e-4, finding.reason
