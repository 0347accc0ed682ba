"""The list of commands, and what every command line offers: version, short help, completion, exit codes."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cortexzoo import __version__
from cortexzoo.harness import cli
from cortexzoo.harness.bench.generated_runs import experiment, generated_run
from cortexzoo.harness.cli import main
from cortexzoo.harness.cli.commands import COMMANDS, loaded


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_is_the_first_line_of_the_help(name: str) -> None:
    help_text = inspect.cleandoc(COMMANDS[name].load().__doc__ or "")
    assert help_text.split("\n")[0] == COMMANDS[name].summary
    assert loaded(name).name == name
    assert "Example: cortexzoo " in help_text


def test_version_and_short_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"cortexzoo {__version__}\n"
    assert main(["-h"]) == 0
    short = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == short
    assert all(name in short for name in COMMANDS)
    assert main(["train", "-h"]) == 0
    assert "--resume" in capsys.readouterr().out


def run_module(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cortexzoo", *arguments]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


def test_as_a_module_it_ends_with_the_exit_code() -> None:
    ended = run_module("show", "robst")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "robst: no spec of this name is shipped; did you mean robust?\n"


@pytest.mark.parametrize(("words", "completed"), [("cortexzoo tr", ["train"]), ("cortexzoo train --res", ["--resume"])])
def test_a_shell_completes_commands_and_options(words: str, completed: list[str]) -> None:
    position = str(len(words.split()) - 1)
    ended = run_module(_CORTEXZOO_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=position)
    assert (ended.returncode, ended.stdout.split(), ended.stderr) == (0, completed, "")


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (["--help"], {"pydantic", "ruamel.yaml", "cortexzoo.specs.kinds", "cortexzoo.harness.cli.list_command"}),
        (["list"], {"rich", "cortexzoo.specs.base"}),
        (["validate", "robust"], {"rich", "cortexzoo.specs.variant", "cortexzoo.specs.suite", "cortexzoo.specs.fault"}),
    ],
    ids=["help", "list", "validate"],
)
def test_a_command_imports_only_what_it_uses(arguments: list[str], unneeded: set[str]) -> None:
    """What keeps the start-up short: docs/performance.md."""
    _assert_not_imported(unneeded, arguments)


def test_runs_are_listed_and_watched_without_torch(tmp_path: Path) -> None:
    run = generated_run(tmp_path, experiment(), steps=3).path
    for arguments in (["runs", "--runs", str(tmp_path)], ["monitor", str(run), "--snapshot", str(tmp_path / "a.svg")]):
        _assert_not_imported({"torch", "cortexzoo.zoo.build", "cortexzoo.harness.checking.properties"}, arguments)


def _assert_not_imported(unneeded: set[str], arguments: list[str]) -> None:
    program = (
        "import sys; from cortexzoo.harness.cli import main; code = main(sys.argv[1:]); "
        f"print(sorted(set(sys.modules) & {unneeded!r}), file=sys.stderr); sys.exit(code)"
    )
    ended = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "[]\n")


def test_torch_is_quiet_unless_the_user_wants_its_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "main", lambda: 0)
    monkeypatch.setattr(cli, "leave", lambda _: None)
    for before, after in ((None, "ERROR"), ("INFO", "INFO")):
        monkeypatch.delenv("TORCH_CPP_LOG_LEVEL", raising=False)
        if before:
            monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", before)
        cli.program()
        assert os.environ["TORCH_CPP_LOG_LEVEL"] == after
