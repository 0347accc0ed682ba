"""Which runs a dashboard shows."""

from collections.abc import Sequence
from pathlib import Path

from harness.run_folder import SPEC, Run, RunFolderError
from harness.tracking.jsonl import METRICS

MOST = 4
"""So many columns fit a wide terminal."""


def chosen_runs(targets: Sequence[Path]) -> tuple[list[Run], int]:
    """Each named run, and of each named folder the runs that were written to last; and how many were left out.

    A folder holds runs itself (`runs/cortexgpt-stable`), or holds such folders (`runs`). Raises `RunFolderError`.
    """
    chosen: list[Run] = []
    left_out = 0
    for target in targets:
        if not target.is_dir() or (target / SPEC).is_file():
            chosen.append(Run.open(target))
            continue
        found = sorted({*target.glob(f"*/{SPEC}"), *target.glob(f"*/*/{SPEC}")}, key=_written, reverse=True)
        if not found:
            raise RunFolderError(f"{target}: holds no run")
        chosen.extend(Run(spec.parent) for spec in found[:MOST])
        left_out += len(found[MOST:])
    return chosen, left_out


def _written(spec: Path) -> float:
    metrics = spec.parent / METRICS
    return (metrics if metrics.is_file() else spec).stat().st_mtime
