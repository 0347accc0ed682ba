"""The site builds without a warning, and its pages show without a complaint and ask nobody but the site itself."""

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser import browser_page, installed

ROOT = Path(__file__).parents[2]

pytest.importorskip("mkdocs", reason="mkdocs is not installed")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_generated_pages_are_built(site: Path) -> None:
    assert "CosineRestarts" in (site / "spec-reference" / "index.html").read_text(encoding="utf-8")
    assert "cortexzoo aim-sync" in (site / "commands" / "index.html").read_text(encoding="utf-8")
    assert not list(site.rglob("generated.py"))


@pytest.mark.skipif(installed() is None, reason="no Chromium is installed")
@pytest.mark.slow
def test_pages_show_without_a_complaint(address: str) -> None:
    for page in ("", "spec-reference/", "gallery/"):
        with browser_page() as shown:
            shown.open(f"{address}/{page}")
            shown.wait(0.5)
            assert shown.evaluate("document.querySelector('h1').textContent").strip()
            assert shown.complaints == []
            assert [request for request in shown.requests if not request.startswith(address)] == []
