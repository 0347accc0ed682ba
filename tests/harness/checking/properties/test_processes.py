"""`processes_train_as_one`: passes as it is, and finds a mistake in whatever several processes share."""

import threading
import warnings
from functools import cache

import pytest
import torch

from cortexzoo.harness.checking.judge import judge, judge_case
from cortexzoo.harness.checking.mutants.base import Mutant
from cortexzoo.harness.checking.mutants.process_mutants import PROCESS_MUTANTS
from cortexzoo.harness.checking.properties import REGISTRY, processes
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.played_processes import Parted, Play, PlayedAccelerator
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check
from cortexzoo.specs.variant import VariantSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.transformer import Transformer
from tests.harness.checking.properties.test_forward import SMALL, SUBJECTS, experiment_of, untrained
from tests.quick import every, in_slow

PROPERTY = REGISTRY["processes_train_as_one"]
FURTHER = {
    "continual": ("cortexgpt-stable", (*SMALL, "recipe={extends: continual}", "data=python-library")),
    "hybrid on text": ("cortex-v2-hybrid", (*SUBJECTS["hybrid"][1], "recipe=robust", "data=pydoc-topics")),
}
"""Rows that are replayed are spread unevenly; the cache of a base is in no empty memory."""


@cache
def subject(name: str) -> Subject:
    experiment = load_experiment(FURTHER[name][0], [*FURTHER[name][1]]) if name in FURTHER else experiment_of(name)
    return untrained(experiment)


def judged(name: str) -> Judgement:
    return judge(PROPERTY, Check(), subject(name))


@pytest.mark.parametrize(
    "name",
    ["transformer", "contexts", in_slow("hybrid"), *FURTHER, *map(in_slow, ("two raw rings", "no long-term memory"))],
)
def test_it_passes_as_it_is(name: str) -> None:
    judgement = judged(name)
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 4 + (subject(name).task is None) and 0 < judgement.observed < 1e-4


def test_more_processes_than_held_out_batches_measure_them_all() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        judgement = judge_case(PROPERTY, Check(), subject("contexts"), {"first": 4, "then": 4})
    assert judgement.verdict == "pass", judgement.reason


def test_rows_that_share_a_ring_do_not_apply() -> None:
    judgement = judged("original")
    assert judgement.verdict == "skipped" and "share one ring" in judgement.reason


def test_running_means_of_own_rows_do_not_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    def built(variant: VariantSpec, seed: int) -> Transformer:
        model = build_model(variant, seed)
        assert isinstance(model, Transformer)
        model.register_buffer("calls", torch.zeros(()))
        model.register_forward_hook(lambda model, *_: model.calls.add_(model.training))
        return model

    monkeypatch.setattr(processes, "build_model", built)
    judgement = judged("transformer")
    assert judgement.verdict == "skipped" and "a call moves calls" in judgement.reason


@pytest.mark.parametrize("mutant", every(3, PROCESS_MUTANTS), ids=lambda mutant: mutant.name)
def test_each_mutant_is_caught(mutant: Mutant) -> None:
    with mutant.seeded():
        judgement = judged(mutant.host)
    assert judgement.verdict == "fail", judgement.reason


def test_processes_take_turns_and_have_random_numbers_of_their_own() -> None:
    before, names = torch.get_rng_state(), list[str]()

    def part(accelerator: PlayedAccelerator) -> list[float]:
        torch.manual_seed(accelerator.process_index)
        drawn = []
        for _ in range(3):
            names.append(threading.current_thread().name)
            drawn.append(float(accelerator.reduce(torch.rand(1), "sum")))
        return drawn

    first, second = Play([part, part]).run()
    expected = [torch.Generator().manual_seed(rank) for rank in (0, 1)]
    sums = [float(sum(torch.rand(1, generator=one) for one in expected)) for _ in range(3)]
    assert first == second == sums
    assert names == [names[0], names[1]] * 3 and names[0] != names[1]
    assert torch.equal(torch.get_rng_state(), before)


def test_tensors_are_gathered_in_order_and_gradients_averaged() -> None:
    def part(accelerator: PlayedAccelerator) -> tuple[list[int], list[float | None]]:
        rank = accelerator.process_index
        gathered = accelerator.gather(torch.tensor([rank]))
        means = accelerator.average([torch.tensor(1.0 + rank), None if rank else torch.tensor(3.0), None])
        return gathered.tolist(), [None if mean is None else float(mean) for mean in means]

    assert Play([part] * 3).run() == [([0, 1, 2], [2.0, 1.0, None])] * 3


def test_who_waits_for_one_that_has_ended_or_does_something_else_is_told() -> None:
    def ends(accelerator: PlayedAccelerator) -> None:
        if accelerator.is_main_process:
            accelerator.wait_for_everyone()

    with pytest.raises(Parted, match=r"^process 0 is to wait, and another has ended$"):
        Play([ends, ends]).run()

    def differs(accelerator: PlayedAccelerator) -> None:
        if accelerator.is_main_process:
            accelerator.wait_for_everyone()
        else:
            accelerator.gather(torch.zeros(2))

    with pytest.raises(Parted, match=r"^process 1 is to gather \[2\] where process 0 is to wait"):
        Play([differs, differs]).run()

    def fails(accelerator: PlayedAccelerator) -> None:
        if not accelerator.is_main_process:
            raise ValueError("broken")
        accelerator.wait_for_everyone()

    with pytest.raises(ValueError, match="broken"):
        Play([fails, fails]).run()
