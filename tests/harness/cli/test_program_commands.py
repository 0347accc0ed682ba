"""Benchmarks and studies are commands: listed by name, with their own options, and the exit codes of all commands."""

from pathlib import Path

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.cli.program_commands import BENCHMARKS, STUDIES

BENCH = Path(__file__).parents[3] / "harness" / "bench"


@pytest.mark.parametrize(("command", "names"), [("bench", BENCHMARKS), ("study", STUDIES)])
def test_without_a_name_all_are_listed(
    command: str, names: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(names)


def test_every_benchmark_is_a_command() -> None:
    files = {file.stem for file in BENCH.glob("*.py") if "\ndef main(" in file.read_text(encoding="utf-8")}
    assert {name.replace("-", "_") for name in BENCHMARKS} == files


@pytest.mark.parametrize(
    "command", [*(["bench", name] for name in BENCHMARKS), *(["study", name] for name in STUDIES)], ids=" ".join
)
def test_each_shows_its_options(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"cortexzoo {' '.join(command)}" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["bench", "opps"], "cortexzoo bench opps: no such benchmark: did you mean ops?"),
        (
            ["study", "history"],
            "study history: no such study: must be one of continual, facts, learning, recall, sleep, worth, swings",
        ),
        (["bench", "ops", "--rounds", "0"], "--rounds and --threads must be at least 1"),
        (["bench", "flakiness", "no-such-run"], "no-such-run"),
        (["study", "learning", "--seeds", "0"], "--seeds"),
        (["study", "sleep", "no-such-run"], "no-such-run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_with_2(command: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed
