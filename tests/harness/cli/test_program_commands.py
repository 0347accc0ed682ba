"""Studies and the programs beside the benchmarks: listed by name, with their own options and the usual exit codes."""

import pytest

from cortexzoo.harness.cli import bench_programs, long_programs, main
from cortexzoo.harness.cli.program_commands import BENCH_PROGRAMS, STUDIES


@pytest.mark.parametrize(("command", "names"), [("study", STUDIES)])
def test_without_a_name_all_are_listed(
    command: str, names: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(names)


def test_every_program_of_the_benchmarks_is_a_command() -> None:
    registered = [*bench_programs.app.registered_commands, *long_programs.app.registered_commands]
    assert sorted(str(command.name) for command in registered) == sorted(BENCH_PROGRAMS)


@pytest.mark.parametrize(
    "command", [*(["bench", name] for name in BENCH_PROGRAMS), *(["study", name] for name in STUDIES)], ids=" ".join
)
def test_each_shows_its_options(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"cortexzoo {' '.join(command)}" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            ["study", "history"],
            "study history: no such study: must be one of almanac, architectures, consolidation, ",
        ),
        (["bench", "flakiness", "no-such-run"], "no-such-run"),
        (["bench", "flakiness", "--seeds", "0"], "--seeds"),
        (["bench", "kills", "--kills", "0"], "--kills"),
        (["bench", "kills", "--json", "nowhere/out.json"], "--json nowhere/out.json: no such folder: nowhere"),
        (["bench", "recall-curve", "no-such-run"], "no-such-run"),
        (["bench", "recall-curve", "no-such-run", "--gaps", "1,x"], "--gaps: must be chunks, 1 or more each"),
        (["bench", "corpus-memory", "--gigabytes", "0"], "--gigabytes"),
        (["study", "learning", "--seeds", "0"], "--seeds"),
        (["study", "sleep", "no-such-run"], "no-such-run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_with_2(command: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 2
    printed = capsys.readouterr().err
    assert message in printed and "Traceback" not in printed
