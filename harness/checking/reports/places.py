"""Where in the user's files a verdict belongs."""

from pathlib import Path
from typing import Any

from cortexzoo.harness.checking.verdict import Certificate, Judgement


def place_of(certificate: Certificate, judgement: Judgement) -> tuple[str, int]:
    """File and line: of the cause where it is known, else the first of the module's file; relative where possible."""
    if "file" in judgement.cause:
        return _relative(str(judgement.cause["file"])), int(judgement.cause.get("line", 1))
    return _relative(subject_of(certificate).removeprefix("hf:").rpartition(".py:")[0] + ".py"), 1


def subject_of(certificate: Certificate) -> str:
    """What was checked: the module, or the experiment."""
    circumstances: Any = certificate.circumstances
    return str(circumstances.get("module") or circumstances.get("experiment") or circumstances["suite"])


def has_file(certificate: Certificate, judgement: Judgement) -> bool:
    """Whether there is a file that a verdict belongs to; there is none for a run whose cause is unknown."""
    return "file" in judgement.cause or ".py:" in subject_of(certificate)


def _relative(file: str) -> str:
    try:
        return Path(file).resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return Path(file).as_posix()
