"""Commands that check properties: of a run, an experiment or a user's own module, and of one case again."""

import os
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cortexzoo.harness.checking.effort import PROFILES, ProfileName
from cortexzoo.harness.cli.errors import OK, UNEXPECTED_VERDICT, BadInput
from cortexzoo.harness.cli.options import (
    RUNS,
    JsonOption,
    Overrides,
    RunsOption,
    require_checkpoint,
    with_overrides,
)
from cortexzoo.harness.cli.output import (
    print_table,
    print_text,
    require_folder_of,
    without_foreign_warnings,
    write_json,
)
from cortexzoo.harness.cli.progress import checking_progress
from cortexzoo.harness.cli.reporting import (
    AnnotateOption,
    ExplainOption,
    JUnitOption,
    Reports,
    SarifOption,
    explained,
)
from cortexzoo.harness.cli.run_commands import checked, trained
from cortexzoo.harness.cli.verdicts import print_verdicts
from cortexzoo.specs import SuiteSpec, load, load_experiment

if TYPE_CHECKING:
    from cortexzoo.harness.checking.modules.request import Request

BARE_SUITE = "bare-module"
MODULE_BUDGET: dict[ProfileName, str] = {"dev": "20s", "ci": "25s", "deep": "10m"}
"""The time limit for a module, listed cases included: it may be of any size."""
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


@with_overrides
def check(
    target: Annotated[
        str | None, typer.Argument(metavar="[RUN|NAME|FILE]", help="A run folder, `latest`, or an experiment.")
    ] = None,
    module: Annotated[
        str | None,
        typer.Option("--module", metavar="FILE.py:FACTORY", help="Check what this function returns: an nn.Module."),
    ] = None,
    hf: Annotated[
        str | None,
        typer.Option("--hf", metavar="NAME|FOLDER", help="Check a causal LM of Hugging Face on this disk."),
    ] = None,
    *,
    given: Overrides,
    runs: RunsOption = RUNS,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="best|last", help="Which checkpoint of the run.")
    ] = "best",
    profile: Annotated[
        ProfileName | None, typer.Option("--profile", help="How thoroughly to search: dev (seconds), ci, deep.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option("--budget", metavar="TIME", help="Time limit of the search, as in 60s or 30m.")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option("--vocab-size", min=1, help="With --module or --hf: the input is token ids below N.")
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", min=1, help="With --module: the input is vectors of N numbers.")
    ] = None,
    max_length: Annotated[
        int, typer.Option("--max-length", min=1, help="With --module or --hf: the longest sequence that is tried.")
    ] = 2048,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME", help="With --module or --hf: pass this environment variable on."),
    ] = None,
    sandbox: Annotated[
        bool, typer.Option("--sandbox", help="With --module: run in bubblewrap, without network and your files.")
    ] = False,
    json_file: JsonOption = None,
    explain: ExplainOption = False,
    junit: JUnitOption = None,
    sarif: SarifOption = None,
    annotate: AnnotateOption = False,
) -> None:
    """Check the properties of a run, an experiment or a module of your own.

    Of an experiment, the newest finished run is checked; without one it is trained first. With --module, a module of
    your own is checked, given by its file and a function without arguments that returns it. It runs in a separate
    process: a hang or a crash costs one row of the table.

    Profiles: dev runs the listed cases and a few more; ci (the default with --module) runs many, always the same; deep
    runs thousands, different ones each time, within --budget (10m).

    Exit code 0: all verdicts as expected; 1: at least one is not.

    Example: cortexzoo check cortexgpt-stable
    Example: cortexzoo check cortexgpt-stable --profile deep --budget 30m
    Example: cortexzoo check --module my_model.py:make_model --explain
    Example: cortexzoo check --hf folder/of/a/model
    """
    without_foreign_warnings()
    require_folder_of(json_file)
    reports = Reports(explain, junit, sarif, annotate)
    reports.require_folders()
    if module is not None and hf is not None:
        raise BadInput("--module and --hf cannot be combined")
    if module is not None or hf is not None:
        named = f"--module {module}" if hf is None else f"--hf {hf}"
        others = {"a run or experiment": target, "--variant": given.variant, "--recipe": given.recipe}
        others |= {"--data": given.data, "--set": next(iter(given.sets or ()), None)}
        if wrong := [name for name, value in others.items() if value]:
            raise BadInput(f"{named} cannot be combined with {wrong[0]}")
        if vocab_size is not None and width is not None:
            raise BadInput("--vocab-size and --width cannot be combined: the input is token ids or vectors")
        seconds = parse_time(budget or MODULE_BUDGET[profile or "ci"])
        if hf is not None and width is not None:
            raise BadInput(f"{named} cannot be combined with --width: the input is token ids")
        if unset := [name for name in env or () if name not in os.environ]:
            raise BadInput(f"--env {unset[0]}: is not set here")
        if sandbox:
            _enter_sandbox(module, given.suite, [json_file, junit, sarif], runs, env or ())
        request = replace(
            _request(module, hf, given.suite, given.seed, seconds, vocab_size, width, max_length, profile or "ci"),
            environment=tuple(env or ()),
        )
        raise typer.Exit(_check_module(request, runs, json_file, reports))
    if env:
        raise BadInput(f"--env {env[0]}: needs --module or --hf: a run is checked in this process")
    if sandbox:
        raise BadInput("--sandbox: needs --module")
    if target is None:
        raise BadInput("check needs a run folder, an experiment, --module FILE.py:FACTORY or --hf NAME|FOLDER")
    require_checkpoint(checkpoint)
    limit = None if budget is None else parse_time(budget)
    run = _run_of(target, given.changes(), runs)
    raise typer.Exit(checked(run, checkpoint, json_file, profile or "dev", limit, reports.write))


def replay(
    certificate: Annotated[
        Path, typer.Argument(metavar="VERDICT.json|RUN", help="A certificate, its folder, or `latest`.")
    ],
    name: Annotated[str, typer.Option("--property", metavar="NAME", help="The property whose case is repeated.")],
    explain: ExplainOption = False,
    pytest: Annotated[
        Path | None, typer.Option("--pytest", metavar="FILE.py", help="Write the failing case as a test instead.")
    ] = None,
    json_file: JsonOption = None,
) -> None:
    """Repeat the case that a certificate names for a property.

    Prints the numbers of the certificate beside those of now. Exit code 0: the same verdict; 1: another.
    With --pytest, a test file is written that needs no certificate: it fails until the defect is mended.

    Example: cortexzoo replay runs/cortexgpt-original/20250101-120000-000-abcd/verdict.json --property causality
    """
    from cortexzoo.harness.checking.verdict import Certificate
    from cortexzoo.harness.regression.pytest_file import write_pytest_file
    from cortexzoo.harness.regression.replay import named_judgement, replay_case
    from cortexzoo.harness.runs.find import run_path
    from cortexzoo.harness.tracking.jsonl import to_json_value

    without_foreign_warnings()
    require_folder_of(json_file)
    path = run_path(certificate, RUNS)
    if pytest is not None:
        write_pytest_file(pytest, *named_judgement(path, name), path if path.is_dir() else path.parent)
        print_text(f"test of {name}: python -m pytest {pytest}")
        return
    again = replay_case(path, name)
    print_text(f"{again.then.name}: {again.then.clause}")
    print_text("case: " + (", ".join(f"{key} {value}" for key, value in again.then.case.items()) or "the only one"))
    rows = [
        (when, j.verdict, "–" if j.observed is None else repr(j.observed), repr(j.bound), j.unit, j.reason)
        for when, j in (("then", again.then), ("now", again.now))
    ]
    print_table(("", "verdict", "observed", "bound", "unit", "reason"), rows)
    if explain:
        for line in explained(Certificate((again.now,), {})):
            print_text(line)
    write_json(json_file, to_json_value({"then": asdict(again.then), "now": asdict(again.now), "same": again.same}))
    print_text("same verdict" if again.same else f"the verdict was {again.then.verdict} and is now {again.now.verdict}")
    raise typer.Exit(OK if again.same else UNEXPECTED_VERDICT)


def parse_time(text: str) -> float:
    """The seconds that `60s`, `2m`, `1h` or a plain number stands for. Raises `BadInput`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not seconds > 0:
        raise BadInput(f"--budget: must be a time above 0, as in 60s, 2m or 1h, got {text!r}")
    return seconds


def _run_of(target: str, changes: list[str], runs: Path) -> Any:
    """The run of a folder, or the newest finished run of an experiment, trained first if there is none."""
    from cortexzoo.harness.runs.find import finished_runs, is_latest, run_path
    from cortexzoo.harness.runs.run_folder import Run
    from cortexzoo.harness.studies.comparison.contenders import is_run

    if is_latest(target) or is_run(target):
        if changes:
            raise BadInput(
                f"{target}: a run is checked with the spec of its training: remove {changes[0]}, or train again"
            )
        return Run.open(run_path(target, runs))
    experiment = load_experiment(target, changes)
    found = next(finished_runs(runs, experiment), None)
    if found is None:
        print_text(
            f"no finished run of {experiment.name} with spec hash {experiment.hash()} in {runs}: training it first"
        )
    return found or trained(experiment, runs)


def _enter_sandbox(
    module: str | None, suite: str | None, files: Sequence[Path | None], runs: Path, names: Sequence[str]
) -> None:
    from cortexzoo.harness.checking.modules.sandbox import enter

    if module is None:
        raise BadInput("--sandbox: needs --module")
    reads = [Path(file).parent for file in (module.rpartition(":")[0], suite) if file and os.path.isfile(file)]
    enter(reads, [runs, *(file.parent for file in files if file)], names)


def _request(
    module: str | None,
    hf: str | None,
    suite: str | None,
    seed: str | None,
    seconds: float,
    vocab_size: int | None,
    width: int | None,
    max_length: int,
    profile: ProfileName,
) -> "Request":
    from cortexzoo.harness.checking.modules.hugging_face import Pretrained
    from cortexzoo.harness.checking.modules.loading import Reference
    from cortexzoo.harness.checking.modules.registry import BARE
    from cortexzoo.harness.checking.modules.request import Request

    wanted = load(suite or BARE_SUITE, "suite")
    assert isinstance(wanted, SuiteSpec)
    if foreign := [name for name in wanted.properties if name not in BARE]:
        raise BadInput(f"--suite {suite}: {foreign[0]} needs a trained model; --module and --hf check an untrained one")
    if seed is not None and not seed.isdigit():
        raise BadInput(f"--seed: must be a whole number, at least 0, got {seed!r}")
    effort = PROFILES[profile].effort()
    return Request(
        Reference.parse(module) if module is not None else Pretrained.parse(hf or ""),
        wanted,
        vocab_size,
        width,
        max_length,
        seconds,
        effort.seed if seed is None else int(seed),
        effort.examples,
        profile,
    )


def _check_module(request: "Request", runs: Path, json_file: Path | None, reports: Reports) -> int:
    from cortexzoo.harness.checking.modules.certifying import certify
    from cortexzoo.harness.tracking.jsonl import to_json_value

    with checking_progress(len(request.suite.properties)) as progress:
        certificate, path = certify(request, runs, progress.started)
    print_verdicts(certificate)
    reports.write(certificate)
    print_text(f"takes: {certificate.circumstances['takes']}; certificate: {path}")
    failed = [j for j in certificate.judgements if j.verdict == "fail"]
    if failed:
        print_text(f"next: cortexzoo replay {path} --property {failed[0].name}")
    write_json(json_file, to_json_value(certificate.as_json()))
    return UNEXPECTED_VERDICT if certificate.unexpected else OK
