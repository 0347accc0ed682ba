"""The Aim sink: curves beside the truth. The only file that imports aim."""

import logging
import random
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, SoftFileLock, Timeout

from cortexzoo.harness.errors import Failure
from cortexzoo.harness.tracking.aim.exit import bound_exit
from cortexzoo.harness.tracking.base import TrackedRun
from cortexzoo.harness.tracking.windows import Windows
from cortexzoo.specs.metrics import GATE_SHARE

REPOSITORY = ".aim"
_LOCK = ".aim.lock"
PATIENCE = 60.0
"""Seconds that another process may keep the repository for itself."""
_RETRIES = 20
_STAMP = "records"
_SOURCE_METRICS = (GATE_SHARE.removesuffix("/"),)
"""Metrics whose last part names a memory source: they become one Aim metric with a `source` context."""

T = TypeVar("T")


class AimError(Failure):
    """A repository that cannot be used. The message is one line."""


class NotIndexed(Exception):
    """The index was busy: the run is stored, but queries do not see it yet."""


class AimSink:
    """One Aim run in the repository `RUNS/.aim`. Opening or writing it may raise anything: wrap it in a recorder.

    `run_hash` reopens an earlier run instead of starting one.
    """

    name = "aim"

    def __init__(
        self,
        runs: Path,
        *,
        experiment: str,
        parameters: Mapping[str, object] | None = None,
        tags: tuple[str, ...] = (),
        title: str = "",
        run_hash: str | None = None,
    ) -> None:
        aim = import_aim()
        self._runs = runs
        self._repository = open_repository(aim, runs)
        # The defaults of these three start a thread, patch sys.stdout.write and store environment variables.
        self._run: Any = aim.Run(
            run_hash,
            repo=self._repository,
            experiment=experiment,
            system_tracking_interval=None,
            capture_terminal_logs=False,
            log_system_params=False,
        )
        self.identity: str = self._run.hash
        self._closed = False
        self._windows = Windows()
        if title:
            self._run.name = title
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
        for name, samples in self._windows.add(step, values):
            metric, source = _split_source(name)
            context = {} if source is None else {"source": source}
            spread = import_aim().Distribution(samples=samples)
            self._run.track(spread, name=f"{metric}/spread", step=step, context=context)

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        """A text at its step; checkpoints and single documents are left out, which only the run folder needs."""
        if kind not in ("checkpoint", "sample"):
            words = ", ".join(f"{key}: {value}" for key, value in detail.items())
            self._run.track(import_aim().Text(f"{kind} · {words}" if words else kind), name="events", step=step)

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        """`summary.json` as parameters, its verdict as tag, the verdict in words as text, the curves as image."""
        aim = import_aim()
        self._run["summary"] = _storable(summary)
        if report:
            self._run.track(aim.Text(report), name="verdict", step=0)
        if picture.is_file():
            self._run.track(aim.Image(str(picture)), name="curves", step=0)
        verdict = f"verdict:{summary.get('verdict', 'none')}"
        for tag in self._run.tags:
            if tag.startswith("verdict:") and tag != verdict:
                self._run.remove_tag(tag)
        if verdict not in self._run.tags:
            self._run.add_tag(verdict)

    def stamp(self, fingerprint: str) -> None:
        """Note which records this run was made from, for comparing them later with `stamp_of`."""
        self._run[_STAMP] = fingerprint

    def close(self) -> None:
        """Close the run and index it: until then Aim's queries do not see it."""
        if self._closed:
            return
        self._closed = True
        self._run.close()
        _index(self._repository, self._runs, self.identity)


def open_sink(run: TrackedRun) -> AimSink | None:
    """The Aim run of a run folder, a new one unless it has an identity. May raise anything that Aim raises.

    None where it has an identity, but the repository was deleted.
    """
    if run.identity is not None and not (run.runs / REPOSITORY).is_dir():
        return None
    experiment = run.experiment
    return AimSink(
        run.runs,
        run_hash=run.identity,
        experiment=experiment.name,
        title=f"{experiment.name} · {run.folder.name}",
        parameters={
            "variant": experiment.variant.name,
            "recipe": experiment.recipe.name,
            "seed": experiment.seed,
            "spec_hash": experiment.hash(),
            "folder": run.folder.name,
            "hparams": experiment.model_dump(mode="json"),
            "spec": experiment.canonical_json(),
        },
        tags=(f"variant:{experiment.variant.name}",),
    )


def stamp_of(runs: Path, run_hash: str) -> str | None:
    """What `stamp` noted about a run; None: it is not in the repository, or bears no stamp."""
    aim = import_aim()
    if run_hash not in open_repository(aim, runs).list_all_runs():
        return None
    stamp = aim.Run(run_hash, repo=open_repository(aim, runs), read_only=True).get(_STAMP)
    return None if stamp is None else str(stamp)


def remove_run(runs: Path, run_hash: str) -> None:
    """Take a run out of the repository, if it is there. Raises `AimError` when it stays."""
    repository = open_repository(import_aim(), runs)
    if run_hash not in repository.list_all_runs():
        return
    locks = repository._lock_manager
    with _alone(runs):
        locks.release_locks(run_hash, force=False)  # only a lock whose process is gone
        if locks.get_run_lock_info(run_hash).locked or not repository.delete_run(run_hash):
            raise AimError(f"{runs / REPOSITORY}: run {run_hash} is being written by another process: try again later")


def import_aim() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import aim
        import aim.sdk.index_manager
        import aim.sdk.lock_manager
    # A run is opened and closed within deadlines, each in a thread of its own; a lock of one thread would stay forever.
    aim.sdk.lock_manager.SoftFileLock = partial(SoftFileLock, thread_local=False)  # type: ignore[attr-defined, assignment]
    bound_exit(aim)
    logging.getLogger("aim").setLevel(logging.ERROR)
    return aim


def open_repository(aim: Any, runs: Path) -> Any:
    """Creates it if need be. Processes that create one at once, or open one that is being indexed, would die.

    Raises `AimError` for a repository of another version: opening it would write into it.
    """
    _require_version(runs / REPOSITORY)

    def attempt() -> Any:
        with _alone(runs), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return aim.sdk.repo.Repo.from_path(str(runs), init=True)

    return _retried(attempt)


@contextmanager
def _alone(runs: Path) -> Iterator[None]:
    """No other process of ours changes the repository meanwhile. Raises `AimError` when one does for too long."""
    try:
        with FileLock(runs / _LOCK, timeout=PATIENCE):
            yield
    except Timeout:
        locked = f"{runs / REPOSITORY}: is locked by another process for more than {PATIENCE:g} s: try again later"
        raise AimError(locked) from None


def _require_version(repository: Path) -> None:
    from aim.sdk.data_version import DATA_VERSION

    file = repository / "VERSION"
    if not file.is_file():
        return
    written = file.read_text(encoding="utf-8", errors="replace").strip()
    ours = ".".join(str(part) for part in DATA_VERSION)
    if written.split(".")[0] != str(DATA_VERSION[0]) or not written.replace(".", "").isdigit():
        raise AimError(
            f"{repository}: was written by another version of Aim (its data are {written!r}, {ours} is needed): "
            "move it away; `cortexzoo aim-sync` makes a new one from the runs"
        )


def _index(repository: Any, runs: Path, run_hash: str) -> None:
    from aim.sdk.index_manager import RepoIndexManager

    manager = RepoIndexManager.get_index_manager(repository)

    def attempt() -> None:
        manager._corrupted_runs.discard(run_hash)
        with _alone(runs):
            manager.index(run_hash)
        if run_hash in manager._corrupted_runs:
            raise NotIndexed(f"run {run_hash} could not be indexed")

    _retried(attempt)


def _retried(action: Callable[[], T]) -> T:
    """Aim's index is locked exclusively and refuses at once while another process, its server too, uses it."""
    from aim.sdk import index_manager

    failed = index_manager.aimrocks.errors.RocksIOError  # type: ignore[attr-defined]
    for _ in range(_RETRIES):
        try:
            return action()
        except (NotIndexed, failed) as problem:
            if isinstance(problem, failed) and "lock" not in str(problem).lower():
                raise  # such as a full disk
            time.sleep(random.SystemRandom().uniform(0.05, 0.5))
    return action()


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
