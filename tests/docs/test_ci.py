"""The commands of the workflow and of the hook in docs/ci.md run as they are written."""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cortexzoo.harness.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"
SUBJECT = Path(__file__).parents[1] / "harness" / "subjects" / "ill_behaved.py"


def commands(content: Any) -> Iterator[list[str]]:
    """Every `run` and `entry` that begins with cortexzoo, in order."""
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        if key in ("run", "entry") and value.startswith("cortexzoo "):
            yield shlex.split(value)[1:]
        elif isinstance(value, dict | list):
            yield from commands(value)


def test_the_lines_of_the_workflow_and_the_hook_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one property and few cases, which the lines leave open."""
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)]
    check, diff, hook = (command for block in blocks for command in commands(block))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(SUBJECT.read_text() + "\n\nmake_model = Linear\n")
    (tmp_path / "small.yaml").write_text("kind: suite\nname: small\nproperties:\n  repeatability: {}\n")
    assert main([*check, "--suite", "small.yaml", "--profile", "dev"]) == 0
    assert (tmp_path / "junit.xml").is_file() and (tmp_path / "cortexzoo.sarif").is_file()
    shutil.copy("runs/modules/my_model.make_model/verdict.json", "verdict.json")
    assert main(diff) == 0
    assert "no verdict has changed" in (tmp_path / "comment.md").read_text()
    assert main([*hook, "--suite", "small.yaml"]) == 0
