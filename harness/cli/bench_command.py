"""`cortexzoo bench [NAME...]`: time and memory, beside what one would use instead."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cortexzoo.harness.bench.registry import BENCHMARKS
from cortexzoo.harness.cli.errors import BadInput
from cortexzoo.harness.cli.output import print_table, require_folder_of, without_foreign_warnings, write_json
from cortexzoo.harness.cli.program_commands import BENCH_PROGRAMS

if TYPE_CHECKING:
    from cortexzoo.harness.bench.result import BenchmarkResult

PEERS = "\n\n".join(f"{name}: {each.summary} Beside {each.peer}." for name, each in BENCHMARKS.items())
ALONE = ", ".join(BENCH_PROGRAMS)
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME...]",
        help=f"One or more of:\n\n{PEERS}\n\nWith options of their own, one at a time: {ALONE}.",
        show_default=False,
    ),
]


def bench(
    names: Names = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few rounds, and no long cases.")] = False,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="Rounds of all cases; without it, as many as two minutes allow, 15 at most."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file: an object by benchmark.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw them: a .png file for one benchmark, a folder for any number.")
    ] = None,
) -> None:
    """Measure time and memory beside a peer, in turns in one process.

    Printed are medians: the times, the peer's over ours (above 1 ours is faster) with the spread of its middle half,
    the share of the rate of a matrix product, and the most memory of our tensors; the slope of the logarithm of time
    and memory over that of size. Without NAME and options the benchmarks are listed; with options alone, all run.

    Example: cortexzoo bench gated-delta cortexgpt-step --quick --json bench.json
    """
    if not names and not (quick or rounds or json or plot):
        rows = [(name, each.summary, each.peer) for name, each in BENCHMARKS.items()]
        rows += [(name, program.summary, "options of its own") for name, program in BENCH_PROGRAMS.items()]
        print_table(("name", "what it measures", "beside"), rows)
        return
    chosen = list(dict.fromkeys(names or BENCHMARKS))
    for name in chosen:
        _require_known(name)
    require_folder_of(json)
    if plot is not None and plot.suffix == ".png" and len(chosen) > 1:
        raise BadInput(f"--plot {plot}: must be a folder for {len(chosen)} benchmarks, got a file")
    without_foreign_warnings()
    results = {name: _measured(name, quick, rounds, threads) for name in chosen}
    write_json(json, {name: result.as_json() for name, result in results.items()})
    if plot is not None:
        _draw(plot, results)


def _require_known(name: str) -> None:
    if name in BENCHMARKS:
        return
    if name in BENCH_PROGRAMS:
        raise BadInput(f"cortexzoo bench {name}: runs alone and must come first: it has options of its own")
    near = get_close_matches(name, [*BENCHMARKS, *BENCH_PROGRAMS], n=1)
    hint = f"did you mean {near[0]}?" if near else f"must be one of {', '.join(BENCHMARKS)}"
    raise BadInput(f"cortexzoo bench {name}: no such benchmark: {hint}")


def _measured(name: str, quick: bool, rounds: int | None, threads: int) -> "BenchmarkResult":
    import torch

    from cortexzoo.harness.bench.measure import run
    from cortexzoo.harness.cli.output import standard_error

    torch.set_num_threads(threads)
    listed = BENCHMARKS[name]
    try:
        with standard_error().status(name) as status:  # nothing, where that is no terminal
            result = run(name, listed.peer, listed.load(), quick, rounds, status.update)
    except ModuleNotFoundError as missing:
        raise BadInput(
            f"cortexzoo bench {name}: {missing.name} is not installed, which the peer needs: pip install {missing.name}"
        ) from missing
    _print(result)
    return result


def _print(result: "BenchmarkResult") -> None:
    print(f"{result.name}, beside {result.peer}; a product of 1,024 runs at {result.matmul_gflops:.0f} GFLOP/s")
    rows = [
        (
            case.name,
            str(case.pairs),
            f"{case.ours_ms:.2f}",
            "" if case.peer_ms is None else f"{case.peer_ms:.2f}",
            "" if case.ratio is None else f"{case.ratio:.2f}",
            f"{100 * case.spread:.0f} %",
            "" if case.fraction_of_matmul is None else f"{100 * case.fraction_of_matmul:.0f} %",
            "" if case.peak_bytes is None else f"{case.peak_bytes / 2**20:.1f}",
            ", ".join(f"{name} {value:.3g}" for name, value in case.figures.items()),
        )
        for case in result.cases
    ]
    columns = ("case", "pairs", "ours, ms", "peer, ms", "ratio", "spread", "of matmul", "peak, MiB", "besides")
    print_table(columns, rows)
    for cost, attribute in (("time", "ours_ms"), ("memory", "peak_bytes")):
        for series, slope in result.slopes(attribute).items():
            print(f"{series or result.name}: slope of {cost} {slope:.2f}")


def _draw(plot: Path, results: "dict[str, BenchmarkResult]") -> None:
    from cortexzoo.harness.bench.plot import draw

    if plot.suffix == ".png":
        require_folder_of(plot, "--plot")
        for result in results.values():
            draw(plot, result)
        return
    try:
        plot.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--plot {plot}: cannot be made: {error.strerror or error}") from error
    for name, result in results.items():
        draw(plot / f"{name}.png", result)
