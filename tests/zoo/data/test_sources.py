"""Reading text sources, and one clear line for each thing that can be wrong with them."""

import json
import os
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from cortexzoo.specs.data import JsonLines, PydocTopics, TextFiles
from cortexzoo.zoo.data.sources import find_files, read_source
from cortexzoo.zoo.errors import DataError


def test_topics_are_joined_by_blank_lines_in_order() -> None:
    text = read_source(PydocTopics()).decode()
    first, second = sorted(topics)[:2]
    assert text.startswith(topics[first] + "\n\n" + topics[second])
    assert len(text) == sum(map(len, topics.values())) + 2 * (len(topics) - 1)


def test_files_are_sorted_deduplicated_and_joined_by_newlines(tmp_path: Path) -> None:
    for name, text in (("b.txt", "β"), ("a.txt", "alpha"), ("c.md", "no")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "sub").mkdir()
    source = TextFiles(paths=("*.txt", "b.txt", "sub/../b.txt", str(tmp_path / "a.txt")))
    assert read_source(source, tmp_path).decode() == "alpha\nβ"


def test_a_glob_reaches_into_folders_and_skips_them(tmp_path: Path) -> None:
    (tmp_path / "deep.txt").mkdir()
    (tmp_path / "deep.txt" / "x.txt").write_text("x")
    assert find_files(("**/*.txt",), tmp_path) == [tmp_path / "deep.txt" / "x.txt"]


def test_special_characters_of_the_folder_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "run[1]"
    folder.mkdir()
    (folder / "x.txt").write_text("x")
    (folder / "y[2].txt").write_text("y")
    assert read_source(TextFiles(paths=("*.txt",)), folder) == b"x\ny"
    assert read_source(TextFiles(paths=("y[2].txt",)), folder) == b"y"


def test_jsonl_takes_the_field_and_skips_blank_lines(tmp_path: Path) -> None:
    lines = [json.dumps({"body": "one\u2028line", "n": 1}), "", json.dumps({"body": "two"}), ""]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    source = JsonLines(paths=("x.jsonl",), field="body")
    assert read_source(source, tmp_path).decode() == "one\u2028line\ntwo"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing.txt", "nothing.txt: no such file"),
        ("goood.txt", "goood.txt: no such file; did you mean good.txt?"),
        ("no/such/good.txt", "does not exist"),
        ("*.csv", "*.csv: no file matches this glob"),
        ("folder", "folder: is a folder, a file or a glob is required: try folder/*"),
        ("latin.txt", "latin.txt: must be UTF-8 text, but byte 3 is 0xe9 (invalid continuation byte)"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.txt").write_bytes("café au lait".encode("latin-1"))
    with pytest.raises(DataError) as raised:
        read_source(TextFiles(paths=("good.txt", path)), tmp_path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "x.jsonl:2: is not JSON: Expecting property name"),
        ("[" * 100_000, "x.jsonl:2: is nested too deeply"),
        ("[1]", "x.jsonl:2: must be a JSON object with the field 'text', got a list"),
        ('{"txt": "a"}', "x.jsonl:2: has no field 'text', it has 'txt'"),
        ("{}", "x.jsonl:2: has no field 'text', it has no fields"),
        ('{"text": 3}', "x.jsonl:2: field 'text' must be a string, got a number"),
        ('{"text": null}', "x.jsonl:2: field 'text' must be a string, got null"),
        ('{"text": true}', "x.jsonl:2: field 'text' must be a string, got a boolean"),
        ('{"text": "ab\\ud800"}', "x.jsonl:2: field 'text' has no UTF-8 form: character 2"),
    ],
)
def test_a_wrong_record_is_named_by_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "first"}\n' + line + "\n")
    with pytest.raises(DataError) as raised:
        read_source(JsonLines(paths=("x.jsonl",)), tmp_path)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who may not read everything")
def test_an_unreadable_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "x.txt").chmod(0)
    with pytest.raises(DataError, match=r"x\.txt: cannot be read: Permission denied"):
        read_source(TextFiles(paths=("x.txt",)), tmp_path)
