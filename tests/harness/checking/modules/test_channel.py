"""The channel takes what was signed, in order, and nothing else."""

import hashlib
import hmac
import json
import os

import pytest

from cortexzoo.harness.checking.modules.channel import LONGEST, Receiver, Tampered, sender

KEY = b"k" * 32


def sent(*events: tuple[str, object], key: bytes = KEY) -> bytes:
    reading, writing = os.pipe()
    tell = sender(writing, key)
    for event, content in events:
        tell(event, content)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


def signed(body: bytes) -> bytes:
    return hmac.new(KEY, body, hashlib.sha256).hexdigest().encode() + b" " + body + b"\n"


def test_events_arrive_in_any_pieces() -> None:
    events = [("ready", {"parameters": 3}), ("case", {"length": 1}), ("judged", {"observed": float("nan")})]
    content = sent(*events)
    receiver = Receiver(KEY)
    pieces = [content[start : start + 7] for start in range(0, len(content), 7)]
    arrived = [event for piece in pieces for event in receiver.events(piece)]
    assert [name for name, _ in arrived] == ["ready", "case", "judged"]
    assert str(arrived[2][1]["observed"]) == "nan"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"event": "judged", "content": {}}\n', "not signed"),
        (b"0" * 64 + b' [0, "ready", null]\n', "not signed"),
        (b"\n", "not signed"),
        (b"[" * (LONGEST + 1), "without end"),
        (sent(("ready", None), key=b"x" * 32), "not signed"),
        (signed(b'[0, "ready", null]') * 2, "out of order"),
        (signed(b'[1, "ready", null]'), "out of order"),
        (signed(b"[" * 100_000), "no event"),
        (signed(json.dumps([0, "ready"]).encode()), "no event"),
        (b"x" + signed(b'[0, "ready", null]'), "not signed"),
    ],
)
def test_what_the_check_did_not_send_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(Tampered, match=reason):
        list(Receiver(KEY).events(content))
