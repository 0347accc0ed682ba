"""The tokenizer that a run keeps, whatever becomes of the file that it came from."""

import hashlib
import os
from pathlib import Path

from cortexzoo.harness.errors import RunStopped
from cortexzoo.harness.runs.run_folder import MANIFEST, Run, RunFolderError
from cortexzoo.harness.runs.whole_files import write_whole
from cortexzoo.specs.regular_files import read_regular

TOKENIZER = "tokenizer.json"


def keep_tokenizer(run: Run, content: str | None) -> None:
    """Write the text of a `tokenizer.json`, if there is one, into the run's folder. Raises `RunStopped`."""
    if content is None:
        return
    path = run.path / TOKENIZER
    try:
        write_whole(path, content)
    except OSError as problem:
        raise RunStopped(f"{path}: cannot be written: {problem.strerror or problem}") from problem


def kept_tokenizer(run: Run) -> Path | None:
    """The file of the run's tokenizer; None: it has none.

    Raises `RunFolderError` where it is missing, or another than the run was trained with.
    """
    if not os.path.lexists(run.path / MANIFEST):
        return None
    summed = run.manifest.get("tokenizer_sha256")
    if summed is None:
        return None
    path = run.path / TOKENIZER
    try:
        found = hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as problem:
        raise RunFolderError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    if found != summed:
        raise RunFolderError(
            f"{path}: is not the tokenizer that the run was trained with (sha256 {found[:12]}…, then {summed[:12]}…): "
            "put that one back"
        )
    return path
