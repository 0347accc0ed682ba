"""The channel from a module's process to its check: signed lines in order, through a pipe.

Each line is the HMAC-SHA256 of its body in hexadecimal, a space and the body, the JSON array [number, event, content].
The key is drawn for each process and never in a file, an argument or an environment variable, and numbers count from 0.
So nothing that writes into the pipe without the key is taken for a result, nor is a line twice or a line less.
"""

import hmac
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from cortexzoo.harness.tracking.jsonl import from_json_value, to_json_value

LONGEST = 1 << 20
"""Bytes of one line."""
DIGITS = 64
Send = Callable[[str, object], None]


class Tampered(Exception):
    """The channel brought something that the check's own code did not send. The message is the reason, a clause."""


def sender(descriptor: int, key: bytes) -> Send:
    """A function that sends an event with its content. Raises `OSError` once the check has ended."""
    numbers = iter(range(1 << 62))

    def send(event: str, content: object) -> None:
        body = json.dumps([next(numbers), event, to_json_value(content)], allow_nan=False).encode()
        rest = memoryview(_signature(key, body) + b" " + body + b"\n")
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    return send


class Receiver:
    """Takes the bytes of a channel as they arrive, and gives its events."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._rest = b""
        self._number = 0

    def events(self, arrived: bytes) -> Iterator[tuple[str, Any]]:
        """Every event that is complete. Raises `Tampered`."""
        *lines, self._rest = (self._rest + arrived).split(b"\n")
        for line in lines:
            yield self._event(line)
        if len(self._rest) > LONGEST:
            raise Tampered("a line without end")

    def _event(self, line: bytes) -> tuple[str, Any]:
        signature, body = line[:DIGITS], line[DIGITS + 1 :]
        if len(line) > LONGEST or not hmac.compare_digest(signature, _signature(self._key, body)):
            raise Tampered("a line that is not signed")
        try:
            number, event, content = json.loads(body)
        except (ValueError, TypeError, RecursionError) as problem:
            raise Tampered("a line that is no event") from problem
        if number != self._number or not isinstance(event, str):
            raise Tampered("events out of order")
        self._number += 1
        return event, from_json_value(content)


def _signature(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, body, "sha256").hexdigest().encode()
