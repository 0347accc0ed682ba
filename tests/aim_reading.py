"""What Aim has of a run, and what an address of its pages contains, read back for comparison."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from cortexzoo.harness.tracking.aim.sink import import_aim, open_repository


def decoded(text: str) -> Any:
    """The inverse of `cortexzoo.harness.tracking.aim.link.encoded`."""
    content = text.removeprefix("O-")
    return json.loads(unquote(base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)).decode()))


def read_series(runs: Path, metric: str, *, run_hash: str) -> dict[str | None, tuple[list[int], list[float]]]:
    """Steps and values of one metric of an indexed run, by its `source` context (None: without one)."""
    aim = import_aim()
    from aim.sdk.types import QueryReportMode

    query = f'metric.name == "{metric}" and run.hash == "{run_hash}"'
    found = open_repository(aim, runs).query_metrics(query, report_mode=QueryReportMode.DISABLED)
    series: dict[str | None, tuple[list[int], list[float]]] = {}
    for collection in found.iter_runs():
        for sequence in collection:
            steps, (values,) = sequence.data.view(["val"]).numpy()
            series[sequence.context.to_dict().get("source")] = (steps.tolist(), values.tolist())
    return series
