"""The guard before Aim's server: who asks, with what token, for what, and with which queries."""

import http.client
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any
from urllib.parse import quote

import pytest

from cortexzoo.harness.tracking.aim.guard import COOKIE, Guard, guarding
from cortexzoo.harness.tracking.aim.link import metrics_link
from cortexzoo.harness.tracking.aim.queries import LONGEST, query_mistake


class Upstream(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    asked: list[str]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The guard may end a request whose browser has gone; what the guard itself prints is what counts."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Answer(BaseHTTPRequestHandler):
    server: Upstream

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.send_response(200)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(b"a" * 200_000)

    do_POST = do_DELETE = do_PUT = do_GET  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    with Upstream(str(tmp_path_factory.mktemp("aim") / "s"), Answer) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def guard(upstream: Upstream) -> Iterator[Guard]:
    with guarding("127.0.0.1", 0, Path(str(upstream.server_address))) as opened:
        yield opened


def ask(guard: Guard, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", guard.server_port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def entered(guard: Guard) -> str:
    return f"{COOKIE}={guard.token}"


def test_the_link_brings_a_cookie_that_opens_the_pages(guard: Guard, upstream: Upstream) -> None:
    link = metrics_link(guard.address, ["abc"])
    status, headers, _ = ask(guard, guard.entrance(link).removeprefix(guard.address))
    assert status == 303 and guard.address + str(headers["Location"]) == link
    cookie = str(headers["Set-Cookie"])
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    status, headers, content = ask(guard, str(headers["Location"]), Cookie=cookie.partition(";")[0])
    assert status == 200 and len(content) == 200_000
    assert "Access-Control-Allow-Origin" not in headers and headers["X-Frame-Options"] == "DENY"
    assert upstream.asked[-1].startswith("GET /metrics?")


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Cookie": ""}, "open the link that cortexzoo printed"),
        ({"Cookie": f"{COOKIE}=guessed"}, "open the link that cortexzoo printed"),
        ({"Host": "evil.example"}, "only pages of this server"),
        ({"Host": "127.0.0.1"}, "only pages of this server"),
        ({"Origin": "http://evil.example"}, "only pages of this server"),
        ({"Origin": "null"}, "only pages of this server"),
        ({"Origin": "http://127.0.0.1:1"}, "only pages of this server"),
        ({"Sec-Fetch-Site": "cross-site"}, "only pages of this server"),
        ({"Sec-Fetch-Site": "same-site"}, "only pages of this server"),
    ],
)
def test_others_get_nothing(guard: Guard, upstream: Upstream, headers: dict[str, str], reason: str) -> None:
    before = list(upstream.asked)
    status, answered, content = ask(guard, "/api/runs/search/run/", **{"Cookie": entered(guard), **headers})
    assert status == 403 and reason in content.decode()
    assert "Access-Control-Allow-Origin" not in answered
    assert upstream.asked == before


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/projects/", 200),
        ("GET", "/api/runs/search/run/?q=" + quote('run.hash in ["a", "b"]'), 200),
        ("POST", "/api/runs/search/metric/align/", 200),
        ("POST", "/api/runs/abc-1/metric/get-batch/", 200),
        ("POST", "/api/runs/delete-batch/", 405),
        ("POST", "/api/runs/archive-batch/", 405),
        ("POST", "/api/runs/abc/tags/new/", 405),
        ("POST", "/api/apps/", 405),
        ("POST", "/api/runs/../experiments/get-batch", 405),
        ("PUT", "/api/runs/abc/", 405),
        ("DELETE", "/api/runs/abc/", 405),
        ("OPTIONS", "/api/runs/abc/", 405),
        ("PATCH", "/api/runs/abc/", 405),
        ("GET", "/api/runs/search/run/?q=" + quote("(9**9**7) > 0"), 400),
        ("GET", "/api/runs/search/run/?x=1&q=" + quote("[x for x in y]"), 400),
        ("GET", "/api/runs/search/run/?x=1#&q=" + quote("[x for x in y]"), 400),
        ("GET", "http://x/api/runs/search/run/", 403),
    ],
)
def test_only_reading_is_passed_on(guard: Guard, upstream: Upstream, method: str, path: str, status: int) -> None:
    before = len(upstream.asked)
    found, _, _ = ask(guard, path, method, Cookie=entered(guard))
    assert found == status
    assert len(upstream.asked) == before + (status == 200)


def test_a_token_of_another_start_and_a_foreign_target_do_not_enter(guard: Guard) -> None:
    assert ask(guard, "/enter/guessed/metrics")[0] == 403
    status, headers, _ = ask(guard, f"/enter/{guard.token}//evil.example/")
    assert (status, headers["Location"]) == (303, "/evil.example/")


def test_too_much_is_not_read(guard: Guard) -> None:
    with socket.create_connection(("127.0.0.1", guard.server_port)) as connection:
        connection.sendall(
            f"POST /api/runs/search/metric/align/ HTTP/1.1\r\nHost: 127.0.0.1:{guard.server_port}\r\n"
            f"Cookie: {entered(guard)}\r\nContent-Length: 99999999999\r\n\r\n".encode()
        )
        assert connection.recv(100).split()[1] == b"413"


def test_a_browser_that_goes_away_leaves_no_word(guard: Guard, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", guard.server_port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(
                f"GET /api/projects/ HTTP/1.1\r\nHost: 127.0.0.1:{guard.server_port}\r\n"
                f"Cookie: {entered(guard)}\r\n\r\n".encode()
            )
    assert ask(guard, "/api/projects/", Cookie=entered(guard))[0] == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "query",
    [
        "",
        'run.hash in ["a", "b"]',
        '(run.active == False) and (metric.name == "train/loss" and metric.context.source == "stm")',
        'run.params["variant"] != None and not run.name.startswith("x") or run.duration > -1.5',
        "run.created_at >= datetime(2025, 1, 1)",
    ],
)
def test_comparisons_are_queries(query: str) -> None:
    assert query_mistake(query) is None


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("9**9**7 > 0", "BinOp is not passed on"),
        ("'a' * 10**10 == 1", "BinOp is not passed on"),
        ("[x for x in run]", "ListComp is not passed on"),
        ("(lambda: 1)()", "may call"),
        ("run.__class__ == 1", "may not use __class__"),
        ("open('x') == 1", "may call"),
        ("run.hash ==", "is no expression"),
        ("(" * 1000, "is no expression"),
        ("a == 1 or " * (LONGEST // 9) + "b == 1", "characters"),
    ],
)
def test_what_may_never_end_is_none(query: str, reason: str) -> None:
    mistake = query_mistake(query)
    assert mistake is not None and reason in mistake
