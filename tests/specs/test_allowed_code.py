"""Permission to run code that a spec names ends where it was given."""

from contextlib import suppress
from pathlib import Path

import pytest

from cortexzoo.specs.allowed_code import VARIABLE, allowed_meanwhile, is_allowed


@pytest.mark.parametrize("before", [None, "1", "0"])
def test_permission_ends_also_after_an_error(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("CORTEXZOO_CONFIG", str(tmp_path))
    if before is not None:
        monkeypatch.setenv(VARIABLE, before)
    file = tmp_path / "module.py"
    allowed = is_allowed(file)
    with suppress(RuntimeError), allowed_meanwhile():
        assert is_allowed(file)
        raise RuntimeError
    assert is_allowed(file) == allowed == (before == "1")
