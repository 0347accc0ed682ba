"""What a run was made with: versions, platform, threads, and the sums of spec and data."""

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from cortexzoo.harness.checking.circumstances import circumstances
from cortexzoo.specs import ExperimentSpec

Changed = Mapping[str, tuple[Any, Any]]
UNRELATED = ("aim", "pydantic", "safetensors")
"""Packages that compute nothing."""


def manifest(
    experiment: ExperimentSpec, *, run_id: str, command: Sequence[str], data_sha256: str, tokenizer: str | None = None
) -> dict[str, Any]:
    """The content of `manifest.json`; `tokenizer` is the text of the run's `tokenizer.json`, if it has one."""
    sums = {} if tokenizer is None else {"tokenizer_sha256": hashlib.sha256(tokenizer.encode()).hexdigest()}
    return {
        "experiment": experiment.name,
        "run": run_id,
        "spec_hash": experiment.hash(),
        "seed": experiment.seed,
        "data_sha256": data_sha256,
        **sums,
        "command": list(command),
        **circumstances(),
    }


def changed_circumstances(content: Mapping[str, Any]) -> Changed:
    """What results depend on and is another than in a manifest: then and now, by name."""
    now = circumstances()
    pairs = {name: (content.get(name), now[name]) for name in ("threads", "device")}
    pairs["kernels"] = (content.get("kernels", "none"), now.get("kernels", "none"))
    pairs["machine"] = (content.get("platform", {}).get("machine"), now["platform"]["machine"])
    before = content.get("versions", {})
    pairs |= {name: (before.get(name), version) for name, version in now["versions"].items() if name not in UNRELATED}
    return {name: (then, this) for name, (then, this) in pairs.items() if then is not None and then != this}


def in_words_now(changed: Changed) -> str:
    """As in `2 threads instead of 1, torch 2.6.0 instead of 2.5.1`."""
    wording = {"threads": "{} threads instead of {}"}
    return ", ".join(
        wording.get(name, f"{name} {{}} instead of {{}}").format(this, then) for name, (then, this) in changed.items()
    )


def command_line() -> list[str]:
    """The command as it was typed, without the interpreter's path."""
    return [os.path.basename(sys.argv[0]), *sys.argv[1:]]
