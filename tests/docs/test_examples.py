"""What the documentation shows works: its Python blocks run, its marked commands print what it says they print."""

import io
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from cortexzoo.harness.cli import main
from tests.docs.fences import Fence, commands, fences, shows

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("README.md"), *ROOT.glob("docs/**/*.md")])
TRAINS_MORE_THAN_ONCE = {"docs/own-base.md", "docs/own-module.md", "docs/own-text.md", "docs/stability.md"}
LONGEST_COMMAND = 600
"""Seconds. What takes longer is only shown, and proved elsewhere."""

SURROUNDINGS = {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "120", "NO_COLOR": "1"}
CORTEXZOO = "import sys; from cortexzoo.harness.cli import main; sys.argv[0] = 'cortexzoo'; sys.exit(main())"


def _as_parameter(page: Path) -> Any:
    name = str(page.relative_to(ROOT))
    return pytest.param(page, id=name, marks=[pytest.mark.slow] if name in TRAINS_MORE_THAN_ONCE else [])


@pytest.mark.parametrize("page", [_as_parameter(page) for page in PAGES])
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": page.stem}
    for fence in fences(page):
        if fence.title is not None:
            (tmp_path / fence.title).write_text(fence.text, encoding="utf-8")
        if fence.exit_code is None:
            continue
        if fence.language == "python":
            # The empty lines let a traceback point into the page.
            exec(compile("\n" * (fence.line - 1) + fence.text, str(page), "exec"), namespace)
        else:
            of_its_own = str(page.relative_to(ROOT)) in TRAINS_MORE_THAN_ONCE
            run_console(page.name, fence, in_a_process if of_its_own else here)


def run_console(page: str, fence: Fence, run: Callable[[Sequence[str]], tuple[int, str]]) -> None:
    assert fence.language == "console", f"{page}:{fence.line}: only python and console blocks are run"
    for command in commands(fence):
        program, *arguments = shlex.split(command.arguments)
        assert program == "cortexzoo", f"{page}:{command.line}: only cortexzoo is run from a page"
        code, printed = run(arguments)
        where = f"{page}:{command.line}: {command.arguments}"
        assert code == fence.exit_code, f"{where}: exit code {code}\n{printed}"
        assert shows(printed, command.shown), f"{where}: prints otherwise:\n{printed}"


def in_a_process(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code of the command in this folder, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", CORTEXZOO, *arguments],
        env={**os.environ, **SURROUNDINGS},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=LONGEST_COMMAND,
    )
    return done.returncode, done.stdout


def here(arguments: Sequence[str]) -> tuple[int, str]:
    """The same without a process of its own, which takes longer to start than most commands take."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(printed), redirect_stderr(printed):
        for name, value in SURROUNDINGS.items():
            patched.setenv(name, value)
        code = main(arguments)
    return code, printed.getvalue()
