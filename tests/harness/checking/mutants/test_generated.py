"""Changes made by machine: which there are, that each can be put in place and is undone, and a stable sample."""

import inspect

import pytest
import torch

from cortexzoo.harness.checking.mutants.base import rewritten
from cortexzoo.harness.checking.mutants.generated import Site, file_of, sample, sites_of
from cortexzoo.zoo.memory import gate
from cortexzoo.zoo.memory.contexts import diary
from cortexzoo.zoo.memory.contexts.diary import Pages
from cortexzoo.zoo.training import schedule
from cortexzoo.zoo.training.policies.guards import gates


def test_a_sample_follows_from_its_seed_and_begins_a_larger_one() -> None:
    few, more, other = sample(5, 3), sample(9, 3), sample(5, 4)
    assert few == more[:5] and few != other
    assert len({site.name for site in more}) == 9


def test_every_operator_finds_something_to_change() -> None:
    operators = {site.operator for site in sample(10**6, 0)}
    assert operators == {
        "flip comparison", "drop a term", "off by one", "swap arguments", "skip a statement", "detach", "wrong dim",
        "negate a condition",
    }  # fmt: skip


@pytest.mark.parametrize("module", [schedule, gates, gate])
def test_every_change_of_a_module_is_put_in_place_and_undone(module: object) -> None:
    assert inspect.ismodule(module)
    sites = list(sites_of(module))
    assert len(sites) > 10
    for site in sites:
        owner_name, _, name = site.function.rpartition(".")
        owner = getattr(module, owner_name) if owner_name else module
        before = owner.__dict__[name]
        with site.seeded():
            assert owner.__dict__[name] is not before, site.name
        assert owner.__dict__[name] is before


def of_schedule(operator: str, change: str) -> Site:
    return next(s for s in sites_of(schedule) if s.operator == operator and s.change == change)


def test_a_change_does_what_its_name_says() -> None:
    site = of_schedule("flip comparison", "taken < warmup → taken <= warmup")
    assert file_of(site) == "training/schedule.py"
    assert inspect.getsource(schedule).splitlines()[site.line - 1].strip() == "if taken < warmup:"
    from cortexzoo.specs.recipe import Constant

    spec = Constant(warmup_ratio=0.5)
    assert schedule.rate_factor(spec, 5, 10) == 1
    with site.seeded():
        assert schedule.rate_factor(spec, 5, 10) == pytest.approx(1.2)


def test_source_that_is_not_there_cannot_be_changed() -> None:
    with (
        pytest.raises(ValueError, match="rate_factor contains 'nowhere' 0 times, not once"),
        rewritten(schedule, "rate_factor", "nowhere", "")(),
    ):
        pass


def test_what_is_computed_once_can_be_changed_too() -> None:
    (site,) = (site for site in sites_of(diary) if site.change == "255 → 256")
    tokens = torch.arange(300, dtype=torch.int32)
    with site.seeded():
        assert Pages(tokens, tokens)._since_boundary[255] == 0
    assert Pages(tokens, tokens)._since_boundary[255] == 255
