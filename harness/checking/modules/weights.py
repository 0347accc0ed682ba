"""The weights of a folder of Hugging Face: complete, unpickled and of the names that the model expects, or refused."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cortexzoo.harness.checking.modules.errors import ModuleError

SAFE = "*.safetensors"
INDEX = "*.safetensors.index.json"
OTHERS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.gguf", "*.h5", "*.msgpack", "*.bin.index.json")
PREFIXES = ("_orig_mod.", "module.", "model.module.", "_forward_module.")
SHOWN = 3


def has_weights(folder: Path) -> bool:
    """Whether there are weights to be read; a config alone stands for a freshly drawn model.

    Raises `ModuleError` for an index whose files are missing, and for weights in another format or in a sub-folder.
    """
    for index in sorted(folder.glob(INDEX)):
        missing = sorted(name for name in _shards(index) if not (folder / name).is_file())
        if missing:
            raise ModuleError(f"{index}: names {_listed(missing)}, which {_are(missing)} not there: copy all its files")
    if any(folder.glob(SAFE)):
        return True
    for file in sorted(found for pattern in OTHERS for found in folder.glob(pattern)):
        raise ModuleError(f"{file}: only safetensors are read, since other formats may run code: convert it first")
    for file in sorted(folder.glob(f"*/{SAFE}")):
        raise ModuleError(f"{folder}: has no weights, but {file.parent.name}/ has: name that folder")
    return False


def refuse_incomplete(folder: Path | str, report: dict[str, Any]) -> None:
    """Raises `ModuleError` where transformers left a weight of the model freshly drawn, or a weight of the file out."""
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    mismatched = sorted(str(entry[0]) for entry in report.get("mismatched_keys", ()))
    if mismatched:
        raise ModuleError(f"{folder}: {_listed(mismatched)} {_are(mismatched)} of another shape than config.json gives")
    if missing:
        hint = ""
        if prefix := next((p for p in PREFIXES if any(key.startswith(p) for key in unexpected)), None):
            hint = f": the names in the file begin with {prefix}, save the inner model"
        elif unexpected:
            hint = f": the file has {_listed(unexpected)} instead"
        raise ModuleError(f"{folder}: the weights {_listed(missing)} are missing{hint}")
    if unexpected:
        raise ModuleError(f"{folder}: the model has no place for the weights {_listed(unexpected)}")


def _shards(index: Path) -> set[str]:
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise ModuleError(f"{index}: is no index of weights") from problem


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _are(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
