"""What a mistake in a value is told as: file, line, column, path, what is wanted and what was got."""

import pytest

from tests.specs.conftest import Mistakes, Write

RECIPE = "kind: recipe\nname: a\n"
VARIANT = "kind: variant\nname: a\nfamily: cortexgpt\n"
SUITE = "kind: suite\nname: a\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (RECIPE + "stepz: 3\n", "my.yaml:3:1: stepz is unknown; did you mean steps?"),
        (RECIPE + "clipping:\n  kind: norm\n  max_norm: -1\n", "my.yaml:5:13: clipping.max_norm must be > 0, got -1"),
        (RECIPE + "clipping:\n  kind: none\n  max_norm: 1\n",
         "my.yaml:5:3: clipping.max_norm is unknown; known here: kind"),
        (VARIANT + "join: {kind: residul}\n",
         "my.yaml:4:14: join.kind must be replace or residual, got 'residul'; did you mean residual?"),
        (RECIPE + "clipping: [1]\n", "my.yaml:3:11: clipping must be a mapping, got a list"),
        (RECIPE + "steps: abc\n", "my.yaml:3:8: steps must be an integer, got 'abc'"),
        (RECIPE + "steps: '5'\n", "my.yaml:3:8: steps must be an integer, got '5'"),
        (RECIPE + "steps: 1e3\n", "my.yaml:3:8: steps must be an integer, got 1e3"),
        (RECIPE + "steps: true\n", "my.yaml:3:8: steps must be an integer, got true"),
        (RECIPE + "steps:\n", "my.yaml:3:1: steps must be an integer, got null"),
        (RECIPE + "steps: {}\n", "my.yaml:3:8: steps must be an integer, got a mapping"),
        (RECIPE + "steps: 3\nsteps: 4\n", "my.yaml:4:1: steps is given twice, first at 3:1"),
        (RECIPE + "optimizer: {eps: .nan}\n", "my.yaml:3:18: optimizer.eps must be a finite number, got .nan"),
        (RECIPE + "optimizer: {eps: 1e999}\n", "my.yaml:3:18: optimizer.eps must be a finite number, got 1e999"),
        (RECIPE + "optimizer: {beta1: 1}\n", "my.yaml:3:20: optimizer.beta1 must be < 1, got 1"),
        (RECIPE + "optimizer: {weight_decay: yes}\n",
         "my.yaml:3:27: optimizer.weight_decay must be a number, got 'yes'"),
        (RECIPE + "precision: bf61\n", "my.yaml:3:12: precision must be fp32 or bf16, got 'bf61'; did you mean bf16?"),
        (RECIPE + "monitor: {validation_sequences: x}\n",
         "my.yaml:3:33: monitor.validation_sequences must be an integer or null, got 'x'"),
        (RECIPE + "provenance: {stepz: {kind: ours, where: x}}\n",
         "my.yaml:3:21: provenance.stepz is not a field of RecipeSpec"),
        (RECIPE + "provenance: {optimizer.beta3: {kind: ours, where: x}}\n",
         "my.yaml:3:31: provenance.optimizer.beta3 is not a field of RecipeSpec"),
        ("kind: recipe\nname: My Recipe\n",
         "my.yaml:2:7: name must be lower-case letters, digits, '-' and '.', beginning with a letter or digit, "
         "got 'My Recipe'"),
        ("kind: recipe\nname: 5\n", "my.yaml:2:7: name must be text, got 5"),
        ("kind: recipe\nname: " + "a" * 81 + "\n",
         "my.yaml:2:7: name must be at most 80 characters long, got '" + "a" * 57 + "...'"),
        ("# a comment\nkind: recipe\n", "my.yaml:2:1: name is missing"),
        ("kind: variant\nname: a\n",
         "my.yaml:1:1: family is missing; write one of: cortexgpt, hybrid, transformer, module, huggingface, tuned"),
        ("kind: variant\nname: a\nfamily: cortex\n",
         "my.yaml:3:9: family must be cortexgpt, hybrid, transformer, module, huggingface or tuned, got 'cortex'; "
         "did you mean cortexgpt?"),
        (VARIANT + "hidden_size: 6\n", "my.yaml:4:14: hidden_size must be a multiple of 4, got 6"),
        (VARIANT + "memory:\n  gate: {floor: 0.5}\n", "my.yaml:5:17: memory.gate.floor must be <= 0.3, got 0.5"),
        (SUITE + "properties: {causalty: {}}\n",
         "my.yaml:3:14: properties.causalty is unknown; did you mean causality?"),
        (SUITE + "properties: {}\n", "my.yaml:3:13: properties must have at least 1 entry, got none"),
        ("kind: data\nname: a\nfamily: text\nsource: {kind: files, paths: []}\n",
         "my.yaml:4:30: source.paths must have at least 1 entry, got none"),
        (SUITE, "my.yaml:1:1: properties is missing"),
        ("kind: data\nname: a\nfamily: text\nsource:\n  kind: files\n  paths: [a, 5]\n",
         "my.yaml:6:14: source.paths.1 must be text, got 5"),
        ("kind: data\nname: a\nfamily: text\nsource: {kind: files, paths: a.txt}\n",
         "my.yaml:4:30: source.paths must be a list, got 'a.txt'"),
    ],
)  # fmt: skip
def test_the_line_for_a_mistake(write: Write, mistakes: Mistakes, text: str, line: str) -> None:
    assert mistakes(write("my.yaml", text)) == [line]


def test_all_mistakes_at_once_from_top_to_bottom(write: Write, mistakes: Mistakes) -> None:
    write(
        "my.yaml",
        """\
        kind: recipe
        steps: -1
        schedule:
          kind: cosine
          warmup_ratio: 2
          perod: 3
        steps: 5
        optimizer:
          learning_rate: fast
        """,
    )
    assert mistakes("my.yaml") == [
        "my.yaml:1:1: name is missing",
        "my.yaml:2:8: steps must be > 0, got -1",
        "my.yaml:5:17: schedule.warmup_ratio must be < 1, got 2",
        "my.yaml:6:3: schedule.perod is unknown; known here: kind, warmup_ratio, final_ratio",
        "my.yaml:7:1: steps is given twice, first at 2:1",
        "my.yaml:9:18: optimizer.learning_rate must be a number, got 'fast'",
    ]


def test_a_mistake_is_told_where_it_stands(write: Write, mistakes: Mistakes) -> None:
    """Not where it is inherited or referred to; and a value that is replaced is no mistake."""
    write("parent.yaml", "kind: recipe\nname: p\n\nsteps: 0\nbatch_size: 0\n")
    write("child.yaml", "kind: recipe\nname: c\nextends: parent.yaml\nbatch_size: 4\naccumulation: 0\n")
    write("exp.yaml", "kind: experiment\nname: e\nextends: transformer\nrecipe: ./child.yaml\nseed: -1\n")
    assert mistakes(write("nameless.yaml", "\nkind: recipe\nextends: robust\n")) == [
        "nameless.yaml:2:1: name is missing"
    ]
    assert mistakes("child.yaml") == [
        "parent.yaml:4:8: steps must be > 0, got 0",
        "child.yaml:5:15: accumulation must be > 0, got 0",
    ]
    assert mistakes("exp.yaml") == [
        "parent.yaml:4:8: recipe.steps must be > 0, got 0",
        "child.yaml:5:15: recipe.accumulation must be > 0, got 0",
        "exp.yaml:5:7: seed must be >= 0, got -1",
    ]


def test_messages_are_one_line_each(write: Write, mistakes: Mistakes) -> None:
    lines = mistakes(write("my.yaml", 'kind: recipe\nname: "a\\nb"\nsteps: |\n  x\n  y\n'))
    assert [line.count("\n") for line in lines] == [0, 0]
