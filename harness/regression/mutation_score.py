"""The mutation score: every mutant against every property of its host, in parallel processes."""

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import BareSubject, seeded
from cortexzoo.harness.checking.mutants import nested_state
from cortexzoo.harness.checking.mutants.base import Host, Mutant
from cortexzoo.harness.checking.mutants.gated_delta_layer import VOCAB, make_layer
from cortexzoo.harness.checking.mutants.library import MUTANTS
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.parallel.train_missing import train_missing
from cortexzoo.harness.parallel.workers import in_processes
from cortexzoo.harness.runs.options import UNTRACKED
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import subject_of, train_run
from cortexzoo.specs import ExperimentSpec, load, load_experiment
from cortexzoo.specs.allowed_code import allowed_meanwhile
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check, SuiteSpec
from cortexzoo.zoo.errors import TrainingError

HOSTS: tuple[Host, ...] = get_args(Host)
EFFORT = Effort(examples=20, seconds=20.0)

OWN = f"{nested_state.__file__}:make_model"
SMALL = (
    "recipe.steps=200", "recipe.batch_size=8", "recipe.sequence_length=64", "recipe.optimizer.learning_rate=0.01",
    "recipe.consolidation.every=50", "recipe.monitor.validation_sequences=32",
)  # fmt: skip
TINY_TRANSFORMER = ("variant.hidden_size=32", "variant.num_layers=2", "variant.intermediate_size=64")
EXPERIMENTS: dict[Host, tuple[str, tuple[str, ...]]] = {
    "cortexgpt": (
        "cortexgpt-stable",
        (
            *SMALL, "variant.hidden_size=32", "variant.columns.num_columns=4", "variant.memory.short_term.capacity=32",
            "variant.memory.long_term={kind: raw_ring, capacity: 64}", "variant.memory.gate.floor=0.06",
        ),
    ),
    "contexts": (
        "cortexgpt-stable",
        (*SMALL, "variant.hidden_size=32", "variant.columns.num_columns=4", "variant.memory.short_term.capacity=32"),
    ),
    "original": (
        "cortexgpt-original",
        (
            "recipe.steps=60", "recipe.batch_size=4", "recipe.sequence_length=32", "variant.hidden_size=32",
            "variant.columns.num_columns=4", "variant.memory.short_term.capacity=32",
            "recipe.consolidation.probability=0.5", "recipe.monitor.validation_sequences=32",
        ),
    ),
    "continual": (
        "cortexgpt-stable",
        (
            "recipe={extends: continual}", *SMALL, "recipe.steps=60", "recipe.objective.earlier_steps=30",
            "recipe.schedule.period=30", "recipe.objective.replay.windows=16", "recipe.homeostasis={kind: usage}",
            "recipe.objective.protection={kind: metaplasticity}", "data=python-library", "variant.hidden_size=32",
            "variant.columns.num_columns=4", "variant.memory.short_term.capacity=32",
            "variant.memory.long_term={kind: raw_ring, capacity: 64}", "variant.memory.short_term.stores=output",
        ),
    ),
    "follower": (
        "transformer",
        (
            "recipe={extends: continual}", *SMALL, *TINY_TRANSFORMER, "recipe.steps=60",
            "recipe.objective.earlier_steps=30", "recipe.schedule.period=30",
            "recipe.objective.replay={kind: generated, windows: 4, discarded: 2}",
            "recipe.objective.protection={kind: slow_follower}", "data=python-library",
        ),
    ),
    "mixture": (
        "transformer",
        (
            *SMALL, *TINY_TRANSFORMER, "variant.vocab_size=300",
            "data={kind: data, family: mixture, name: both, vocabulary: {kind: bpe, size: 300}, parts: ["
            "{kind: text, weight: 3, source: {kind: pydoc_topics}}, "
            "{kind: text, weight: 1, source: {kind: python_library}}]}",
        ),
    ),
    "transformer": (
        "transformer",
        (*SMALL, *TINY_TRANSFORMER),
    ),
    "hybrid": (
        "cortex-v2-hybrid",
        (
            "recipe.steps=60", "recipe.objective.in_chunk={kind: none}", "recipe.schedule.decay_ratio=0.5",
            "recipe.objective.stages=[{gaps: [0, 1], tokens_per_step: 2048}]",
            "recipe.objective.drift.sequences=2", "recipe.monitor.validation_sequences=8", "data.gaps=[1]",
            "data.evaluation_documents=8",
        ),
    ),
    "own": (
        "transformer",
        (
            *SMALL, "recipe.steps=100",
            f"variant={{kind: variant, family: module, name: own, source: {json.dumps(OWN)}}}",
        ),
    ),
}  # fmt: skip
"""Small enough to train in seconds, so none is better than counting; the hybrid is better than chance."""


@dataclass(frozen=True)
class MutantResult:
    """The verdicts on one mutant, or on a healthy host (`mutant` None)."""

    host: Host
    mutant: str | None
    judgements: tuple[Judgement, ...]
    seconds: float
    gave_up: str = ""
    """Why training ended, for a mutant that cannot be trained at all."""


@dataclass(frozen=True)
class MutationScore:
    """Which property catches which mutant."""

    healthy: dict[Host, MutantResult]
    outcomes: tuple[MutantResult, ...]

    def caught_by(self, outcome: MutantResult) -> list[Judgement]:
        """Judgements that hold for the healthy host and not for the mutant."""
        held = {j.name for j in self.healthy[outcome.host].judgements if j.verdict == "pass"}
        return [j for j in outcome.judgements if j.name in held and j.verdict in ("fail", "error")]

    @property
    def survivors(self) -> list[MutantResult]:
        """Mutants that no property catches."""
        return [outcome for outcome in self.outcomes if not self.caught_by(outcome)]

    @property
    def idle(self) -> list[PropertyName]:
        """Properties that hold for a healthy host and catch nothing."""
        working = {j.name for outcome in self.outcomes for j in self.caught_by(outcome)}
        held = [j.name for outcome in self.healthy.values() for j in outcome.judgements if j.verdict == "pass"]
        return [name for name in dict.fromkeys(held) if name not in working]


def experiment_of(host: Host) -> ExperimentSpec:
    """The small experiment whose trained model is the host."""
    name, changes = EXPERIMENTS[host]
    return load_experiment(name, list(changes))


@allowed_meanwhile()  # the module of a host is a file of this package
def score(
    mutants: Sequence[Mutant], runs: Path, jobs: int, done: Callable[[int, int], None] = lambda *_: None
) -> MutationScore:
    """Judge every mutant and every host that it needs; hosts are trained into `runs`, or found there."""
    needed = [host for host in HOSTS if any(mutant.host == host for mutant in mutants)]
    trained = trained_hosts([host for host in needed if host in EXPERIMENTS], runs, jobs)
    tasks: list[tuple[Host, str | None, Path | None]] = [(host, None, trained.get(host)) for host in needed]
    tasks += [(mutant.host, mutant.name, trained.get(mutant.host)) for mutant in mutants]
    found: dict[str | None, MutantResult] = {}
    healthy: dict[Host, MutantResult] = {}
    for number, outcome in enumerate(_judged(tasks, jobs), start=1):
        if outcome.mutant is None:
            healthy[outcome.host] = outcome
        else:
            found[outcome.mutant] = outcome
        done(number, len(tasks))
    return MutationScore(healthy, tuple(found[mutant.name] for mutant in mutants))


def trained_hosts(hosts: Iterable[Host], runs: Path, jobs: int) -> dict[Host, Path]:
    """The folders of these hosts' runs, found in `runs` or trained into it."""
    experiments = {experiment.hash(): (host, experiment) for host in hosts for experiment in [experiment_of(host)]}
    trained = train_missing([experiment for _, experiment in experiments.values()], runs, jobs=jobs)
    return {experiments[experiment.hash()][0]: run.path for experiment, run in trained}


def judge_task(host: Host, name: str | None, run: Path | None) -> MutantResult:
    """One mutant of a host, or the host as it is."""
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    mutant = next((mutant for mutant in MUTANTS if mutant.name == name), None)
    if mutant is None:
        return MutantResult(host, None, tuple(_properties_of(host, run)), time.perf_counter() - began)
    with mutant.seeded():
        if not mutant.trains:
            return MutantResult(host, name, tuple(_properties_of(host, run)), time.perf_counter() - began)
        with tempfile.TemporaryDirectory() as folder:
            try:
                ill = train_run(experiment_of(host), Path(folder), replace(UNTRACKED, warn=lambda _: None))
            except TrainingError as problem:
                return MutantResult(host, name, (), time.perf_counter() - began, str(problem))
            return MutantResult(host, name, tuple(_properties_of(host, ill.path)), time.perf_counter() - began)


def _properties_of(host: Host, run: Path | None) -> Iterator[Judgement]:
    if run is None:
        suite = load("bare-module", "suite")
        assert isinstance(suite, SuiteSpec)
        subject = BareSubject(make_layer, seeded(make_layer, 0), Inputs("tokens", VOCAB), longest=80)
        for name, check in suite.properties.items():
            yield judge(BARE[name], check, subject, EFFORT)
    else:
        trained = subject_of(Run.open(run))
        for entry in REGISTRY.values():
            yield judge(entry, Check(), trained)


def _judged(tasks: Iterable[tuple[Host, str | None, Path | None]], jobs: int) -> Iterator[MutantResult]:
    return (outcome for _, outcome in in_processes([(task, partial(judge_task, *task)) for task in tasks], jobs))


def as_json(score: MutationScore) -> dict[str, Any]:
    """The table for programs."""
    rows = [
        {
            "mutant": outcome.mutant,
            "host": outcome.host,
            "caught_by": {j.name: {"verdict": j.verdict, "reason": j.reason} for j in score.caught_by(outcome)},
            "gave_up": outcome.gave_up,
            "seconds": round(outcome.seconds, 2),
        }
        for outcome in score.outcomes
    ]
    survivors = [outcome.mutant for outcome in score.survivors]
    return {"mutants": rows, "survivors": survivors, "idle_properties": score.idle}
