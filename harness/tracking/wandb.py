"""The Weights & Biases sink: curves beside the truth. The only file that imports wandb."""

import os
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from cortexzoo.harness.errors import Failure, UserError, in_one_line
from cortexzoo.harness.tracking.base import TrackedRun

PROJECT = "cortexzoo"
SPEC = "spec"
"""The key of the whole spec as JSON, from which `RemoteRun` is shown."""
ALERTS = {"step_refused": "INFO", "rollback": "WARN", "alert": "WARN"}
"""Events that become alerts, and their level."""


class WandbSink:
    """One W&B run. Opening or writing it may raise anything: wrap it in a recorder."""

    name = "wandb"

    def __init__(self, run: TrackedRun) -> None:
        """Raises `Failure` without the package."""
        wandb = import_wandb()
        experiment = run.experiment
        self._wandb = wandb
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=run.identity,
            resume=None if run.identity is None else "allow",
            dir=str(run.folder),
            name=f"{experiment.name} · {run.folder.name}",
            group=experiment.name,
            tags=[f"variant:{experiment.variant.name}"[:64]],
            config={
                "spec_hash": experiment.hash(),
                "folder": run.folder.name,
                SPEC: experiment.canonical_json(),
                **experiment.model_dump(mode="json"),
            },
            mode=_mode(wandb),
            # The folder of a run is the record: neither code, terminal nor machine is copied from here.
            settings=wandb.Settings(
                silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True, x_disable_meta=True
            ),
        )
        self.identity: str = self._run.id

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """All metrics under their own names."""
        self._run.log(dict(values), step=step)

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        """Alerts, refused steps and rollbacks become alerts; of the others W&B has no use."""
        if kind in ALERTS:
            words = ", ".join(f"{name}: {value}" for name, value in detail.items())
            level = self._wandb.AlertLevel[ALERTS[kind]]
            self._run.alert(title=f"{kind} at step {step}", text=words[:500], level=level, wait_duration=60)

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        """`summary.json` as the summary, the verdicts in words, the curves as image."""
        self._run.summary.update({f"outcome/{name}": value for name, value in _flat(summary)})
        if report:
            self._run.summary["outcome/report"] = report
        if picture.is_file():
            self._run.log({"curves": self._wandb.Image(str(picture))})

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def open_sink(run: TrackedRun) -> WandbSink:
    """The W&B run of a run folder, a new one unless it has an identity. May raise anything that wandb raises."""
    return WandbSink(run)


def import_wandb() -> Any:
    """The library. Raises `Failure` when it is not installed."""
    if find_spec("wandb") is None:
        raise Failure('the package wandb is not installed: pip install "cortexzoo[wandb]"')
    import wandb

    return wandb


class RemoteRun:
    """A run on a W&B server, read through W&B's public API. Raises `WandbError`."""

    def __init__(self, path: str) -> None:
        """`path`: [ENTITY/]PROJECT/RUN_ID."""
        self.path = path
        self._api = import_wandb().Api(timeout=20)
        self._run: Any
        self.refresh()
        if SPEC not in self._run.config:
            raise WandbError(f"{path}: was not written by cortexzoo, or by an older one: it has no {SPEC}")
        self.spec = str(self._run.config[SPEC])

    def refresh(self) -> None:
        """Read the run's state again."""
        try:
            self._api.flush()
            self._run = self._api.run(self.path)
        except Exception as problem:  # wandb and requests raise many types
            raise WandbError(f"{self.path}: cannot be read from W&B: {in_one_line(problem)}") from problem

    def steps(self, after: int) -> list[dict[str, Any]]:
        """As the lines of `metrics.jsonl`, of the steps above `after`."""
        try:
            rows = list(self._run.scan_history(min_step=after + 1))
        except Exception as problem:
            raise WandbError(f"{self.path}: cannot be read from W&B: {in_one_line(problem)}") from problem
        return [line for row in rows if len(line := _line(row)) > 2]  # more than step and time

    @property
    def outcome(self) -> str | None:
        """How training ended; None while it has not."""
        status = self._run.summary.get("outcome/status")
        state = str(self._run.state)
        return str(status) if status else None if state in ("running", "pending") else state


class WandbError(UserError):
    """A run that W&B cannot give. The message is one line."""


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    values = {n: v for n, v in row.items() if "/" in n and not n.startswith("outcome/") and isinstance(v, int | float)}
    return {"step": int(row["_step"]), "time": float(row.get("_timestamp", 0.0)), **values}


def _mode(wandb: Any) -> str:
    """As WANDB_MODE has it; offline without a key, which takes one line."""
    named = os.environ.get("WANDB_MODE")
    if named:
        return named
    if _has_login(wandb):
        return "online"
    sys.stderr.write(
        "wandb: no login, so the run is kept in its folder: wandb login, then wandb sync RUN/wandb/offline-run-*\n"
    )
    return "offline"


def _has_login(wandb: Any) -> bool:
    """Whether W&B has a key, without a question at the terminal."""
    if "prompt" in signature(wandb.login).parameters:  # since 0.31, which warns of `wandb.api`
        return bool(wandb.login(prompt=False, verify=False))
    return bool(wandb.api.api_key)


def _flat(values: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """Numbers and texts by path."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}/")
        elif isinstance(value, bool | int | float | str):
            yield f"{above}{name}", value
