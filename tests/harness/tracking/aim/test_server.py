"""Aim's pages: a port in use is told, nothing is left running, and the explorer shows curves grouped by variant."""

import http.client
import socket
import time
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

pytest.importorskip("aim", reason="Aim is not available for this Python or system")

from cortexzoo.harness.bench.generated_runs import experiment, generated_run
from cortexzoo.harness.errors import BadInput
from cortexzoo.harness.runs.aim_sync import sync
from cortexzoo.harness.tracking.aim.guard import COOKIE
from cortexzoo.harness.tracking.aim.link import metrics_link
from cortexzoo.harness.tracking.aim.server import require_free, serving
from tests.browser import browser_page, installed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
VARIANTS = ("cortexgpt-original", "cortexgpt-stable")


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"--port {port}: cannot be used: Address already in use; choose another"):
            require_free(port)
    require_free(port)


@pytest.mark.slow
@pytest.mark.skipif(installed() is None, reason="no Chromium is installed")
def test_the_explorer_shows_curves_grouped_by_variant(tmp_path: Path) -> None:
    made = [generated_run(tmp_path, experiment(seed, name), steps=20) for name in VARIANTS for seed in range(2)]
    for run in made:
        sync(run)
    metrics = ("train/loss", "train/gradient_norm")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(tmp_path, port) as guard, browser_page() as page:
        page.open(
            guard.entrance(metrics_link(guard.address, [str(run.manifest["trackers"]["aim"]) for run in made], metrics))
        )
        end = time.monotonic() + 60
        while page.evaluate("document.querySelectorAll('path.AggrLine').length") < 4 and time.monotonic() < end:
            page.wait(1)
        colours = page.evaluate(
            "Array.from(document.querySelectorAll('path.AggrLine')).map(line => getComputedStyle(line).stroke)"
        )
        shown = page.evaluate("document.body.innerText")
    assert len(colours) == len(VARIANTS) * len(metrics)
    assert len(set(colours)) == len(VARIANTS)
    assert all(f'"{name}"' in shown for name in (*VARIANTS, *metrics))
    left = [
        process.info for process in psutil.process_iter(["cmdline"]) if str(port) in (process.info["cmdline"] or [])
    ]
    assert left == []


@pytest.mark.slow
def test_the_server_is_reached_through_its_guard_only(tmp_path: Path) -> None:
    run = generated_run(tmp_path, experiment(0, VARIANTS[0]), steps=5)
    sync(run)
    run_hash = run.manifest["trackers"]["aim"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(tmp_path, port) as guard:
        listening = {c.laddr.port for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid}
        cookie = {"Cookie": f"{COOKIE}={guard.token}"}
        path = f"/api/runs/{run_hash}/info/"
        found = {
            "read": ask(port, "GET", path, cookie),
            "no token": ask(port, "GET", path, {}),
            "foreign": ask(port, "GET", path, {**cookie, "Origin": "http://evil.example"}),
            "delete": ask(port, "DELETE", f"/api/runs/{run_hash}/", cookie),
            "delete many": ask(port, "POST", "/api/runs/delete-batch/", cookie),
            "endless": ask(port, "GET", "/api/runs/search/run/?q=" + quote("(9**9**7) > 0"), cookie),
            "search": ask(port, "GET", "/api/runs/search/run/?q=" + quote(f'run.hash == "{run_hash}"'), cookie),
        }
    assert found == {
        "read": 200, "no token": 403, "foreign": 403, "delete": 405, "delete many": 405, "endless": 400, "search": 200,
    }  # fmt: skip
    assert port in listening


def ask(port: int, method: str, path: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status
