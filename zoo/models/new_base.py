"""The text of a variant on a base that its user names: every number comes from the base's own description."""

import os
from pathlib import Path

from cortexzoo.specs.backbone import AnyArchitecture, FolderBackbone, HubBackbone, Pretrained
from cortexzoo.specs.tuned import Method
from cortexzoo.zoo.errors import BackboneError
from cortexzoo.zoo.models.backbones import own_numbers

CHUNK = 256
POSITIONS = 1024
"""Of a base without a limit."""
UNKNOWN = AnyArchitecture(model_type="unknown", vocab_size=1, hidden_size=1, num_layers=1, max_positions=1)

TUNED: dict[Method, str] = {"lora": "Low-rank adapters in", "full": "All weights trained of"}

TEXT = """\
kind: variant
name: {name}
{family}
description: {what} {base}.

chunk_size: {chunk}
backbone:
  kind: {kind}
  {where}
  architecture:
{numbers}
{method}"""


def variant_text(base: str, file: Path, tuned: Method | None = None) -> str:
    """A variant named after `file`, on a folder with a `config.json` or else a model of the hub.

    With sidecars, or `tuned` itself. Raises `BackboneError` when neither can be read.
    """
    spec: Pretrained
    if Path(base).is_dir():
        spec = FolderBackbone(path=base, architecture=UNKNOWN)
        where = f"path: {_quoted(os.path.relpath(base, file.parent))}"
    elif base.startswith((".", "/")) or Path(base).exists():
        raise BackboneError(f"--base {base}: must be a folder with config.json and safetensors, or the id of a model")
    else:
        spec = HubBackbone(id=base, architecture=UNKNOWN)
        where = f"id: {_quoted(base)}"
    numbers = own_numbers(spec)
    if numbers["max_positions"] is None:
        numbers["max_positions"] = POSITIONS
    lines = "\n".join(
        f"    {key}: {_quoted(value) if isinstance(value, str) else _plain(value)}" for key, value in numbers.items()
    )
    return TEXT.format(
        family="extends: cortex-v2-hybrid" if tuned is None else "family: tuned",
        what="Sidecars on" if tuned is None else TUNED[tuned],
        method="" if tuned is None else f"method: {{kind: {tuned}}}\n",
        name=file.stem,
        base=" ".join(base.split()),
        chunk=min(CHUNK, numbers["max_positions"]),
        kind=spec.kind,
        where=where,
        numbers=lines,
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _plain(value: object) -> str:
    return (
        {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else repr(value)
    )
