"""Memory of training on a corpus larger than it: a text is generated, prepared as bytes, and trained on.

Measured is the most memory that was resident, of each stage in a process of its own.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cortexzoo.harness.fuzzing.campaign import set_options

LINES = 20_000
DATA = "{kind: data, family: prepared, name: generated, path: %s}"


def measured(gigabytes: float, steps: int) -> dict[str, float]:
    """Resident gigabytes and seconds of each stage, by name."""
    with tempfile.TemporaryDirectory() as folder:
        text, tokens, runs = (Path(folder, name) for name in ("text.txt", "tokens", "runs"))
        _generate(text, int(gigabytes * 1e9))
        found = {"gigabytes": text.stat().st_size / 1e9}
        prepared = ["prepare", str(tokens), str(text)]
        changes = [f"data={DATA % tokens}", f"recipe.steps={steps}", "recipe.monitor.validation_sequences=64"]
        trained = ["train", "transformer", *set_options(changes)]
        for name, command in (
            ("prepare", prepared),
            ("train", [*trained, "--trackers", "jsonl", "--no-check", "--runs", str(runs)]),
        ):
            began = time.perf_counter()
            found[f"{name}_resident_gigabytes"] = most_resident(command)
            found[f"{name}_seconds"] = time.perf_counter() - began
    return found


def _generate(file: Path, size: int) -> None:
    number = 0
    with file.open("w", encoding="utf-8") as opened:
        while opened.tell() < size:
            opened.writelines(
                f"Ship {place} left with {place * 7919 % 1000} crates of tea.\n"
                for place in range(number, number + LINES)
            )
            number += LINES


def most_resident(command: list[str]) -> float:
    """Gigabytes, of a command of cortexzoo that ends well."""
    watched = "import resource, sys; from cortexzoo.harness.cli import main; code = main(sys.argv[1:]); "
    report = "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    done = subprocess.run(
        [sys.executable, "-c", watched + report, *command], stdout=subprocess.PIPE, text=True, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024
    return int(done.stdout.split()[-1]) * unit / 1e9
