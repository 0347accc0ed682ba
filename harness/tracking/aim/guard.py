"""A guard before Aim's server: this machine's browser only, with a token, for reading, with queries that end.

Aim's own server answers every host and origin and has no login, so any web page could read and delete runs while it is
open. It therefore listens on a socket that only this user can open, and this guard passes on what it allows.
"""

import hmac
import http.client
import re
import secrets
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cortexzoo.harness.tracking.aim.queries import query_mistake

COOKIE = "cortexzoo-aim"
ENTER = "/enter/"
READING = re.compile(r"/api/runs/(?:search/metric/align|(?:[\w-]+/)*get-batch)/?")
"""The POST requests that change nothing."""
MOST_SENT = 1 << 20
PATIENCE = 60.0
"""Seconds that Aim has for an answer."""
PIECE = 1 << 16
DROPPED = frozenset({"connection", "keep-alive", "transfer-encoding", "origin", "cookie", "content-length"})
HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard(ThreadingHTTPServer):
    """Listens on loopback and passes requests to the socket of Aim's server."""

    daemon_threads = True

    def __init__(self, host: str, port: int, upstream: Path) -> None:
        super().__init__((host, port), _Request)
        self.upstream = upstream
        self.token = secrets.token_urlsafe(32)
        self.names = frozenset({f"{host}:{self.server_port}", f"localhost:{self.server_port}"})
        self.address = f"http://{host}:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away is no error; anything else is printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def entrance(self, link: str) -> str:
        """The link that also brings the token, which becomes a cookie."""
        return f"{self.address}{ENTER}{self.token}{link.removeprefix(self.address) or '/'}"


@contextmanager
def guarding(host: str, port: int, upstream: Path) -> Iterator[Guard]:
    """A guard that answers until the block is left. Raises `OSError`."""
    with Guard(host, port, upstream) as guard:
        thread = threading.Thread(target=guard.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield guard
        finally:
            guard.shutdown()
            thread.join()


class _Request(BaseHTTPRequestHandler):
    server: Guard
    server_version, sys_version = "cortexzoo", ""
    timeout = PATIENCE

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):  # every other method
            return self._answer
        raise AttributeError(name)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the terminal belongs to the command."""

    def _answer(self) -> None:
        if self.headers.get("Host") not in self.server.names or not self._is_from_here():
            self._refuse(HTTPStatus.FORBIDDEN, "only pages of this server may send requests")
        elif self.path.startswith(ENTER):
            self._enter()
        elif not hmac.compare_digest(self._token().encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "open the link that cortexzoo printed: it brings a token")
        elif refused := self._mistake():
            self._refuse(*refused)
        else:
            self._pass_on()

    def _is_from_here(self) -> bool:
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        own = origin is None or origin.removeprefix("http://") in self.server.names
        return own and site in (None, "none", "same-origin")

    def _enter(self) -> None:
        token, _, rest = self.path.removeprefix(ENTER).partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "the token is that of another start")
            return
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Set-Cookie", f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/")
        self.send_header("Location", "/" + rest.lstrip("/\\"))
        self._end_headers()

    def _token(self) -> str:
        cookies: SimpleCookie = SimpleCookie()
        with suppress(CookieError):
            cookies.load(self.headers.get("Cookie", ""))
        return cookies[COOKIE].value if COOKIE in cookies else ""

    def _mistake(self) -> tuple[HTTPStatus, str] | None:
        # Servers differ in where a query ends at a fragment, and in what a path with a host is.
        if "#" in self.path or not self.path.startswith("/"):
            return HTTPStatus.BAD_REQUEST, "the address must be a path and a query"
        parts = urlsplit(self.path)
        if self.command != "GET" and not (self.command == "POST" and READING.fullmatch(parts.path)):
            return HTTPStatus.METHOD_NOT_ALLOWED, "for reading only: nothing in the repository is changed from here"
        if not self.headers.get("Content-Length", "0").isdigit() or self._sent > MOST_SENT:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST_SENT} bytes may be sent"
        for query in parse_qs(parts.query).get("q", []):
            if mistake := query_mistake(query):
                return HTTPStatus.BAD_REQUEST, mistake
        return None

    @property
    def _sent(self) -> int:
        return int(self.headers.get("Content-Length", "0"))

    def _pass_on(self) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in DROPPED}
        with closing(_Connection(self.server.upstream)) as connection:
            try:
                connection.request(self.command, self.path, self.rfile.read(self._sent) or None, headers)
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException):
                self._refuse(HTTPStatus.BAD_GATEWAY, "Aim's server gave no answer")
                return
            with suppress(OSError, http.client.HTTPException):
                self._send(answer)

    def _send(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in DROPPED and not name.lower().startswith("access-control-"):
                self.send_header(name, value)
        self._end_headers()
        while piece := answer.read1(PIECE):
            self.wfile.write(piece)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self._end_headers()
        self.wfile.write(f"{reason}\n".encode())

    def _end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """To the socket of the file."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))
