"""Only what differs, each value once, gathered under what it belongs to."""

from cortexzoo.harness.runs.spec_changes import flattened
from cortexzoo.harness.studies.comparison.differences import ABSENT, spec_differences
from cortexzoo.specs import load_experiment


def test_equal_specs_differ_in_nothing() -> None:
    both = [load_experiment("cortexgpt-stable", [f"seed={seed}"]) for seed in (0, 1)]
    assert spec_differences(both) == []


def test_one_change_is_one_row() -> None:
    both = [load_experiment("cortexgpt-stable", changes) for changes in ([], ["recipe.optimizer.learning_rate=0.25"])]
    (row,) = spec_differences(both)
    assert (row.path, row.values) == ("recipe.optimizer.learning_rate", (0.005, 0.25))


def test_a_key_that_only_one_has_is_absent_in_the_other() -> None:
    both = [load_experiment("cortexgpt-stable", changes) for changes in ([], ["recipe.clipping={kind: none}"])]
    rows = {row.path: row.values for row in spec_differences(both)}
    assert rows == {"recipe.clipping.kind": ("norm", "none"), "recipe.clipping.max_norm": (0.5, ABSENT)}


def test_what_belongs_together_stands_together() -> None:
    both = [load_experiment(name) for name in ("cortexgpt-original", "cortexgpt-stable")]
    paths = [row.path for row in spec_differences(both)]
    heads = [path.partition(".")[0] for path in paths]
    assert heads == sorted(heads, key=["variant", "recipe", "suite"].index)
    schedules = [index for index, path in enumerate(paths) if path.startswith("recipe.schedule.")]
    assert schedules == list(range(schedules[0], schedules[0] + len(schedules)))


def test_documentation_is_left_out() -> None:
    paths = [row.path for row in spec_differences([load_experiment(n) for n in ("cortexgpt-original", "transformer")])]
    assert not [path for path in paths if "description" in path or "provenance" in path or path.endswith(".reason")]


def test_flattening() -> None:
    assert flattened({"a": {"b": 1, "c": [1, 2]}, "d": None}) == {"a.b": 1, "a.c": [1, 2], "d": None}
