"""Files that extend others, experiments and their parts, and every way in which that can go wrong."""

from pathlib import Path

import pytest

from cortexzoo.specs import load, load_experiment, shipped_names
from cortexzoo.specs.data import TextFiles, TextSpec
from cortexzoo.specs.guards import NoClipping
from cortexzoo.specs.kinds import KINDS
from cortexzoo.specs.loading.resolving import MAX_CHAIN
from cortexzoo.specs.loading.spec_files import MAX_BYTES
from cortexzoo.specs.recipe import Cosine, CosineRestarts
from tests.specs.conftest import Mistakes, Write

RECIPE = "kind: recipe\nname: mine\n"
RECIPES = ", ".join(shipped_names("recipe"))


def test_a_shipped_name_and_a_path_load_the_same(write: Write) -> None:
    shipped = Path(__file__).parents[3] / "specs" / "library" / "recipes" / "robust.yaml"
    assert load(shipped) == load(str(shipped)) == load("robust") == load("robust", "recipe")


def test_of_specs_that_share_a_name_the_experiment_is_meant() -> None:
    assert load("transformer") == load_experiment("transformer")
    assert load("transformer", "variant") == load_experiment("transformer").variant


def test_a_child_changes_what_it_says_and_keeps_the_rest(write: Write) -> None:
    write("child.yaml", RECIPE + "extends: robust\noptimizer:\n  beta1: 0.8\nsteps: 7\n")
    child, parent = load("child.yaml", "recipe"), load("robust", "recipe")
    assert child.optimizer == parent.optimizer.model_copy(update={"beta1": 0.8})
    assert (child.name, child.description, child.steps) == ("mine", "", 7)
    assert child.schedule == parent.schedule


def test_another_tag_replaces_the_whole_mapping(write: Write) -> None:
    write("child.yaml", RECIPE + "extends: robust\nschedule:\n  kind: cosine_restarts\nclipping: {kind: none}\n")
    child = load("child.yaml", "recipe")
    assert (child.schedule, child.clipping) == (CosineRestarts(), NoClipping())


def test_the_same_tag_merges_even_where_only_the_default_says_it(write: Write) -> None:
    write("parent.yaml", RECIPE + "schedule:\n  final_ratio: 0.5\n")
    write("child.yaml", RECIPE + "extends: ./parent.yaml\nschedule: {warmup_ratio: 0.3}\n")
    assert load("child.yaml", "recipe").schedule == Cosine(warmup_ratio=0.3, final_ratio=0.5)
    write("other.yaml", RECIPE + "extends: ./parent.yaml\nschedule: {kind: cosine_restarts}\n")
    assert load("other.yaml", "recipe").schedule == CosineRestarts()


def test_lists_replace(write: Write) -> None:
    data = "kind: data\nname: d\nfamily: text\n"
    write("parent.yaml", data + "source: {kind: files, paths: [/a, /b]}\n")
    write("child.yaml", data + "extends: parent.yaml\nsource: {paths: [/c]}\n")
    assert load("child.yaml", "data").source == TextFiles(paths=("/c",))


def test_relative_references_are_relative_to_their_file(write: Write) -> None:
    write("recipes/base.yaml", RECIPE + "steps: 3\n")
    write("recipes/mine.yaml", RECIPE + "extends: ./base.yaml\n")
    write(
        "exp/mine.yaml",
        """\
        kind: experiment
        name: mine
        extends: cortexgpt-stable
        recipe: ../recipes/mine.yaml
        """,
    )
    assert load_experiment("exp/mine.yaml").recipe.steps == 3


def test_data_paths_are_relative_to_the_file_that_has_them(write: Write, tmp_path: Path) -> None:
    source = "source: {kind: files, paths: [a.txt, sub/*.txt, /b.txt]}\n"
    write("data [1]/text.yaml", "kind: data\nfamily: text\nname: d\n" + source)
    write("child.yaml", "kind: data\nname: c\nextends: 'data [1]/text.yaml'\n")
    folder = tmp_path / "data [[]1]"
    expected = TextFiles(paths=(str(folder / "a.txt"), str(folder / "sub/*.txt"), "/b.txt"))
    assert load("child.yaml", "data").source == expected
    changed = load("child.yaml", "data", ["source.paths=[a.txt]"])
    assert changed.source == TextFiles(paths=(str(tmp_path / "a.txt"),))


def test_a_part_is_a_name_a_path_or_a_mapping(write: Write) -> None:
    write("d.yaml", "kind: data\nname: d\nfamily: text\n")
    write(
        "exp.yaml",
        """\
        kind: experiment
        name: exp
        variant: {family: transformer, name: small, num_layers: 1}
        recipe: {extends: robust, steps: 9, schedule: {kind: constant}}
        data: ./d.yaml
        suite: transformer
        """,
    )
    experiment = load_experiment("exp.yaml")
    assert (experiment.variant.name, experiment.data) == ("small", TextSpec(name="d"))
    assert experiment.recipe.optimizer == load("robust", "recipe").optimizer
    assert (experiment.recipe.name, experiment.recipe.steps, experiment.recipe.schedule.kind) == (
        "robust", 9, "constant",
    )  # fmt: skip


def test_an_experiment_merges_into_its_parents_parts_unless_it_names_others(write: Write) -> None:
    head = "kind: experiment\nname: mine\nextends: cortexgpt-stable\n"
    parent = load_experiment("cortexgpt-stable")
    write("inside.yaml", head + "recipe: {steps: 9}\n")
    assert load_experiment("inside.yaml").recipe == parent.recipe.model_copy(update={"steps": 9})
    write("named.yaml", head + "recipe: original\n")
    assert load_experiment("named.yaml").recipe == load("original", "recipe")
    write("other.yaml", head + "recipe: {extends: original, steps: 9}\n")
    assert load_experiment("other.yaml").recipe == load("original", "recipe", ["steps=9"])
    write("family.yaml", head + "variant: {family: transformer, name: t}\n")
    assert load_experiment("family.yaml").variant == load("transformer", "variant", ["name=t"]).model_copy(
        update={"description": ""}
    )


def test_a_named_part_takes_nothing_from_the_one_it_replaces(write: Write) -> None:
    write("plain.yaml", RECIPE)
    write("parent.yaml", "kind: experiment\nname: p\nextends: transformer\nrecipe: {extends: robust, steps: 9}\n")
    write("child.yaml", "kind: experiment\nname: c\nextends: ./parent.yaml\nrecipe: ./plain.yaml\n")
    plain = load("plain.yaml", "recipe")
    assert load_experiment("child.yaml").recipe == plain
    assert load_experiment("parent.yaml", ["recipe=plain.yaml"]).recipe == plain
    assert load_experiment("parent.yaml", ["recipe={extends: ./plain.yaml}"]).recipe == plain


def test_provenance_merges_but_not_for_what_was_changed(write: Write) -> None:
    origin = "{kind: ours, where: here}"
    write(
        "parent.yaml",
        RECIPE
        + f"steps: 3\noptimizer: {{beta1: 0.8, beta2: 0.9}}\nschedule: {{kind: cosine}}\nclipping: {{max_norm: 2.0}}\n"
        f"provenance: {{steps: {origin}, optimizer: {origin}, schedule: {origin}, clipping.max_norm: {origin}}}\n",
    )
    write(
        "child.yaml",
        RECIPE + "extends: parent.yaml\noptimizer: {beta1: 0.7}\nschedule: {kind: constant}\nclipping: {kind: none}\n"
        "provenance:\n  optimizer.beta1: {kind: paper, where: there}\n",
    )
    provenance = load("child.yaml").provenance
    assert {path: entry.where for path, entry in provenance.items()} == {
        "steps": "here", "optimizer.beta2": "here", "optimizer.beta1": "there",
    }  # fmt: skip


def test_what_is_said_of_a_mapping_gives_way_to_what_is_said_of_a_value_in_it(write: Write) -> None:
    write(
        "parent.yaml",
        RECIPE + "optimizer: {beta1: 0.8, beta2: 0.9, eps: 1e-6}\nprovenance:\n"
        "  optimizer.beta2: {kind: paper, where: of the value}\n  optimizer: {kind: paper, where: of the mapping}\n",
    )
    write("child.yaml", RECIPE + "extends: parent.yaml\noptimizer: {beta1: 0.7}\n")
    assert {path: entry.where for path, entry in load("child.yaml").provenance.items()} == {
        "optimizer.beta2": "of the value", "optimizer.eps": "of the mapping",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "bad.yaml:1:1: is empty; a spec file starts with `kind:` and `name:`"),
        (b"# nothing\n", "bad.yaml:1:1: is empty; a spec file starts with `kind:` and `name:`"),
        (b"\x89PNG\r\n\x1a\n\x00", "bad.yaml:1:1: not UTF-8: byte 0x89"),
        (b"kind: recipe\nname: caf\xe9\n", "bad.yaml:2:10: not UTF-8: byte 0xe9"),
        (b"kind: recipe\nname: a\x00b\n", "bad.yaml:2:8: contains a NUL byte: not a text file"),
        (b"- kind: recipe\n", "bad.yaml:1:1: must be keys and values, got a list"),
        (b"recipe\n", "bad.yaml:1:1: must be keys and values, got 'recipe'"),
        (b"name: a\n", f"bad.yaml:1:1: kind is missing; write one of: {', '.join(KINDS)}"),
        (b"name: a\nkind: recipes\n",
         f"bad.yaml:2:7: kind must be one of {', '.join(KINDS)}, got 'recipes'; "
         "did you mean recipe?"),
        (b"kind: recipe\nname: a\nsteps:\n\t- 1\n", "bad.yaml:4:1: the indentation contains a tab; use spaces"),
        (b"kind: recipe\nname: a\nextends: robst\n",
         "bad.yaml:3:10: no recipe called 'robst' is shipped; did you mean robust?"),
        (b"kind: recipe\nname: a\nextends: cortexgpt-stable\n",
         "bad.yaml:3:10: cortexgpt-stable is a variant, and a recipe is needed here"),
        (b"kind: recipe\nname: a\nextends: 9-9-9\n",
         f"bad.yaml:3:10: no recipe called '9-9-9' is shipped; known here: {RECIPES}"),
        (b"kind: recipe\nname: a\nextends: ./no.yaml\n", "bad.yaml:3:10: no.yaml does not exist"),
        (b"kind: recipe\nname: a\nextends: ./\n", "bad.yaml:3:10: . is a folder, not a spec file"),
        (b"kind: recipe\nname: a\nextends: 3\n",
         "bad.yaml:3:10: extends must be a name or a path ending in .yaml, got 3"),
        (b"kind: recipe\nname: a\nextends: bad.yaml\n",
         "bad.yaml:3:10: circular `extends`: bad.yaml -> bad.yaml"),
        (b"kind: recipe\nname: a\nextends: data.yaml\n",
         "bad.yaml:3:10: data.yaml is data, and a recipe is needed here"),
        (b"kind: variant\nname: a\nfamily: transformer\nextends: cortexgpt-stable\n",
         "bad.yaml:3:9: family must be cortexgpt, as in what this extends, got 'transformer'; "
         "remove `extends` to start afresh"),
    ],
)  # fmt: skip
def test_one_line_for_a_file_that_cannot_be_used(write: Write, mistakes: Mistakes, content: bytes, line: str) -> None:
    write("data.yaml", "kind: data\nname: d\nfamily: text\n")
    assert mistakes(write("bad.yaml", content)) == [line]


def test_files_that_cannot_be_opened(write: Write, mistakes: Mistakes, tmp_path: Path) -> None:
    write("large.yaml", b"#" * (MAX_BYTES + 1))
    (tmp_path / "folder.yaml").mkdir()
    assert mistakes("no.yaml") == ["no.yaml: does not exist"]
    assert mistakes("folder.yaml") == ["folder.yaml: is a folder, not a spec file"]
    assert mistakes("large.yaml") == [f"large.yaml: is larger than {MAX_BYTES} bytes"]
    assert mistakes("/dev/null") == ["/dev/null: is not a regular file"]
    assert mistakes("a\0.yaml") == [r"a\x00.yaml: contains a NUL character, which no path may contain"]


def test_names_that_nothing_has(write: Write, mistakes: Mistakes) -> None:
    write("mine.yaml", RECIPE)
    assert mistakes("transfromer") == ["transfromer: no spec of this name is shipped; did you mean transformer?"]
    assert mistakes("robust", "data") == ["robust: is a recipe, and data is needed here"]
    option = "an experiment is needed here; use it with --recipe robust"
    assert mistakes("robust", "experiment") == [f"robust: is a recipe, and {option}"]
    option = "got recipe; use it with --recipe mine.yaml"
    assert mistakes("mine.yaml", "experiment") == [f"mine.yaml:1:7: kind must be experiment, {option}"]
    assert mistakes("mine") == ["mine: no spec of this name is shipped; did you mean the file mine.yaml?"]
    assert mistakes("mine.yaml", "data") == ["mine.yaml:1:7: kind must be data, got recipe"]


def test_a_circle_is_named_in_full(write: Write, mistakes: Mistakes) -> None:
    for name, parent in (("a", "b"), ("b", "sub/c"), ("sub/c", "../a")):
        write(f"{name}.yaml", RECIPE + f"extends: {parent}.yaml\n")
    chain = "a.yaml -> b.yaml -> sub/c.yaml -> a.yaml"
    assert mistakes("a.yaml") == [f"sub/c.yaml:3:10: circular `extends`: {chain}"]


def test_a_chain_is_not_endless(write: Write, mistakes: Mistakes) -> None:
    for number in range(MAX_CHAIN + 1):
        write(f"r{number}.yaml", RECIPE + f"extends: r{number + 1}.yaml\n")
    last = MAX_CHAIN - 1
    assert mistakes("r0.yaml") == [f"r{last}.yaml:3:10: `extends` chains more than {MAX_CHAIN} files"]


def test_a_broken_parent_hides_no_mistake_of_the_child_or_of_other_parts(write: Write, mistakes: Mistakes) -> None:
    write(
        "exp.yaml",
        """\
        kind: experiment
        name: exp
        variant: transfromer
        recipe:
          extends: robst
          stepz: 3
        data: {family: text, source: {kind: files}}
        suite: 3
        """,
    )
    assert mistakes("exp.yaml") == [
        "exp.yaml:3:10: no variant called 'transfromer' is shipped; did you mean transformer?",
        "exp.yaml:5:12: no recipe called 'robst' is shipped; did you mean robust?",
        "exp.yaml:6:3: recipe.stepz is unknown; did you mean steps?",
        "exp.yaml:7:7: data.name is missing",
        "exp.yaml:7:30: data.source.paths is missing",
        "exp.yaml:8:8: suite must be a name, a path ending in .yaml, or a mapping, got 3",
    ]
