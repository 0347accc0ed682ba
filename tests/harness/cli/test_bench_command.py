"""`cortexzoo bench`: names, the figures as JSON, pictures, and mistakes."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from cortexzoo.harness.bench import registry
from cortexzoo.harness.bench.benchmark import Case
from cortexzoo.harness.bench.registry import BENCHMARKS, Listed
from cortexzoo.harness.cli import main
from cortexzoo.harness.cli.program_commands import BENCH_PROGRAMS

NAMES = [
    *("gated-delta", "sliding-window", "hybrid-block", "cortexgpt-step", "hybrid-step", "generation"),
    *("long-term-memory", "streaming", "data", "guards", "start-up"),
    *("compare-reading", "expected-duration", "monitor-cost", "check"),
]


class Played:
    """Ours takes 1 ms a token, the peer 3."""

    headline = "T2"

    def cases(self, quick: bool) -> Sequence[Case]:
        return [
            Case(
                f"T{size}",
                lambda size=size: 1e-3 * size,  # type: ignore[misc]
                lambda size=size: 3e-3 * size,  # type: ignore[misc]
                size=size,
                flops=1000,
                peak_bytes=lambda: 500,
                figures=lambda: {"recall": 0.5},
            )
            for size in (1, 2, 4)
        ]


class Single:
    """One case without a size."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        return [Case("all", lambda: 0.04, lambda: 0.02)]


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "Played", Played, raising=False)
    monkeypatch.setattr(registry, "Single", Single, raising=False)
    monkeypatch.setitem(BENCHMARKS, "data", Listed("registry", "Played", "Played.", "a slow peer"))
    monkeypatch.setitem(BENCHMARKS, "check", Listed("registry", "Single", "Single.", "a fast peer"))


def test_without_a_name_all_are_listed_with_their_peers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[1:]] == [*NAMES, *BENCH_PROGRAMS]
    assert all(each.peer in printed for each in BENCHMARKS.values())


def test_help_names_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in NAMES)


@pytest.mark.usefixtures("played")
def test_figures_are_an_object_by_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folder = tmp_path / "out.json", tmp_path / "plots"
    assert main(["bench", "data", "check", "--quick", "--json", str(file), "--plot", str(folder)]) == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert list(found) == ["data", "check"]
    data, check = found["data"], found["check"]
    assert data["ratio"] == pytest.approx({"T1": 3.0, "T2": 3.0, "T4": 3.0})
    assert data["time_slope"] == pytest.approx(1.0)
    assert data["memory_slope"] == pytest.approx(0.0)
    assert data["fraction_of_matmul"] == data["cases"]["T2"]["fraction_of_matmul"] > 0
    assert data["spread"]["T1"] == pytest.approx(0.0)
    assert data["cases"]["T1"]["figures"] == {"recall": 0.5}
    assert check["ratio"] == pytest.approx(0.5)
    assert check["time_slope"] is check["memory_slope"] is check["fraction_of_matmul"] is None
    assert {path.name for path in folder.iterdir()} == {"data.png", "check.png"}
    assert "recall 0.5" in capsys.readouterr().out


@pytest.mark.usefixtures("played")
def test_one_benchmark_draws_one_file(tmp_path: Path) -> None:
    assert main(["bench", "data", "--rounds", "1", "--plot", str(tmp_path / "data.png")]) == 0
    assert (tmp_path / "data.png").read_bytes()[:4] == b"\x89PNG"


def test_readings_of_a_comparison_take_longer_with_more_runs() -> None:
    few, more = BENCHMARKS["compare-reading"].load().cases(quick=True)
    assert few.size is not None and more.size is not None and more.size > few.size
    assert few.figures is not None and more.figures is not None
    parts = more.figures()
    assert parts["total_s"] == pytest.approx(sum(parts.values()) - parts["total_s"])
    assert more.ours() > few.ours() > 0


@pytest.mark.parametrize("name", ["gated-delta", "sliding-window", "data"])
def test_a_real_one_measures_both_sides(name: str) -> None:
    cases = BENCHMARKS[name].load().cases(quick=True)
    first = cases[0]
    assert first.peer is not None and first.ours() > 0 and first.peer() > 0


def test_every_benchmark_has_a_class() -> None:
    assert list(BENCHMARKS) == NAMES
    for each in BENCHMARKS.values():
        assert isinstance(each.load().headline, str)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gated-dleta"], "cortexzoo bench gated-dleta: no such benchmark: did you mean gated-delta?"),
        (["data", "kills"], "cortexzoo bench kills: runs alone and must come first: it has options of its own"),
        (["data", "--rounds", "0"], "Invalid value for '--rounds'"),
        (["data", "check", "--plot", "one.png"], "--plot one.png: must be a folder for 2 benchmarks, got a file"),
        (["data", "--json", "nowhere/out.json"], "--json nowhere/out.json: no such folder: nowhere"),
        (["data", "--plot", "nowhere/out.png"], "--plot nowhere/out.png: no such folder: nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed and len(printed.splitlines()) == 1
