"""Runs on a W&B server, through an API of the same shape: no server can be reached from a test."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.monitor.run_view import RunView
from cortexzoo.harness.monitor.sources import WandbSource
from cortexzoo.harness.tracking import wandb
from cortexzoo.harness.tracking.wandb import RemoteRun, WandbError
from tests.harness.trained import small


class Server:
    """One run, as `wandb.Api` gives it."""

    def __init__(self, **config: Any) -> None:
        self.rows = [{"_step": 1, "_timestamp": 10.0, "train/loss": 5.0, "memory/gate_share/current": 0.5}]
        self.run_now = SimpleNamespace(
            config=config, state="running", summary={}, scan_history=self.scan, path=["me", "cortexzoo", "abc"]
        )
        self.timeout = 0

    def Api(self, timeout: int) -> "Server":  # noqa: N802
        self.timeout = timeout
        return self

    def flush(self) -> None:
        pass

    def run(self, path: str) -> Any:
        if path != "cortexzoo/abc":
            raise ValueError(f"Could not find run\n<Run {path}>")
        return self.run_now

    def scan(self, min_step: int) -> Iterator[dict[str, Any]]:
        return (row for row in self.rows if row["_step"] >= min_step)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(spec=small().canonical_json())
    monkeypatch.setattr(wandb, "import_wandb", lambda: made)
    return made


def test_a_run_is_shown_and_followed(server: Server) -> None:
    now = [0.0]
    view = RunView(WandbSource(RemoteRun("cortexzoo/abc"), clock=lambda: now[0]))
    view.look()
    assert (view.step, view.last["train/loss"], view.gate_shares) == (1, 5.0, {"current": 0.5})
    assert view.experiment == small()
    server.rows += [
        {"_step": 2, "_timestamp": 11.0, "train/loss": 4.0},
        {"_step": 3, "outcome/test_loss": 2.0, "curves": {"path": "x.png"}},
    ]
    server.run_now.state, server.run_now.summary = "finished", {"outcome/status": "finished"}
    view.look()
    assert view.step == 1, "a server is not asked each second"
    now[0] = 16.0
    view.look()
    assert (view.step, view.status) == (2, "finished")
    assert view.curves["train/loss"].points == [(1, 5.0), (2, 4.0)]


def test_what_a_server_does_not_have_is_one_line(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "cortexzoo/none", "--source", "wandb", "--snapshot", "out.svg"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "cortexzoo/none: cannot be read from W&B: ValueError: Could not find run"
    del server.run_now.config["spec"]
    with pytest.raises(WandbError, match="was not written by cortexzoo"):
        RemoteRun("cortexzoo/abc")


def test_without_the_package_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wandb, "find_spec", lambda _: None)
    assert main(["monitor", "cortexzoo/abc", "--source", "wandb"]) == 3
    assert "the package wandb is not installed" in capsys.readouterr().err
