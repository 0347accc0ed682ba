"""Which runs a dashboard shows, and from where."""

from collections.abc import Sequence
from pathlib import Path

from cortexzoo.harness.monitor.sources import AimSource, FolderSource, Source, WandbSource
from cortexzoo.harness.runs.run_folder import SPEC, Run, RunFolderError
from cortexzoo.harness.tracking.aim.reading import hash_of, hashes_by_age
from cortexzoo.harness.tracking.aim.sink import REPOSITORY
from cortexzoo.harness.tracking.jsonl import METRICS
from cortexzoo.harness.tracking.wandb import RemoteRun

MOST = 4
"""So many columns fit a wide terminal."""


def folder_sources(targets: Sequence[Path]) -> tuple[list[Source], int]:
    """The folders of `chosen_runs`."""
    runs, left_out = chosen_runs(targets)
    return [FolderSource(run) for run in runs], left_out


def aim_sources(targets: Sequence[Path]) -> tuple[list[Source], int]:
    """As `chosen_runs`, from Aim: each run that is named by its folder, and the newest of each folder of all runs.

    Run folders need not be there any more. Raises `AimError`.
    """
    sources: list[Source] = []
    left_out = 0
    for target in targets:
        if (target / REPOSITORY).is_dir() or not (target.parent.parent / REPOSITORY).is_dir():
            hashes = hashes_by_age(target)
            sources.extend(AimSource(target, run_hash) for run_hash in hashes[:MOST])
            left_out += len(hashes[MOST:])
        else:
            runs = target.parent.parent
            sources.append(AimSource(runs, hash_of(runs, target.name)))
    return sources, left_out


def wandb_sources(targets: Sequence[Path]) -> list[Source]:
    """Runs on a W&B server, each by [ENTITY/]PROJECT/RUN_ID. Raises `WandbError`, and `Failure` without the package."""
    return [WandbSource(RemoteRun(str(target))) for target in targets]


def chosen_runs(targets: Sequence[Path]) -> tuple[list[Run], int]:
    """Each named run, and of each named folder the runs that were written to last; and how many were left out.

    A folder contains runs itself (`runs/cortexgpt-stable`), or contains such folders (`runs`). Raises `RunFolderError`.
    """
    chosen: list[Run] = []
    left_out = 0
    for target in targets:
        if not target.is_dir() or (target / SPEC).is_file():
            chosen.append(Run.open(target))
            continue
        found = sorted({*target.glob(f"*/{SPEC}"), *target.glob(f"*/*/{SPEC}")}, key=_written, reverse=True)
        if not found:
            raise RunFolderError(f"{target}: contains no run: `cortexzoo train NAME --runs {target}` makes one")
        chosen.extend(Run(spec.parent) for spec in found[:MOST])
        left_out += len(found[MOST:])
    return chosen, left_out


def _written(spec: Path) -> float:
    metrics = spec.parent / METRICS
    return (metrics if metrics.is_file() else spec).stat().st_mtime
