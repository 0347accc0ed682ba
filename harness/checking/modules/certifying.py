"""The certificate of a bare module: what was found, and all that is needed to find it again."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cortexzoo.harness.checking.circumstances import circumstances
from cortexzoo.harness.checking.modules.account import Found
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.request import Request
from cortexzoo.harness.checking.modules.supervision import check_module
from cortexzoo.harness.checking.verdict import VERDICT, Certificate
from cortexzoo.harness.tracking.jsonl import to_json_value
from cortexzoo.specs.properties import PropertyName
from cortexzoo.zoo import keyed

FOLDER = "modules"
HASHED = (".json", ".safetensors", ".bin")


def certify(
    request: Request, runs: Path, started: Callable[[PropertyName], None] = lambda _: None
) -> tuple[Certificate, Path]:
    """Check the module, write its certificate below `runs`, give both it and its path.

    Raises `ModuleError` when the module cannot be tested or the certificate cannot be written.
    """
    found = check_module(request, started)
    certificate = Certificate(tuple(found.judgements.values()), _circumstances(request, found))
    path = runs / FOLDER / request.reference.label / VERDICT
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        signed = keyed.signed(VERDICT, to_json_value(certificate.as_json()))
        content = json.dumps(signed, indent=2, allow_nan=False, ensure_ascii=False)
        path.write_text(content + "\n", encoding="utf-8")
    except OSError as problem:
        raise ModuleError(f"{path}: cannot be written: {problem.strerror or problem}") from problem
    return certificate, path


def source_sum(path: Path) -> str:
    """The sha256 of the module's file, or of a folder's config and weights."""
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in HASHED)
    total = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            total.update(hashlib.file_digest(content, "sha256").digest() if len(files) > 1 else content.read())
    return total.hexdigest()


def _named(request: Request) -> str:
    """As `Reference.parse` and `Pretrained.parse` read it, wherever they are called."""
    reference = request.reference
    return str(replace(reference, path=reference.path.resolve()))


def _circumstances(request: Request, found: Found) -> dict[str, object]:
    inputs = found.inputs
    takes = "unknown: no call returned"
    if inputs is not None:
        takes = f"token ids below {inputs['size']}" if inputs["kind"] == "tokens" else f"vectors of {inputs['size']}"
    return {
        "module": _named(request),
        "module_sha256": source_sum(request.reference.path),
        "takes": takes,
        "vocab_size": inputs["size"] if inputs and inputs["kind"] == "tokens" else None,
        "width": inputs["size"] if inputs and inputs["kind"] == "vectors" else None,
        "max_length": request.max_length,
        "environment": list(request.environment),
        "parameters": found.parameters,
        "suite": request.suite.name,
        "seed": request.seed,
        "profile": request.profile,
        **circumstances(),
        "threads": 1,
    }
