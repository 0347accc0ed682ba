"""What goes wrong on one process of two is met by both: the same step refused, the same way back, the same weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from cortexzoo.specs import FaultsSpec, SpecError
from cortexzoo.specs.fault import NonFinite
from cortexzoo.zoo.training.faults.injection import inject
from cortexzoo.zoo.training.loop import TrainingLoop
from tests.zoo.training.damaged_ranks import FAULTS
from tests.zoo.training.test_processes import launch_two
from tests.zoo.training.tiny import same_tensors, tiny_data, tiny_model, tiny_spec

pytestmark = pytest.mark.slow
SKIPPED = ["loss", "gradient", "first"]
ROLLED_BACK = {"weight": 8, "moment": 8, "memory": 6}
"""In which step the damage is met: the weight of a byte that no batch holds, before a recovery point would be kept."""


class Left:
    """What one process was left with."""

    def __init__(self, out: Path, rank: int) -> None:
        self.found: dict[str, Any] = json.loads((out / f"{rank}.json").read_text())
        self._tensors = load_file(out / f"{rank}.safetensors")

    def state(self, prefix: str, parts: tuple[str, ...] = ("",)) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix: ` and one of `parts`."""
        names = {name: name.removeprefix(f"{prefix}: ") for name in self._tensors if name.startswith(f"{prefix}: ")}
        return {short: self._tensors[name] for name, short in names.items() if short.startswith(parts)}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Left, Left]:
    out = tmp_path_factory.mktemp("ranks")
    launch_two(out, "damaged_ranks")
    return Left(out, 0), Left(out, 1)


def shared(left: Left, prefix: str) -> dict[str, Tensor]:
    """What must be the same on every process: weights, moments, long-term memory."""
    return left.state(prefix, ("weight", "moment", "memory long_term"))


def finite(tensors: Mapping[str, Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values() if tensor.is_floating_point())


@pytest.mark.parametrize("name", FAULTS)
def test_both_processes_end_with_the_same_weights(both: tuple[Left, Left], name: str) -> None:
    one, other = (left.state(f"{name}: end") for left in both)
    assert same_tensors(shared(both[0], f"{name}: end"), shared(both[1], f"{name}: end"))
    assert len(shared(both[0], f"{name}: end")) > 30
    assert finite(one)
    assert finite(other)
    assert not same_tensors(one, other), "each has rows and random numbers of its own"
    counts, refused, guards = ([left.found[name][part] for left in both] for part in ("counts", "refused", "guards"))
    assert counts[0] == counts[1]
    assert refused[0].keys() == refused[1].keys()
    for guard in ("finite_gate", "spikes", "recovery"):
        assert guards[0][guard] == guards[1][guard]


@pytest.mark.parametrize("name", SKIPPED)
def test_a_number_of_one_process_refuses_the_step_of_both(both: tuple[Left, Left], name: str) -> None:
    for left in both:
        found = left.found[name]
        assert found["counts"] == [14, 13, 1]
        assert list(found["refused"]) == ["5"]
        assert found["guards"]["finite_gate"]["refused"] == 1
        assert found["guards"]["recovery"]["rollbacks"] == 0
    what = "loss is nan" if name == "loss" else "gradient norm is nan"
    assert both[0].found[name]["refused"]["5"] == both[1].found[name]["refused"]["5"] == what


@pytest.mark.parametrize("name", ROLLED_BACK)
def test_a_state_of_one_process_sends_both_back(both: tuple[Left, Left], name: str) -> None:
    met = ROLLED_BACK[name]
    for left in both:
        found = left.found[name]
        refused = [str(met)] if name == "memory" else []
        assert list(found["refused"]) == refused
        assert found["guards"]["recovery"]["rollbacks"] == 1
        assert found["counts"] == [14, 14 - (met - 4), len(refused)]
        assert same_tensors(left.state(f"{name}: after 4"), left.state(f"{name}: after {met}")), "every bit is back"
        assert list(found["batches"]) == [str(step) for step in range(1, 15)]
        assert len(set(found["batches"].values())) == 14, "every batch is met once, those that hurt too"
    assert not set(both[0].found[name]["batches"].values()) & set(both[1].found[name]["batches"].values())
    rollbacks = [detail for _, kind, detail in both[0].found[name]["events"] if kind == "rollback"]
    assert [(detail["to_step"], detail["undone"]) for detail in rollbacks] == [(4, 1 if name == "memory" else 4)]
    assert rollbacks[0]["cause"] == "something on another process is damaged"


def test_what_follows_a_rollback_equals_two_processes_that_went_on_from_there(both: tuple[Left, Left]) -> None:
    for left in both:
        assert same_tensors(left.state("weight: end"), left.state("went on"))


def test_two_processes_that_were_stopped_go_on_bit_for_bit(both: tuple[Left, Left]) -> None:
    for left in both:
        assert same_tensors(left.state("resumed: end"), left.state("weight: end"))
        whole, resumed = left.found["weight"], left.found["resumed"]
        for part in ("counts", "refused", "batches", "guards"):
            assert resumed[part] == whole[part], part
    resumed, whole = both[0].found["resumed"], both[0].found["weight"]
    assert repr(resumed["rows"]) == repr(whole["rows"]), "as text, in which NaN equals NaN"
    events = [event for event in resumed["events"] if event[1] != "checkpoint"]
    assert events == whole["events"]


def test_where_one_process_cannot_go_on_none_does(both: tuple[Left, Left]) -> None:
    (unread, told), (damaged, gave_up) = (left.found["lines"] for left in both)
    assert "memory.rank-1.safetensors: is damaged: its sha256 is" in damaged
    assert "memory.rank-1.safetensors: is damaged: its sha256 is" in unread, "each process reads the parts of all"
    assert gave_up == "stopped at step 3: no more"
    assert told == "stopped at step 3: another process ended training"


@pytest.mark.parametrize(("rank", "least"), [(0, 2), (1, 2), (3, 4)])
def test_a_fault_of_one_process_needs_several(rank: int, least: int) -> None:
    trainer = TrainingLoop(tiny_model(), tiny_spec(), tiny_data())
    fault = NonFinite(place="gradient", rank=rank, step=5, expect="skip", harms=True)
    with pytest.raises(
        SpecError, match=rf"^f: faults\.a\.rank applies to one process of several: at least {least} must "
    ):
        inject(trainer, FaultsSpec(name="f", faults={"a": fault}))
