"""Files with a key of the user's: what was written or changed without it, and keys that are none."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from cortexzoo.harness.checking.mistakes.attempt import Attempt, fits, mistaken, wrong_ends
from cortexzoo.zoo import checkpoints, keyed
from cortexzoo.zoo.checkpoints import MANIFEST, CheckpointReader

OWN, OTHER, NONE = bytes(range(32)), bytes(range(1, 33)), b""
LEAST, MOST = 32, 4096
"""Bytes of a key, as documented."""
PRIVATE, OF_THE_GROUP = 0o600, 0o640


def of_keys() -> Iterator[Attempt]:
    """Checkpoints, objects and texts, each with the key that it was written with, without it, and with another."""
    yield Attempt("files with a key", _all, True)


def _all() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if wrong := wrong_ends([*_checkpoints(folder), *_texts(folder), *_keys(folder)]):
            raise ValueError("; ".join(wrong[:3]))


def _with(folder: Path, key: bytes, act: Callable[[], Any], mode: int = PRIVATE) -> Any:
    """With this key, or with none."""
    file = folder / "key"
    file.unlink(missing_ok=True)
    file.write_bytes(key)
    file.chmod(mode)
    with patch.dict(os.environ, {keyed.VARIABLE: str(file) if key else ""}):
        return act()


def _checkpoints(folder: Path) -> Iterator[Attempt]:
    for what, written, read, suits in (
        ("a checkpoint", OWN, OWN, True),
        ("a checkpoint without a key", NONE, NONE, True),
        ("a checkpoint whose key is not asked for", OWN, NONE, True),
        ("a checkpoint that was written without the key", NONE, OWN, False),
        ("a checkpoint of another key", OTHER, OWN, False),
    ):
        place = folder / what.replace(" ", "-")
        _with(folder, written, partial(_write, place))
        yield Attempt(what, partial(_with, folder, read, partial(CheckpointReader, place)), suits)
    place = folder / "a-checkpoint"
    manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    plain = {name: value for name, value in manifest.items() if name != keyed.FIELD}
    changed = plain | {"files": dict(reversed(plain["files"].items())) | {"more.json": "0" * 64}}
    for what, content in {
        "a list of other files": {**changed, keyed.FIELD: manifest[keyed.FIELD]},
        "the list of another kind of file": _with(folder, OWN, partial(keyed.signed, "verdict", plain)),
        "a sum that is no text": {**plain, keyed.FIELD: 7},
    }.items():
        yield mistaken(what, partial(_with, folder, OWN, partial(_listed, place, content)))


def _write(place: Path) -> None:
    checkpoints.begin(place)
    checkpoints.write_files(place, {"model": {"weight": torch.zeros(2)}}, {"trainer": {"position": 1}})
    checkpoints.publish(place)


def _listed(place: Path, content: Mapping[str, Any]) -> None:
    (place / MANIFEST).write_text(json.dumps(content), encoding="utf-8")
    CheckpointReader(place)


def _texts(folder: Path) -> Iterator[Attempt]:
    for what, text in (("a text", "seed: 0\n"), ("a text without an end", "seed: 0")):
        own = _with(folder, OWN, partial(keyed.signed_text, "spec", text))
        other = _with(folder, OTHER, partial(keyed.signed_text, "spec", text))
        of_kind = partial(_judged, folder, "spec")
        yield fits(what, partial(of_kind, own, OWN))
        yield fits(f"{what} whose key is not asked for", partial(of_kind, own, NONE))
        yield mistaken(f"{what} that was changed", partial(of_kind, own.replace("0", "1", 1), OWN))
        yield mistaken(f"{what} without a sum", partial(of_kind, text, OWN))
        yield mistaken(f"{what} of another key", partial(of_kind, other, OWN))
        yield mistaken(f"{what} of another kind", partial(_judged, folder, "suite", own, OWN))
    for number, count in ((1, 1.0), (2, [1, {"a": None}])):
        content = {"count": count, "keyed": "before"}
        again = json.loads(json.dumps(_with(folder, OWN, partial(keyed.signed, "spec", content))))
        yield fits(f"object {number}", partial(_objects, folder, again))
        yield mistaken(f"object {number}, with another value", partial(_objects, folder, {**again, "count": 2}))


def _judged(folder: Path, kind: str, text: str, key: bytes) -> None:
    file = folder / "text.yaml"
    file.write_text(text, encoding="utf-8")
    if wrong := _with(folder, key, partial(keyed.text_mistake, kind, file)):
        raise ValueError(wrong)


def _objects(folder: Path, content: Mapping[str, Any]) -> None:
    if wrong := _with(folder, OWN, partial(keyed.mistake, "spec", content)):
        raise ValueError(wrong)


def _keys(folder: Path) -> Iterator[Attempt]:
    signed = partial(keyed.signed, "spec", {})
    for size, suits in ((LEAST - 1, False), (LEAST, True), (MOST, True), (MOST + 1, False)):
        yield Attempt(f"a key of {size} bytes", partial(_with, folder, bytes(size), signed), suits)
    if os.name == "posix":
        yield mistaken("a key that others read", partial(_with, folder, OWN, signed, OF_THE_GROUP))
    yield mistaken("a key that there is not", partial(_absent, folder, signed))


def _absent(folder: Path, act: Callable[[], Any]) -> None:
    with patch.dict(os.environ, {keyed.VARIABLE: str(folder / "nowhere")}):
        act()
