"""What `cortexzoo show` prints of a run."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from cortexzoo.harness.cli.output import print_table, print_text, without_foreign_warnings, write_json
from cortexzoo.harness.cli.verdicts import print_verdicts
from cortexzoo.harness.runs.listing import row_of
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, MANIFEST, SPEC, Run
from cortexzoo.harness.tracking.jsonl import to_json_value


def show_run(path: Path, json_file: Path | None) -> None:
    """State, result, checkpoints and verdicts. Raises `RunFolderError`."""
    without_foreign_warnings()
    run = Run.open(path)
    row = row_of(run)
    manifest = run.manifest if (run.path / MANIFEST).is_file() else {}
    checkpoints = sorted(folder.name for folder in (run.path / CHECKPOINTS).glob("*") if folder.is_dir())
    content = {**row.as_json(), "command": manifest.get("command"), "checkpoints": checkpoints}
    shown = {**content, "command": _typed(manifest.get("command") or [])}
    print_table(("run", ""), [(key.replace("_", " "), _text(value)) for key, value in shown.items()])
    if row.outcome != "unchecked":
        print_text("")
        print_verdicts(run.certificate)
    print_text(f"\nspec: cortexzoo show {run.path / SPEC}")
    write_json(json_file, to_json_value(content))


def _typed(command: Sequence[str]) -> str:
    """A command line to copy; `python -m cortexzoo` is recorded by the name of its file."""
    return shlex.join(["cortexzoo" if word == "__main__.py" else word for word in command])


def _text(value: object) -> str:
    if value in (None, "", []):
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.3f}" if isinstance(value, float) else str(value)
