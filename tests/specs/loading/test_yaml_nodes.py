"""Reading YAML: what scalars mean, what is refused, and where it stands."""

import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cortexzoo.specs.loading.nodes import Node
from cortexzoo.specs.loading.problems import MAX_VALUES, Problems, Refused, SpecText
from cortexzoo.specs.loading.yaml_nodes import MAX_ALIASES, MAX_DEPTH, MAX_DIGITS, plain_scalar, read_yaml

SOURCE = SpecText("my.yaml", Path("/folder"))


def read(text: str) -> tuple[Node, list[str]]:
    """The tree and the mistakes that left it readable."""
    problems = Problems()
    node = read_yaml(text, SOURCE, problems)
    return node, problems.as_error().lines


def refusal(text: str) -> str:
    with pytest.raises(Refused) as caught:
        read(text)
    return f"{caught.value.place}: {caught.value.message}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4), ("1.", 1.0), (".5", 0.5), ("-1", -1), ("+2", 2), ("010", 10), ("0o17", 15), ("0x1F", 31),
        ("-.inf", -math.inf), ("true", True), ("FALSE", False), ("~", None), ("", None), ("Null", None),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("1_000", "1_000"), ("12:30:45", "12:30:45"),
        ("2020-01-01", "2020-01-01"), ("0b1", "0b1"), ("nULL", "nULL"), ("1e", "1e"), ("e5", "e5"), (".", "."),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert plain_scalar(text) == value
    assert type(plain_scalar(text)) is type(value)


def test_a_yaml_directive_changes_no_meaning() -> None:
    assert read("%YAML 1.1\n---\na: yes\nb: 010\n")[0].plain() == {"a": "yes", "b": 10}


def test_quotes_and_the_string_tag_make_text() -> None:
    assert read("[1, '1', \"1\", !!str 1]")[0].plain() == [1, "1", "1", "1"]


def test_every_value_knows_its_place() -> None:
    node, _ = read("a: 1\nb:\n  - x\n  - {c: 2}\nd:\n")
    b = node.entries()["b"]
    assert isinstance(b.content, list)
    inner = b.content[1].entries()["c"]
    assert [str(n.place) for n in (node, node.entries()["a"], b, b.content[0], inner, node.entries()["d"])] == [
        "my.yaml:1:1", "my.yaml:1:4", "my.yaml:3:3", "my.yaml:3:5", "my.yaml:4:9", "my.yaml:5:1",
    ]  # fmt: skip
    assert str(inner.key_place) == "my.yaml:4:6"


def test_aliases_stand_where_they_are_used() -> None:
    node, lines = read("a: &x {k: 1}\nb: *x\n")
    assert node.plain() == {"a": {"k": 1}, "b": {"k": 1}}
    assert str(node.entries()["b"].place) == "my.yaml:2:4"
    assert lines == []


def test_all_mistakes_that_leave_the_rest_readable_are_gathered() -> None:
    text = 'a: 1\nb: {c: 1, c: 2}\na: 2\n[1]: 3\n<<: {d: 1}\ne: !!python/name:os.system x\nf: "\\ud800"\n'
    node, lines = read(text)
    assert lines == [
        "my.yaml:2:11: c is given twice, first at 2:5",
        "my.yaml:3:1: a is given twice, first at 1:1",
        "my.yaml:4:1: a key must be a word, got a list",
        "my.yaml:5:1: merge keys (<<) are not supported; use `extends:`",
        "my.yaml:6:4: the tag tag:yaml.org,2002:python/name:os.system is not supported; remove it",
        "my.yaml:7:4: half of a surrogate pair is not a character",
    ]
    assert node.plain() == {"a": 1, "b": {"c": 1}, "e": "x", "f": "?"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a:\n\tb: 1\n", "my.yaml:2:1: the indentation contains a tab; use spaces"),
        ("a:\n  \t b: 1\n", "my.yaml:2:3: the indentation contains a tab; use spaces"),
        ("a: 1\nb: c: d\n", "my.yaml:2:5: not YAML: mapping values are not allowed here"),
        ("a: [1,\n", "my.yaml:2:1: not YAML: expected the node content, but found '<stream end>'"),
        ("a: 'x\n", "my.yaml:2:1: not YAML: found unexpected end of stream"),
        ("a: 1\nb: \x07\n", "my.yaml:2:4: not YAML: unacceptable character #x0007: special characters are not allowed"),
        ('a: 1\nb: "\\UFFFFFFFF"\n', "my.yaml:2:2: not YAML: the escape after this is not a character"),
        ("a: *x\n", "my.yaml:1:4: the alias *x has no anchor &x before it"),
        ("a: &x [*x]\n", "my.yaml:1:8: the alias *x has no anchor &x before it"),
        ("a: 1\n---\nb: 2\n", "my.yaml:2:1: a second document begins here; a file contains one spec"),
        ("a: " + "[" * 40, f"my.yaml:1:{4 + MAX_DEPTH}: nested deeper than {MAX_DEPTH} levels"),
        ("[" * 1_000_000, f"my.yaml:1:{2 + MAX_DEPTH}: nested deeper than {MAX_DEPTH} levels"),
        (
            "a: &x 1\nb: [" + "*x ," * 100 + "]",
            f"my.yaml:2:{5 + 4 * MAX_ALIASES}: more than {MAX_ALIASES} aliases",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, line: str) -> None:
    assert refusal(text) == line


def test_an_alias_bomb_is_refused_before_it_unfolds() -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    layers += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 9)]
    counted = f"more than {MAX_VALUES} values, with every use of an alias counted"
    assert refusal("\n".join(layers)) == f"my.yaml:4:45: {counted}"


@pytest.mark.parametrize("prefix", ["", "-", "0x", "0o"])
def test_endless_numbers_are_refused(prefix: str) -> None:
    assert read(f"a: {prefix}{'7' * 5000}")[1] == [f"my.yaml:1:4: a number of more than {MAX_DIGITS} digits"]


def test_an_empty_text_is_null() -> None:
    assert [read(text)[0].content for text in ("", "# only a comment\n", "---\n", "null")] == [None] * 4


@given(st.text(st.sampled_from("ab:- \n\t#[]{}&*!|>'\"%@,?~01.e<=\\xuU\x85\x00\ufeff\u2028"), max_size=40))
@example("? a\n: b")
@example("&a : *a")
@example("- &a\n- *a")
@example("!<!> 0")
def test_any_text_gives_a_node_or_a_mistake_with_its_place(text: str) -> None:
    found: tuple[Node, list[str]] | None = None
    with suppress(Refused):
        found = read(text)
    assert found is None or (found[0].describe() and all(line.startswith("my.yaml:") for line in found[1]))
