"""A failing case as a test file that stands alone: plain torch for the common properties, cortexzoo for the others."""

import os
import pprint
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.verdict import Certificate, Judgement
from cortexzoo.harness.errors import UserError
from cortexzoo.harness.regression.plain_tests import PLAIN
from cortexzoo.specs.properties import PROPERTIES

WIDTH = 100


class PytestFileError(UserError):
    """A test file that cannot be made. The message is one line."""


def write_pytest_file(file: Path, certificate: Certificate, then: Judgement, folder: Path) -> None:
    """Write a test of the case that fails until the defect is mended; `folder` is that of the certificate.

    Raises `PytestFileError` for a verdict that is not `fail`, and a file that exists or cannot be written.
    """
    if then.verdict != "fail":
        raise PytestFileError(f"--pytest {file}: {then.name} is {then.verdict}: only a failing case makes a test")
    if file.suffix != ".py":
        raise PytestFileError(f"--pytest {file}: must end in .py")
    circumstances = certificate.circumstances
    body = _plain(circumstances, then, file) or _with_cortexzoo(circumstances, then, folder, file)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(f'"""{then.clause.capitalize()}.\n\n{_wrapped(then.reason)}\n"""\n\n{body}')
    except FileExistsError as problem:
        raise PytestFileError(f"--pytest {file}: is there already: remove it or name another") from problem
    except OSError as problem:
        raise PytestFileError(f"--pytest {file}: cannot be written: {problem.strerror or problem}") from problem


def _plain(circumstances: Mapping[str, Any], then: Judgement, file: Path) -> str | None:
    """A test that needs torch alone, for modules whose case such a test can express."""
    named = circumstances.get("module")
    if named is None or named.startswith("hf:") or (template := PLAIN.get(then.name)) is None:
        return None
    kind = "tokens" if circumstances["vocab_size"] else "vectors"
    inputs = Inputs(kind, circumstances["vocab_size"] or circumstances["width"])  # type: ignore[arg-type]
    path, _, factory = named.rpartition(":")
    return template(_seen_from(file, path), factory, inputs, then)


def _with_cortexzoo(circumstances: Mapping[str, Any], then: Judgement, folder: Path, file: Path) -> str:
    if "module" in circumstances:
        path, separator, factory = circumstances["module"].rpartition(".py:")
        prefix = "" if separator else "hf:"
        path = f"{path}.py" if separator else circumstances["module"].removeprefix("hf:")
        place = f'f"{prefix}{{HERE / {_seen_from(file, path)!r}}}{f":{factory}" if separator else ""}"'
        made = {key: circumstances[key] for key in ("vocab_size", "width", "max_length", "seed")}
        call = f'judge_module({{"module": {place}}} | {made}, {then.name!r}, CASE, BOUND)'
        imported = "judge_module"
    else:
        place = f"str(HERE / {_seen_from(file, str(folder))!r})"
        call = f"judge_run({place}, {circumstances['checkpoint']!r}, {then.name!r}, CASE, BOUND)"
        imported = "judge_run"
    lines = [
        "from pathlib import Path",
        "",
        f"from cortexzoo.harness.regression.single_case import {imported}",
        "",
        "HERE = Path(__file__).parent",
        f"CASE = {pprint.pformat(dict(then.case), width=WIDTH, sort_dicts=False)}",
        f"BOUND = {then.bound!r}  # {PROPERTIES[then.name].unit}",
        "",
        "",
        f"def test_{then.name}() -> None:",
        f"    judgement = {call}",
        '    assert judgement.verdict == "pass", judgement.reason',
    ]
    return "\n".join(lines) + "\n"


def _seen_from(file: Path, path: str) -> str:
    """Relative, so that the test can be committed beside what it tests."""
    return Path(os.path.relpath(Path(path).resolve(), file.parent.resolve())).as_posix()


def _wrapped(text: str) -> str:
    return textwrap.fill(text.replace("\\", "\\\\").replace('"""', "'''"), WIDTH)
