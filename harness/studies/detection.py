"""Which defects are caught: modules with a known defect, healthy ones with many seeds, and the records of mutants."""

import hashlib
import importlib
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.modules.detection import detect
from cortexzoo.harness.checking.modules.errors import ModuleError
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import seeded
from cortexzoo.harness.checking.mutants.library import MUTANTS
from cortexzoo.harness.errors import in_one_line
from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.harness.regression.generated_score import place_of
from cortexzoo.harness.regression.kept_results import append_result, read_results
from cortexzoo.harness.runs.cache import SHORT_SUM
from cortexzoo.specs import SuiteSpec, load
from cortexzoo.specs.properties import PROPERTY_NAMES, PropertyName

DEFECTS, HEALTHY = "DEFECTS", "HEALTHY"
LONGEST, EXAMPLES = 1100, 3
WELL = ("pass", "skipped")


@dataclass(frozen=True)
class Subjects:
    """What a file of cases offers."""

    defects: Mapping[str, tuple[Callable[[], nn.Module], tuple[PropertyName, ...]]]
    """With the properties that are about each, of which one must fail."""
    healthy: Mapping[str, Callable[[], nn.Module]]


@dataclass(frozen=True)
class Task:
    """One module of a file, with one seed of its weights and of the search."""

    path: Path
    name: str
    defect: bool
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What does not pass, with its reason, and CPU seconds."""

    verdicts: Mapping[str, str]
    """By property; "making it" where the module could not be tested."""
    about: tuple[str, ...] = ()


def subjects_of(path: Path) -> Subjects:
    """The file's `DEFECTS = {name: (factory, property or properties)}` and `HEALTHY = {name: factory}`.

    It is imported from the current folder, so that it may import its neighbours. Raises `ModuleError`.
    """
    try:
        parts = path.resolve().relative_to(Path.cwd()).with_suffix("").parts
    except ValueError:
        raise ModuleError(f"{path}: must lie in the current folder, from which it is imported") from None
    if not path.is_file():
        raise ModuleError(f"{path}: there is no such file")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(".".join(parts))
    except Exception as problem:
        raise ModuleError(f"{path}: importing it raised {in_one_line(problem)}") from problem
    defects, healthy = getattr(module, DEFECTS, {}), getattr(module, HEALTHY, {})
    if not defects and not healthy:
        raise ModuleError(
            f"{path}: must have {DEFECTS} = {{name: (factory, property)}} or {HEALTHY} = {{name: factory}}"
        )
    return Subjects({name: _defect(path, name, given) for name, given in defects.items()}, healthy)


def _defect(path: Path, name: str, given: Any) -> tuple[Callable[[], nn.Module], tuple[PropertyName, ...]]:
    factory, about = given if isinstance(given, tuple) and len(given) == 2 else (None, ())
    names = (about,) if isinstance(about, str) else tuple(about)
    if not callable(factory) or not names or not set(names) <= set(PROPERTY_NAMES):
        raise ModuleError(f"{path}: {DEFECTS}[{name!r}] must be (factory, property) with the name of a property")
    return factory, names


def tasks(files: Sequence[Path], seeds: int) -> Iterator[Task]:
    """Every defect once, every healthy module with each seed."""
    for path in files:
        found = subjects_of(path)
        yield from (Task(path, name, True) for name in found.defects)
        yield from (Task(path, name, False, seed) for name in found.healthy for seed in range(seeds))


@dataclass(frozen=True)
class KeptOutcome:
    """An outcome, and what it is the outcome of."""

    of: str
    verdicts: Mapping[str, str]
    about: Sequence[str]

    def key(self) -> str:
        """One line in the file for each."""
        return self.of


def outcomes(
    wanted: Sequence[Task],
    seconds: float,
    jobs: int,
    done: Callable[[Task, Outcome], None] = lambda *_: None,
    keep: Path | None = None,
) -> dict[Task, Outcome]:
    """Each task in a process; `seconds` of CPU time a property. `done` is called with each.

    What `keep` has of the same modules, seconds and code is not judged again, and what is judged is added there.
    """
    key = partial(_key, place_of(Path()).name, seconds)
    known = read_results(keep, KeptOutcome) if keep is not None else {}
    found = {task: Outcome(kept.verdicts, tuple(kept.about)) for task in wanted if (kept := known.get(key(task)))}
    for task, outcome in found.items():
        done(task, outcome)
    rest = [(task, partial(judged, task, seconds)) for task in wanted if task not in found]
    for task, outcome in in_processes(rest, jobs):
        found[task] = outcome
        if keep is not None:
            append_result(keep, KeptOutcome(key(task), outcome.verdicts, outcome.about))
        done(task, outcome)
    return {task: found[task] for task in wanted}


def _key(code: str, seconds: float, task: Task) -> str:
    content = hashlib.sha256(task.path.read_bytes()).hexdigest()[:SHORT_SUM]
    kind = "defect" if task.defect else "healthy"
    return f"{code} {task.path} {content} {kind} {task.name}, seed {task.seed}, {seconds:g} s"


def judged(task: Task, seconds: float) -> Outcome:
    """The properties that do not pass on a module."""
    warnings.simplefilter("ignore")
    suite = load("bare-module", "suite")
    assert isinstance(suite, SuiteSpec)
    subjects = subjects_of(task.path)
    factory, about = subjects.defects[task.name] if task.defect else (subjects.healthy[task.name], ())
    try:
        subject = detect(factory, seeded(factory, task.seed), task.name, None, None, LONGEST, seconds=60 * seconds)
    except Exception as problem:
        return Outcome({"making it": in_one_line(problem)}, about)
    effort = Effort(EXAMPLES, seconds, task.seed, cpu=True)
    found = {name: judge(BARE[name], check, subject, effort) for name, check in suite.properties.items()}
    return Outcome({n: f"{j.verdict}: {j.reason}" for n, j in found.items() if j.verdict not in WELL}, about)


def table(found: Mapping[Task, Outcome]) -> list[tuple[str, ...]]:
    """Defects by the property that is about them: how many some property catches, and how many that one does."""
    rows: list[tuple[str, ...]] = [("defects in modules", "all", "caught", "by the property about it", "missed")]
    ill = {task: outcome for task, outcome in found.items() if task.defect}
    kinds = {outcome.about[:1] for outcome in ill.values()}
    rows.extend(
        _row(kind, {t: o for t, o in ill.items() if o.about[:1] == (kind,)})
        for kind in PROPERTY_NAMES
        if (kind,) in kinds
    )
    if ill:
        rows.append(_row("all", ill))
    return rows


def _row(kind: str, ill: Mapping[Task, Outcome]) -> tuple[str, ...]:
    caught = [task for task, outcome in ill.items() if outcome.verdicts]
    named = [task for task, outcome in ill.items() if set(outcome.about) & set(outcome.verdicts)]
    missed = ", ".join(task.name for task in ill if task not in caught) or "–"
    return kind, str(len(ill)), f"{len(caught)} ({len(caught) / len(ill):.0%})", str(len(named)), missed


def false_alarms(found: Mapping[Task, Outcome]) -> list[str]:
    """A line for each healthy module that some property accuses."""
    return [line for task, outcome in found.items() for line in accusations(task, outcome)]


def accusations(task: Task, outcome: Outcome) -> list[str]:
    """A line for each property that accuses the module, if it is healthy."""
    if task.defect:
        return []
    return [f"{task.name}, seed {task.seed}: {name}: {told}" for name, told in outcome.verdicts.items()]


def mutant_rows(written: Path | None, generated: Path | None) -> list[tuple[str, ...]]:
    """Mutants by kind, and how many are caught, from files of `cortexzoo mutants --json`. Raises `ModuleError`."""
    rows: list[tuple[str, ...]] = []
    if written is not None:
        by = {entry["mutant"]: bool(entry["caught_by"] or entry["gave_up"]) for entry in _read(written, "mutants")}
        rows += _counted(((mutant.host, by[mutant.name]) for mutant in MUTANTS if mutant.name in by), "written")
    if generated is not None:
        fates = [(e["operator"], e["fate"] in ("caught", "hangs")) for e in _read(generated, "results")]
        rows += _counted(fates, "by machine")
    return rows


def _counted(fates: Iterable[tuple[str, bool]], title: str) -> list[tuple[str, ...]]:
    fates = list(fates)
    every, caught = Counter(kind for kind, _ in fates), Counter(kind for kind, is_caught in fates if is_caught)
    rows = [
        (f"{title}: {kind}", str(count), f"{caught[kind]} ({caught[kind] / count:.0%})")
        for kind, count in every.items()
    ]
    total = sum(every.values())
    return [*rows, (f"{title}: all", str(total), f"{caught.total()} ({caught.total() / max(1, total):.0%})")]


def _read(path: Path, key: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))[key]
        assert isinstance(found, list)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as problem:
        raise ModuleError(f"{path}: is no file of `cortexzoo mutants --json` with {key}") from problem
    return found
