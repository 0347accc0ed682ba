from pathlib import Path

import pytest

from tests.docs.fences import commands, fences, shows

PAGE = """\
Text with `code`.

```python
x = 1
```

- a list

  <!-- run: exit 2 -->
  ```console
  $ cortexzoo validate bad.yaml
  bad.yaml:1:1: …

  $ cortexzoo list
  ```

```console
$ cortexzoo train
```

<!-- norun -->
```python
y = 1
```

````yaml title="my.yaml"
text: "```"
````
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_blocks_are_found_with_language_and_place(page: Path) -> None:
    found = [(fence.language, fence.line) for fence in fences(page)]
    assert found == [("python", 4), ("console", 11), ("console", 18), ("python", 23), ("yaml", 27)]
    assert [fence.text for fence in fences(page)][-1] == 'text: "```"\n'


def test_python_runs_unless_told_and_commands_only_when_told(page: Path) -> None:
    assert [fence.exit_code for fence in fences(page)] == [0, 2, None, None, None]


def test_a_title_names_a_file(page: Path) -> None:
    assert [fence.title for fence in fences(page)] == [None, None, None, None, "my.yaml"]


def test_commands_take_the_lines_below_as_output(page: Path) -> None:
    first, second = commands(list(fences(page))[1])
    assert (first.arguments, first.shown, first.line) == ("cortexzoo validate bad.yaml", ["bad.yaml:1:1: …"], 11)
    assert (second.arguments, second.shown) == ("cortexzoo list", [])


def test_a_directive_without_a_block_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- run -->\n\n```console\n$ cortexzoo list\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page.md:2: a block must follow <!-- run -->"):
        list(fences(page))


def test_an_open_block_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"page.md:1: this block is never closed"):
        list(fences(page))


@pytest.mark.parametrize(
    ("shown", "agrees"),
    [
        ([], True),
        (["loss 1.80", "passed"], True),
        (["loss …", "passed"], True),
        (["…", "passed"], True),
        (["passed"], False),
        (["passed", "loss 1.80"], False),
        (["loss 1.80", "passed", "again"], False),
        (["loss 1x80", "passed"], False),
        (["loss 1.8", "passed"], False),
    ],
)
def test_output_is_compared_line_by_line(shown: list[str], agrees: bool) -> None:
    assert shows("  loss 1.80\n\npassed  \n", shown) is agrees
