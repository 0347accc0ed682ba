"""What can be switched off is found by walking the spec, and each switch is one change."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import train_run
from cortexzoo.harness.studies import multi_seed
from cortexzoo.harness.studies.ablation import Ingredient, ablate, ingredients, without
from cortexzoo.specs import ExperimentSpec, SpecError, load_experiment, shipped_names
from tests.harness.trained import QUIET, SMALL, small


def found(name: str, *changes: str) -> dict[str, tuple[str, str]]:
    listed = ingredients(load_experiment(name, changes))
    return {f"{each.path}={each.off}": (each.value, each.off) for each in listed}


def test_every_way_to_switch_something_off_is_found() -> None:
    stable = found("cortexgpt-stable", "variant.memory.gate.floor=0.06")
    for path, change in {
        "recipe.clipping=none": ("norm", "none"),
        "recipe.spikes=none": ("robust", "none"),
        "recipe.recovery=none": ("checkpoints", "none"),
        "recipe.consolidation=never": ("interval", "never"),
        "recipe.schedule.warmup_ratio=0": ("0.1", "0"),
        "recipe.optimizer.weight_decay=0": ("0.1", "0"),
        "recipe.optimizer.beta2=0.999": ("0.98", "0.999"),
        "variant.join=replace": ("residual", "replace"),
        "variant.memory.gate=softmax": ("sigmoid", "softmax"),
        "variant.memory.gate.floor=0": ("0.06", "0"),
        "variant.memory.short_term.read_out.dropout=0": ("0.1", "0"),
        "variant.memory.short_term.stop_gradient=none": ("contents", "none"),
        "variant.columns.sparsity=hard_top_k": ("soft_threshold", "hard_top_k"),
    }.items():
        assert stable[path] == change


def test_what_does_nothing_already_and_what_is_no_ingredient_is_left_out() -> None:
    stable = found("cortexgpt-stable")
    paths = {path.split("=")[0] for path in stable}
    assert not any(part in path for path in paths for part in ("monitor", "steps", "batch_size", "seed", "capacity"))
    assert "variant.join.memory_weight" not in paths, "1 is its neutral value"
    assert "variant.join.memory_weight=1" in found("cortexgpt-stable", "variant.join.memory_weight=0.1")
    assert "recipe.clipping=none" not in found("cortexgpt-stable", "recipe.clipping={kind: none}")
    assert "variant.memory.short_term.carry_over=False" in found("cortexgpt-original")


@pytest.mark.parametrize("name", shipped_names("experiment"))
def test_each_gives_another_experiment_that_loads(name: str) -> None:
    whole = load_experiment(name)
    listed = ingredients(whole)
    hashes = {without(name, (), each, listed)[1].hash() for each in listed}
    assert len(hashes) == len(listed) > 5
    assert whole.hash() not in hashes


def test_what_cannot_stay_alone_goes_too() -> None:
    ring = ("variant.memory.long_term={kind: raw_ring}",)
    listed = ingredients(load_experiment("cortexgpt-stable", ring))
    short_term = next(each for each in listed if each.path == "variant.memory.short_term")
    switched, experiment = without("cortexgpt-stable", ring, short_term, listed)
    assert switched.label == "variant.memory.short_term: ring → none (with variant.memory.long_term)"
    assert experiment.variant.memory.long_term.kind == "none"
    impossible = Ingredient("variant.hidden_size", "128", "0", ("variant.hidden_size=0",))
    with pytest.raises(SpecError, match="hidden_size must be > 0"):
        without("cortexgpt-stable", (), impossible, listed)


@pytest.mark.slow
def test_ablate_trains_the_whole_and_each_wanted_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_this_process(
        experiments: Sequence[ExperimentSpec], runs: Path, *, jobs: int, accept_stopped: bool
    ) -> Iterator[tuple[ExperimentSpec, Run]]:
        assert (jobs, accept_stopped) == (1, True)
        for each in experiments:
            yield each, train_run(each, runs, QUIET)

    monkeypatch.setattr(multi_seed, "train_missing", in_this_process)
    calls: list[tuple[int, int]] = []
    whole = (*SMALL, "variant.memory.gate.floor=0.06")
    worths = ablate(
        "cortexgpt-stable", whole, 1, tmp_path, 1, ("recipe.clipping", "variant.memory.gate.floor"),
        lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert [worth.label for worth in worths] == [
        "nothing",
        "variant.memory.gate.floor: 0.06 → 0",
        "recipe.clipping: norm → none",
    ]
    assert calls[-1] == (3, 3)
    assert len({worth.final_loss for worth in worths}) == 3
    assert all(len(worth.gate_shares) == 1 and worth.runs[0].ended == "finished" for worth in worths)
    assert worths[1].as_json()["smallest_gate_share"] == worths[1].gate_shares[0]
    assert next((tmp_path / "cortexgpt-stable").iterdir()).is_dir()
    assert small("variant.memory.gate.floor=0.06").hash() in {
        load_experiment(str(path)).hash() for path in tmp_path.rglob("spec.yaml")
    }


def test_a_base_and_what_is_asked_for_are_no_ingredients() -> None:
    hybrid = found("cortex-v2-hybrid")
    paths = {path.split("=")[0] for path in hybrid}
    assert not any(path.startswith(("variant.backbone", "recipe.objective.drift")) for path in paths)
    assert "recipe.objective" not in paths
    assert hybrid["recipe.objective.in_chunk=none"] == ("kl", "none")
