"""Names of run folders: the time of their beginning, in an order that no clock can turn."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

RUN_ID = re.compile(r"\d{8}-\d{6}-\d{3}-[0-9a-f]{4}")
ATTEMPTS = 100


def is_empty(folder: Path) -> bool:
    """Whether a run was ended before it wrote its spec: its name is a run's, and it has hidden files at most."""
    named = bool(RUN_ID.fullmatch(folder.name)) and folder.is_dir()
    return named and all(path.name.startswith(".") for path in folder.iterdir())


def new_folder(parent: Path) -> Path:
    """Its name sorts after those of all other runs beside it, also where the clock was set back."""
    for _ in range(ATTEMPTS):
        now = max(datetime.now(UTC), _newest(parent.parent) + timedelta(milliseconds=1))
        folder = parent / f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}-{secrets.token_hex(2)}"
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise FileExistsError(f"{parent}: no free run name in {ATTEMPTS} attempts")


def _newest(runs: Path) -> datetime:
    """The time in the name of the newest run."""
    newest = max((path.name for path in runs.glob("*/*") if RUN_ID.fullmatch(path.name)), default=None)
    if newest is None:
        return datetime.min.replace(tzinfo=UTC)
    try:
        return datetime.strptime(newest[:-5], "%Y%m%d-%H%M%S-%f").replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
