"""Checking a module from outside: a child process does it, and a hang or a crash in it is a verdict, not an end."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cortexzoo
from cortexzoo.harness.checking.effort import PROFILES, ProfileName
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.hugging_face import Pretrained
from cortexzoo.harness.checking.modules.loading import Reference
from cortexzoo.harness.checking.modules.patience import Patience
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.tracking.jsonl import from_json_value
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.suite import PropertyName

POLL = 0.02
START_LIMIT = 60.0
"""Seconds that a child may compute, or idle, to start Python and torch, before anything of the user's is called."""
SHORTEST_LIMIT, LONGEST_LIMIT = 3.0, 60.0
"""Bounds of the seconds that one case may compute, or idle, before it counts as hanging: a quarter of the budget."""
HINT = " (the limit follows --budget: raise it if the module is only slow)"
MOST_HANGS = 3
"""After so many the rest is not tried: each costs its limit."""


@dataclass(frozen=True)
class Request:
    """What is asked of a child. None for a size: find out."""

    reference: Reference | Pretrained
    suite: SuiteSpec
    vocab_size: int | None = None
    width: int | None = None
    max_length: int = 2048
    seconds: float = 60.0
    seed: int = 0
    examples: int = PROFILES["ci"].examples
    profile: ProfileName = "ci"

    @property
    def case_limit(self) -> float:
        """Seconds that one case may compute, or idle."""
        return min(max(self.seconds / 4, SHORTEST_LIMIT), LONGEST_LIMIT)

    def as_json(self, properties: Sequence[PropertyName], seconds: float) -> dict[str, Any]:
        """The request for some of the properties."""
        return {
            "path": str(self.reference.path),
            "name": self.reference.name,
            "suite": self.suite.canonical_json(),
            "vocab_size": self.vocab_size,
            "width": self.width,
            "max_length": self.max_length,
            "seconds": seconds,
            "seed": self.seed,
            "examples": self.examples,
            "properties": list(properties),
        }


@dataclass
class Found:
    """What came out: the judgements in the order of the suite, and what the module takes."""

    judgements: dict[PropertyName, Judgement]
    inputs: Mapping[str, Any] | None = None
    parameters: int | None = None


def check_module(request: Request, started: Callable[[PropertyName], None] = lambda _: None) -> Found:
    """Judge every property of the suite. A child that hangs or dies costs the property it was at, not the others.

    Raises `ModuleError` when the module cannot be tested at all.
    """
    found = Found({})
    over = time.monotonic() + request.seconds
    waiting = list(request.suite.properties)
    hangs = 0
    while waiting:
        seconds = max(1.0 * len(waiting), over - time.monotonic())
        with _child(request.as_json(waiting, seconds)) as child:
            ended = _follow(child, found, waiting, request.case_limit, started)
        if ended is None:
            break
        # Before it was ready the module itself hangs or crashes, and would do so for every property.
        blamed = [waiting[0]] if child.ready else list(waiting)
        for name in blamed:
            waiting.remove(name)
            found.judgements[name] = _error(name, request, ended, child.case if child.ready else {})
        hangs += "did not end" in ended
        if hangs >= MOST_HANGS:
            found.judgements |= {n: _error(n, request, f"not tried: {hangs} others hung", {}) for n in waiting}
            break
    found.judgements = {name: _unoffered(found.judgements[name]) for name in request.suite.properties}
    return found


def replay_module(request: Request, name: PropertyName, case: Mapping[str, Any]) -> Judgement:
    """Judge one case of one property. Raises `ModuleError`."""
    found = Found({})
    waiting: list[PropertyName] = [name]
    with _child({**request.as_json(waiting, request.seconds), "case": dict(case)}) as child:
        ended = _follow(child, found, waiting, request.case_limit, lambda _: None)
    return found.judgements[name] if ended is None else _error(name, request, ended, dict(case))


class _Child:
    """One child process, and what it has told so far."""

    def __init__(self, folder: Path, request: Mapping[str, Any]) -> None:
        self._report, self._errors = folder / "report.jsonl", folder / "stderr.txt"
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        self._report.touch()
        command = [sys.executable, "-X", "faulthandler", "-m", "cortexzoo.harness.checking.modules.worker"]
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [*command, str(folder / "request.json"), str(self._report)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": _import_path()},
            )
        self.ready = False
        self.case: dict[str, Any] = {}
        self._read = 0

    def news(self) -> Iterator[tuple[str, Any]]:
        """Every complete line since the last call."""
        with self._report.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                entry = json.loads(line)
                yield entry["event"], from_json_value(entry["content"])

    def how_it_died(self) -> str:
        """The exit code in words, with the last line that the process wrote."""
        code = self.process.returncode
        name = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        lines = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        fatal = [line for line in lines if line.startswith("Fatal Python error")] or lines[-1:]
        return f"the process died with {name}" + (f" ({fatal[0].strip()[:200]})" if fatal else "")


def _follow(
    child: _Child,
    found: Found,
    waiting: list[PropertyName],
    case_limit: float,
    started: Callable[[PropertyName], None],
) -> str | None:
    """Listen until the child is done (None), or say how it failed. Judged properties leave `waiting`."""
    patience = Patience(child.process.pid, START_LIMIT)
    while True:
        dead = child.process.poll() is not None
        for event, content in child.news():
            match event:
                case "refused":
                    raise ModuleError(content)
                case "ready":
                    child.ready = True
                    found.inputs, found.parameters = content["inputs"], content["parameters"]
                case "begun":
                    started(content)
                    child.case = {}
                case "case":
                    child.case = content
                case "judged":
                    found.judgements[content["name"]] = Judgement(**content)
                    waiting.remove(content["name"])
            patience.renew(case_limit if child.ready else START_LIMIT + 2 * case_limit)
        if not waiting:
            return None
        if dead:
            return child.how_it_died()
        if patience.is_over:
            what = "the case" if child.ready else "making it, or its first call,"
            return f"{what} did not end within {patience.limit:.0f} s{HINT}"
        time.sleep(POLL)


@contextmanager
def _child(request: Mapping[str, Any]) -> Iterator[_Child]:
    with tempfile.TemporaryDirectory() as folder:
        child = _Child(Path(folder), request)
        try:
            yield child
        finally:
            child.process.kill()
            child.process.wait()


def _import_path() -> str:
    """The child finds this package where this process did."""
    here = str(Path(cortexzoo.__file__).parents[1])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])


def _error(name: PropertyName, request: Request, reason: str, case: Mapping[str, Any]) -> Judgement:
    return Judgement.of(name, request.suite.properties[name], "error", reason, case=dict(case), seed=request.seed)


def _unoffered(judgement: Judgement) -> Judgement:
    """What a module does not offer is no surprise: the reason says how it could."""
    if judgement.verdict == "skipped":
        return replace(judgement, expected="skipped", expected_reason="")
    return judgement
