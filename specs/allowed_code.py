"""Whether code that a spec names may run: with `--allow-code`, or in a folder that the user has allowed before."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "CORTEXZOO_ALLOW_CODE"
"""Passes the permission of a command on to the processes that it starts."""
_INHERITED = os.environ.get(VARIABLE)

executed: set[str] = set()
"""Files whose code has run in this process: an error that begins there is the user's."""


def allow_in_this_process(allowed: bool) -> None:
    """Allow any code, or only what this process was started with."""
    if allowed:
        os.environ[VARIABLE] = "1"
    elif _INHERITED is None:
        os.environ.pop(VARIABLE, None)


@contextmanager
def allowed_meanwhile() -> Iterator[None]:
    """Inside any code may run, also in the processes that are started there."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "1"
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None) if before is None else os.environ.update({VARIABLE: before})


def is_allowed(file: Path) -> bool:
    """Whether the code of `file` may run."""
    if os.environ.get(VARIABLE) == "1":
        return True
    real = Path(os.path.realpath(file))
    return any(real.is_relative_to(folder) for folder in allowed_folders())


def allowed_folders() -> list[Path]:
    """The folders that the user has allowed; none where the list cannot be read."""
    try:
        content = json.loads(list_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [Path(folder) for folder in content if isinstance(folder, str)] if isinstance(content, list) else []


def remember(folders: Sequence[Path]) -> None:
    """Write the list of allowed folders. Raises `OSError`."""
    path = list_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sorted({str(folder) for folder in folders}), indent=2) + "\n", encoding="utf-8")


def list_file() -> Path:
    """In the user's own configuration, so that no project can allow its own code."""
    from platformdirs import user_config_path

    named = os.environ.get("CORTEXZOO_CONFIG")
    return (Path(named) if named else user_config_path("cortexzoo")) / "allowed-code.json"
