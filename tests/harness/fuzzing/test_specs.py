"""Hostile spec files and overrides end in plain, bounded lines; the whole campaign is `cortexzoo fuzz specs`."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.fuzzing import campaign, spec_mutations
from cortexzoo.harness.fuzzing.campaign import HOSTILE, CaseResult, Rules, called, in_a_process_of_its_own
from cortexzoo.specs.plain_text import MOST_LINES, bounded, one_line, plain

PARTS = 3000
DEEP = ".".join("a" * PARTS)


def test_some_mutated_specs_keep_the_rules(tmp_path: Path) -> None:
    rules = Rules(seconds=20)  # the campaign times them, this test shares its cores
    for number, arguments in spec_mutations.cases(7, 150, tmp_path):
        outcome = called(main, arguments)
        assert outcome.breaches(rules) == [], (number, arguments)


def test_equal_seeds_make_equal_cases(tmp_path: Path) -> None:
    def drawn() -> list[tuple[list[str], bytes]]:
        return [(line, (tmp_path / "itself.yaml").read_bytes()) for _, line in spec_mutations.cases(3, 20, tmp_path)]

    assert drawn() == drawn()


def test_a_command_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_: Sequence[str]) -> int:
        while True:
            with suppress(Exception):
                pass

    monkeypatch.setattr(campaign, "LONGEST", 0.2)
    (breach,) = called(endless, []).breaches(Rules())
    assert breach == "an exception: TooSlowError: ended after 0.2 s of processor time"


def test_a_process_of_its_own_gives_what_this_one_gives(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: recipe\nname: a\nstepz: 1\n")
    arguments = ["validate", str(tmp_path / "a.yaml")]
    inside, outside = called(main, arguments), called(in_a_process_of_its_own, arguments)
    assert (outside.code, outside.out, outside.errors) == (inside.code, inside.out, inside.errors)
    assert outside.seconds > 0.1, "a new interpreter alone takes more"


@pytest.mark.parametrize(
    ("outcome", "breach"),
    [
        (CaseResult((), 3, "", "no such thing\n", 0.1, 0), "exit code 3"),
        (CaseResult((), None, "", "RecursionError: deep", 0.1, 0), "an exception: RecursionError: deep"),
        (CaseResult((), 2, "", "a\n" * 21, 0.1, 0), "21 lines on standard error"),
        (CaseResult((), 2, "", "a" * 601, 0.1, 0), "a line of 601 characters"),
        (CaseResult((), 2, "", "\x1b[31m", 0.1, 0), "a raw '\\x1b' reached the terminal"),
        (CaseResult((), 2, "", "", 0.1, 0), "exit code 2 without a line on standard error"),
        (CaseResult((), 0, "", "", 2.1, 0), "took 2.1 s"),
        (CaseResult((), 0, "", "", 0.1, 301), "took 301 MB"),
    ],
)
def test_every_rule_can_be_broken(outcome: CaseResult, breach: str) -> None:
    assert outcome.breaches(Rules()) == [breach]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('kind: recipe\nname: a\nextends: "a\\0b.yaml"\n', "contains a NUL character"),
        (f"kind: recipe\nname: a\nextends: {'x' * 300}.yaml\n", "File name too long"),
        (f"kind: recipe\nname: a\nextends: {'x' * 5000}\n", "is shipped"),
        (
            f"kind: matrix\nname: a\nexperiment: cortexgpt-stable\nvary:\n  ? {DEEP}\n  : [1]\n",
            "parts",
        ),
        ("kind: variant\nfamily: transformer\nname: x\nnum_layers: 100000000\n", "num_layers must be <= 1024"),
        ("kind: variant\nfamily: hybrid\nname: x\nmixer: {conv: {kernel_size: 2000}}\n", "kernel_size must be <= 1024"),
        (
            "kind: variant\nfamily: cortexgpt\nname: x\nmemory: {long_term: {kind: contexts, top_k: 5000}}\n",
            "top_k must be <= 4096",
        ),
        ("kind: variant\nfamily: transformer\nname: x\nhidden_size: 1000000000000000000\n", "must be <= 1e+12"),
        (f"kind: recipe\nname: a\nsteps: [{'1, ' * 6000}1]\n", "more than 5000 values"),
        (f"kind: matrix\nname: a\nexperiment: cortexgpt-stable\nseeds: {list(range(1001))}\n", "at most 1000"),
    ],
    ids=["nul", "long path", "long name", "deep path", "layers", "kernel", "top k", "size", "values", "runs"],
)
def test_what_is_beyond_reason_is_refused(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    command = ["sweep", str(file), "--dry-run"] if "matrix" in text else ["validate", str(file)]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line and f"{file}:" in line and len(line) <= 600


@pytest.mark.parametrize("value", ["[" * PARTS, "{a: " * PARTS, f"{'x' * PARTS}: ["])
def test_deep_or_long_overrides_are_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    for change in (f"steps={value}", f"{DEEP}=1"):
        assert main(["show", "robust", "--set", change]) == 2
        assert all(len(line) <= 600 for line in capsys.readouterr().err.splitlines())


def test_no_escape_sequence_reaches_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "spec.yaml"
    hostile = r'"\e]0;title\a\e[31mred\u202eevil"'
    file.write_text(f"kind: recipe\nname: a\nextends: robust\ndescription: {hostile}\n{hostile}: 1\n")
    assert main(["validate", str(file)]) == 2
    file.write_text(f"kind: recipe\nname: a\nextends: robust\ndescription: {hostile}\n")
    assert main(["show", str(file)]) == 0
    printed = capsys.readouterr()
    assert r"\x1b[31mred\u202eevil" in printed.out
    assert not HOSTILE.search(printed.out + printed.err)


def test_a_message_keeps_its_beginning_and_its_end() -> None:
    assert one_line("a" * 500 + "b" * 500).startswith("aaa") and one_line("a" * 500 + "b" * 500).endswith("bbb")
    assert len(bounded([str(number) for number in range(100)])) == MOST_LINES
    assert plain("né 日本　🧠 \t\n", keep="\n") == "né 日本　🧠 \\x09\n"
    assert plain(plain("\x1b\u202e\U000e0001")) == r"\x1b\u202e\U000e0001"


@pytest.mark.parametrize("change", ["variant.hidden_size=40000", "recipe.batch_size=1000000"])
def test_a_training_that_cannot_fit_is_refused_before_it_begins(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    assert main(["train", "cortexgpt-stable", "--trackers=jsonl", "--runs", str(runs), "--set", change]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "TB of memory" in line and "--force" in line
    assert not runs.exists()
