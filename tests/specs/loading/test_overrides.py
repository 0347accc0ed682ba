"""`--set a.b=c`: typed by its field, merged like a file, and told as it was typed when it is wrong."""

import random
from pathlib import Path

import pytest

from cortexzoo.specs import load, load_experiment, shipped_names
from cortexzoo.specs.data import JsonLines, TextFiles
from cortexzoo.specs.guards import NoClipping
from cortexzoo.specs.memory import CompressedStore
from cortexzoo.specs.recipe import AtRandom, Constant, CosineRestarts
from tests.specs.conftest import Mistakes, Write


def test_values_are_typed_by_their_field() -> None:
    changed = load(
        "robust",
        "recipe",
        ["steps=7", "optimizer.learning_rate=1", "optimizer.eps = 1e-4", "name=5", "description=yes: [no",
         "monitor.validation_sequences=null"],
    )  # fmt: skip
    assert (changed.steps, changed.optimizer.learning_rate, changed.optimizer.eps) == (7, 1.0, 1e-4)
    assert (changed.name, changed.description) == ("5", "yes: [no")
    assert changed.monitor.validation_sequences is None


def test_what_is_inside_a_default_can_be_changed() -> None:
    changed = load("transformer", "experiment", ["variant=cortexgpt-stable", "variant.memory.gate.temperature=0.5"])
    assert changed.variant == load("cortexgpt-stable", "variant", ["memory.gate.temperature=0.5"])


def test_a_mapping_or_list_is_flow_yaml() -> None:
    changed = load("pydoc-topics", "data", ["source={kind: files, paths: [/a, /b]}"])
    assert changed.source == TextFiles(paths=("/a", "/b"))
    later = load("pydoc-topics", "data", ["source.kind=jsonl", "source.paths=[/1, /2]", "source.field=3"])
    assert later.source == JsonLines(paths=("/1", "/2"), field="3")


def test_items_of_a_list_of_texts_are_texts(write: Write, tmp_path: Path) -> None:
    write("here", "")
    changed = load("pydoc-topics", "data", ["source.kind=files", "source.paths=[1, yes, null]"])
    assert changed.source == TextFiles(paths=tuple(str(tmp_path / name) for name in ("1", "yes", "null")))


def test_a_part_is_chosen_by_name_or_path(write: Write) -> None:
    write("mine.yaml", "kind: recipe\nname: mine\nsteps: 3\n")
    assert load_experiment("transformer", ["recipe=original"]).recipe == load("original", "recipe")
    assert load_experiment("transformer", ["recipe=./mine.yaml"]).recipe.steps == 3
    assert load_experiment("transformer", ["recipe=mine.yaml", "recipe.steps=4"]).recipe.steps == 4
    assert load_experiment("transformer", ["recipe={extends: phase-1, steps: 5}"]).recipe == load(
        "phase-1", "recipe", ["steps=5"]
    )
    merged = load_experiment("transformer", ["recipe={steps: 5}"]).recipe
    assert merged == load("robust", "recipe", ["steps=5"])


def test_another_tag_drops_what_belonged_to_the_old_one() -> None:
    changed = load("robust", "recipe", ["clipping.kind=none", "schedule.kind=constant"])
    assert (changed.clipping, changed.schedule) == (NoClipping(), Constant())


def test_the_order_of_overrides_is_free() -> None:
    texts = [
        "recipe=original", "recipe.steps=9", "recipe.schedule.kind=cosine_restarts", "recipe.schedule.period=7",
        "recipe.consolidation.kind=random", "recipe.consolidation.probability=0.5", "seed=4",
        "variant.family=cortexgpt", "variant.name=mine", "variant.memory.long_term.kind=compressed_store",
        "variant.memory.long_term.top_k=2",
    ]  # fmt: skip
    expected = load_experiment("transformer", texts)
    assert expected.recipe.schedule == CosineRestarts(period=7)
    assert expected.recipe.consolidation == AtRandom(probability=0.5)
    assert expected.variant.family == "cortexgpt"
    assert expected.variant.memory.long_term == CompressedStore(top_k=2)
    for seed in range(10):
        shuffled = random.Random(seed).sample(texts, len(texts))
        assert load_experiment("transformer", shuffled) == expected


def test_of_two_overrides_of_one_value_the_later_counts() -> None:
    assert load("robust", "recipe", ["steps=3", "steps=4"]).steps == 4


def test_the_provenance_of_a_changed_value_goes() -> None:
    before, after = load("robust", "recipe"), load("robust", "recipe", ["optimizer.learning_rate=1e-3"])
    assert set(before.provenance) - set(after.provenance) == {"optimizer.learning_rate"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("recipe.steps=abc", "recipe.steps must be an integer, got 'abc'"),
        ("recipe.steps=", "recipe.steps must be an integer, got null"),
        ("recipe.stepz=3", "recipe.stepz is unknown; did you mean steps?"),
        ("recipe.schedul.kind=cosine", "recipe.schedul is unknown; did you mean schedule?"),
        ("recipe.clipping.max_norm=-1", "recipe.clipping.max_norm must be > 0, got -1"),
        ("recipe.schedule.kind=cosin",
         "recipe.schedule.kind must be cosine, cosine_restarts, constant or trapezoid, got 'cosin'; "
         "did you mean cosine?"),
        ("recipe.steps.more=1", "recipe.steps must be an integer, got a mapping"),
        ("recipe=robst", "no recipe called 'robst' is shipped; did you mean robust?"),
        ("recipe=no.yaml", "no.yaml does not exist"),
        ("recipe=3", f"no recipe called '3' is shipped; known here: {', '.join(shipped_names('recipe'))}"),
        ("variant.hidden_size=6", "variant.hidden_size must be a multiple of 4, got 6"),
        ("variant.memory.gate={kind: sigmoid, x: 1}",
         "variant.memory.gate.x is unknown; known here: kind, temperature, floor"),
        ("data.source.kind=files", "data.source.paths is missing"),
        ("suite.properties.causalty.expect=fail", "suite.properties.causalty is unknown; did you mean causality?"),
        ("sed=1", "sed is unknown; did you mean seed?"),
        ("seed=[1", "not YAML: expected ',' or ']', but got '<stream end>'"),
        ("recipe.monitor={probe_every: 1, probe_every: 2}", "probe_every is given twice, first at 1:2"),
        ("seed", "an override is a path and a value, as in recipe.steps=500"),
        ("recipe..steps=3", "an override is a path and a value, as in recipe.steps=500"),
        ("=3", "an override is a path and a value, as in recipe.steps=500"),
    ],
)  # fmt: skip
def test_the_line_for_a_wrong_override(mistakes: Mistakes, text: str, line: str) -> None:
    assert mistakes("cortexgpt-stable", "experiment", [text]) == [f"--set {text}: {line}"]


def test_all_wrong_overrides_at_once(mistakes: Mistakes) -> None:
    texts = ["seed=x", "seed", "recipe.steps=0", "recipe=no", "data.source=1"]
    assert len(mistakes("cortexgpt-stable", "experiment", texts)) == 5
