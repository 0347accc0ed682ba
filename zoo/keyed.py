"""Keyed sums: with a key of the user's, files of runs and checkpoints that were written without it are refused.

The key is the content of the file that `CORTEXZOO_KEY_FILE` names; a sum is HMAC-SHA256 (RFC 2104) over the kind of
file and its content. Without the variable nothing is signed, and the sums in a file are not looked at.
"""

import hashlib
import hmac
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cortexzoo.specs.regular_files import read_regular
from cortexzoo.zoo.errors import SetupError

VARIABLE = "CORTEXZOO_KEY_FILE"
FIELD = "keyed"
"""Of a JSON object: the keyed sum of all other fields."""
COMMENT = b"# keyed: "
"""Begins the last line of a YAML file, with the keyed sum of all lines before."""
LEAST, MOST = 32, 4096
"""Bytes of a key."""


def signed(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """`content` with its keyed sum as a field, or without one where there is no key. Raises `SetupError`."""
    plain = {name: value for name, value in content.items() if name != FIELD}
    return plain if (key := _key()) is None else {**plain, FIELD: _sum(key, kind, _canonical(plain))}


def mistake(kind: str, content: Mapping[str, Any]) -> str | None:
    """Why an object that `signed` made must not be used; None: it may. Raises `SetupError`."""
    if (key := _key()) is None:
        return None
    try:
        canonical = _canonical({name: value for name, value in content.items() if name != FIELD})
    except (ValueError, RecursionError):  # nothing that was signed is nested so deeply
        return _judged("", "")
    return _judged(_sum(key, kind, canonical), content.get(FIELD))


def signed_text(kind: str, text: str) -> str:
    """`text` with its keyed sum as a comment in the last line, or as it is where there is no key."""
    if (key := _key()) is None:
        return text
    whole = text if text.endswith("\n") else f"{text}\n"
    return f"{whole}{COMMENT.decode()}{_sum(key, kind, whole.encode())}\n"


def text_mistake(kind: str, path: Path) -> str | None:
    """As `mistake`, of a file with what `signed_text` made; one that cannot be read has a mistake too."""
    if (key := _key()) is None:
        return None
    try:
        text, found, last = read_regular(path).rpartition(COMMENT)
    except OSError as problem:
        return f"cannot be read: {problem.strerror or problem}"
    return _judged(_sum(key, kind, text), last.decode(errors="replace").removesuffix("\n") if found else None)


def _judged(needed: str, found: object) -> str | None:
    if found is None:
        return f"has no keyed sum: it was written without the key that {VARIABLE} names"
    if (
        not needed
        or not isinstance(found, str)
        or not hmac.compare_digest(needed.encode(), found.encode(errors="replace"))
    ):
        return f"its keyed sum is wrong: it was changed, or written with another key than {VARIABLE} names"
    return None


def _sum(key: bytes, kind: str, content: bytes) -> str:
    return hmac.new(key, kind.encode() + b"\0" + content, hashlib.sha256).hexdigest()


def _canonical(content: Mapping[str, Any]) -> bytes:
    # Twice: keys and numbers as they are when the file is read again.
    return json.dumps(json.loads(json.dumps(content)), sort_keys=True, separators=(",", ":")).encode()


def _key() -> bytes | None:
    """The key; None: no file is named. Raises `SetupError` where it is no safe key."""
    if not (named := os.environ.get(VARIABLE)):
        return None
    try:
        content = read_regular(Path(named), MOST)
        mode = os.stat(named).st_mode
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise SetupError(f"{VARIABLE}: {named}: cannot be read: {reason}") from None
    if len(content) < LEAST:
        raise SetupError(f"{VARIABLE}: {named}: a key must have {LEAST} to {MOST} bytes, this one has {len(content)}")
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SetupError(f"{VARIABLE}: {named}: other users must not be able to read it: chmod 600 {named}")
    return content
