"""Memory of training on a corpus larger than it: `cortexzoo bench corpus-memory [--gigabytes N] [--steps N]`.

A text of N GB is generated, prepared as bytes, and trained on. Reported is the most memory that was resident, of each
stage in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

LINES = 20_000
DATA = "{kind: data, family: prepared, name: generated, path: %s}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="cortexzoo bench corpus-memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        text, tokens, runs = (Path(folder, name) for name in ("text.txt", "tokens", "runs"))
        _generate(text, int(options.gigabytes * 1e9))
        found = {"gigabytes": text.stat().st_size / 1e9}
        prepared = ["prepare", str(tokens), str(text)]
        changes = [f"data={DATA % tokens}", f"recipe.steps={options.steps}", "recipe.monitor.validation_sequences=64"]
        trained = ["train", "transformer", *(part for change in changes for part in ("--set", change))]
        for name, command in (
            ("prepare", prepared),
            ("train", [*trained, "--trackers", "jsonl", "--no-check", "--runs", str(runs)]),
        ):
            began = time.perf_counter()
            found[f"{name}_resident_gigabytes"] = _most_resident(command)
            found[f"{name}_seconds"] = time.perf_counter() - began
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    return 0


def _generate(file: Path, size: int) -> None:
    number = 0
    with file.open("w", encoding="utf-8") as opened:
        while opened.tell() < size:
            opened.writelines(
                f"Ship {place} left with {place * 7919 % 1000} crates of tea.\n"
                for place in range(number, number + LINES)
            )
            number += LINES


def _most_resident(command: list[str]) -> float:
    """Gigabytes, of a command of cortexzoo that ends well."""
    watched = "import resource, sys; from cortexzoo.harness.cli import main; code = main(sys.argv[1:]); "
    report = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    done = subprocess.run(
        [sys.executable, "-c", watched + report, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024
    return int(done.stdout.split()[-1]) * unit / 1e9
