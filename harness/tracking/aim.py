"""The Aim sink: curves beside the truth. The only file that imports aim."""

import logging
import random
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock

REPOSITORY = ".aim"
_FIRST_INIT_LOCK = ".aim-init.lock"
_INDEX_ATTEMPTS = 20
_SOURCE_METRICS = ("memory/gate_share",)
"""Metrics whose last part names a memory source: they become one Aim metric with a `source` context."""

T = TypeVar("T")


class AimSink:
    """One Aim run in the repository `RUNS/.aim`. Opening or writing it may raise anything: wrap it in a recorder.

    `run_hash` reopens an earlier run instead of starting one.
    """

    name = "Aim"

    def __init__(
        self,
        runs: Path,
        *,
        experiment: str,
        parameters: Mapping[str, object] | None = None,
        tags: tuple[str, ...] = (),
        run_hash: str | None = None,
    ) -> None:
        aim = _import_aim()
        self._repository = _open_repository(aim, runs)
        # The defaults of these three start a thread, patch sys.stdout.write and store environment variables.
        self._run: Any = aim.Run(
            run_hash,
            repo=self._repository,
            experiment=experiment,
            system_tracking_interval=None,
            capture_terminal_logs=False,
            log_system_params=False,
        )
        self.run_hash: str = self._run.hash
        self._closed = False
        for name, value in (parameters or {}).items():
            self._run[name] = _storable(value)
        for tag in tags:
            self._run.add_tag(tag)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if self._closed:
            raise RuntimeError("metrics after close")
        by_source: defaultdict[str | None, dict[str, float]] = defaultdict(dict)
        for name, value in values.items():
            metric, source = _split_source(name)
            by_source[source][metric] = float(value)
        for source, numbers in by_source.items():
            self._run.track(numbers, step=step, context={} if source is None else {"source": source})

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        """Nothing: events are read from `events.jsonl`."""

    def outcome(self, summary: Mapping[str, object], *, report: str = "", picture: Path | None = None) -> None:
        """How the run ended: `summary.json` as parameters, its verdict as tag, the verdict in words, the curves."""
        aim = _import_aim()
        self._run["summary"] = _storable(summary)
        if report:
            self._run.track(aim.Text(report), name="verdict", step=0)
        if picture is not None and picture.is_file():
            self._run.track(aim.Image(str(picture)), name="curves", step=0)
        verdict = f"verdict:{summary.get('verdict', 'none')}"
        for tag in self._run.tags:
            if tag.startswith("verdict:") and tag != verdict:
                self._run.remove_tag(tag)
        if verdict not in self._run.tags:
            self._run.add_tag(verdict)

    def close(self) -> None:
        """Close the run and index it: until then Aim's queries do not see it."""
        if self._closed:
            return
        self._closed = True
        self._run.close()
        _index(self._repository, self.run_hash)


def read_series(runs: Path, metric: str, *, run_hash: str) -> dict[str | None, tuple[list[int], list[float]]]:
    """Steps and values of one metric of an indexed run, by its `source` context (None: without one)."""
    aim = _import_aim()
    from aim.sdk.types import QueryReportMode

    query = f'metric.name == "{metric}" and run.hash == "{run_hash}"'
    found = _open_repository(aim, runs).query_metrics(query, report_mode=QueryReportMode.DISABLED)
    series: dict[str | None, tuple[list[int], list[float]]] = {}
    for collection in found.iter_runs():
        for sequence in collection:
            steps, (values,) = sequence.data.view(["val"]).numpy()
            series[sequence.context.to_dict().get("source")] = (steps.tolist(), values.tolist())
    return series


def _import_aim() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import aim
        import aim.sdk.index_manager
    logging.getLogger("aim").setLevel(logging.ERROR)
    return aim


def _open_repository(aim: Any, runs: Path) -> Any:
    # Processes that create one repository at once race: most of them die.
    with FileLock(runs / _FIRST_INIT_LOCK), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return aim.sdk.repo.Repo.from_path(str(runs), init=True)


def _index(repository: Any, run_hash: str) -> None:
    from aim.sdk.index_manager import RepoIndexManager

    manager = RepoIndexManager.get_index_manager(repository)

    def attempt() -> None:
        manager._corrupted_runs.discard(run_hash)
        manager.index(run_hash)
        if run_hash in manager._corrupted_runs:
            raise OSError(f"run {run_hash} could not be indexed")

    _retried(attempt)


def _retried(action: Callable[[], T]) -> T:
    """The index takes an exclusive lock and refuses at once while another process holds it."""
    for attempt in range(_INDEX_ATTEMPTS):
        try:
            return action()
        except Exception:
            if attempt == _INDEX_ATTEMPTS - 1:
                raise
            time.sleep(random.SystemRandom().uniform(0.05, 0.5))
    raise AssertionError("unreachable")


def _split_source(name: str) -> tuple[str, str | None]:
    metric, _, source = name.rpartition("/")
    return (metric, source) if metric in _SOURCE_METRICS else (name, None)


def _storable(value: object) -> object:
    """What Aim can store: it raises on None, sets and numpy scalars."""
    if isinstance(value, Mapping):
        return {str(key): _storable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_storable(entry) for entry in value]
    if value is None:
        return "none"
    if isinstance(value, bool | int | float | str):
        return value
    return str(value)
