"""Every mutant is caught by the property that is there for it, and patches leave nothing behind."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cortexzoo.harness.checking.effort import Effort
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.modules.inputs import Inputs
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import BareSubject, seeded
from cortexzoo.harness.checking.mutants.base import Mutant, after, rebound, replaced
from cortexzoo.harness.checking.mutants.gated_delta_layer import VOCAB, make_layer
from cortexzoo.harness.checking.mutants.library import MUTANTS
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.cli import main
from cortexzoo.harness.regression import mutation_score
from cortexzoo.harness.regression.mutation_score import EFFORT, MutantResult, MutationScore
from cortexzoo.harness.runs.train import subject_of, train_run
from cortexzoo.specs import load_experiment
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.cache import CACHE_VARIABLE
from cortexzoo.zoo.training import evaluation
from tests.harness.trained import QUIET, SMALL

FOREIGN = "transformers.models.qwen2.modeling_qwen2"
CAUGHT = [mutant for mutant in MUTANTS if mutant.caught_by is not None]
FIRST = {mutant.caught_by: mutant.name for mutant in reversed(CAUGHT)} | {
    "data_is_served_once_an_epoch": "every-epoch-alike"  # the first is of a host that takes ten times as long
}
"""Of each property one mutant; the others are for `nox -s slow`."""
PLANTED: set[PropertyName] = {
    "continual_training_follows_its_rules", "recall_is_trained_as_specified", "checkpoints_survive_interruption",
    "text_is_kept_whole", "sampling_follows_its_settings", "curves_match_a_reference", "forward_matches_a_reference",
    "answers_follow_from_documents", "slow_store_follows_its_formulas", "own_loop_follows_its_guards",
    "processes_train_as_one", "reach_is_as_stated", "no_own_occurrence",
}  # fmt: skip
"""Each has a file of its own in tests/harness/checking, which tries it as it is and with changes planted."""
GUARDS = "guards_follow_their_rules"
"""Of a healthy model it takes many seconds, which test_properties.py and test_continual.py spend."""
TRANSFORMER = ("variant.hidden_size=16", "variant.num_layers=1", "variant.num_heads=2", "variant.intermediate_size=16")
HYBRID = (
    "variant.backbone.training.steps=100", "recipe.steps=40", "recipe.optimizer.learning_rate=0.01", "data.gaps=[1]",
    "recipe.objective.in_chunk={kind: none}", "recipe.schedule.decay_ratio=0.5",
    "recipe.objective.stages=[{gaps: [1], tokens_per_step: 2048}]", "recipe.objective.drift.sequences=2",
    "recipe.monitor.validation_sequences=2", "data.evaluation_documents=2",
    *(f"data.task.{name}" for name in ("num_pairs=4", "num_queries=4", "num_keys=16", "num_values=16")),
)  # fmt: skip
"""Enough to remember some of the answers for a chunk."""
RAW_RING = "variant.memory.long_term={kind: raw_ring}"
FEW_STEPS = (
    "recipe.steps=4", "recipe.batch_size=2", "recipe.sequence_length=16", "recipe.monitor.validation_sequences=2",
)  # fmt: skip


BOTH_TEXTS = (
    "recipe={extends: continual}", *SMALL, "recipe.objective.earlier_steps=6", "recipe.schedule.period=6",
    "recipe.objective.replay.windows=4", "data=python-library",
)  # fmt: skip
SMALL_STORES = ("short_term.capacity=32", "long_term.capacity=40", "long_term.writes=8")
TRAINED = {
    "cortexgpt": ("cortexgpt-stable", (*SMALL, RAW_RING, *(f"variant.memory.{change}" for change in SMALL_STORES))),
    "contexts": ("cortexgpt-stable", SMALL),
    "continual": ("cortexgpt-stable", BOTH_TEXTS),
    "transformer": ("transformer", (*TRANSFORMER, *FEW_STEPS)),
    "hybrid": ("cortex-v2-hybrid", HYBRID),
}

HEALTHY: dict[tuple[PropertyName, str], Judgement] = {}
"""Verdicts on the hosts as they are, judged once: the next test shows that every patch is undone."""


class Hosts(dict[str, Subject | BareSubject]):
    """Each is trained when the first of its mutants asks for it."""

    def __init__(self, runs: Path) -> None:
        super().__init__()
        self.runs = runs

    def __missing__(self, name: str) -> Subject | BareSubject:
        self[name] = trained_host(name, self.runs)
        return self[name]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield Hosts(tmp_path_factory.mktemp("runs"))


def trained_host(name: str, runs: Path) -> Subject | BareSubject:
    if name == "gated-delta":
        return BareSubject(make_layer, seeded(make_layer, 0), Inputs("tokens", VOCAB), longest=40)
    experiment, changes = TRAINED[name]
    return subject_of(train_run(load_experiment(experiment, list(changes)), runs, QUIET))


def judged(name: PropertyName, host: Subject | BareSubject) -> Judgement:
    if isinstance(host, BareSubject):
        return judge(BARE[name], Check(bound=1e-5 if name == "batch_isolation" else None), host, EFFORT)
    return judge(REGISTRY[name], Check(), host)


def marked(mutant: Mutant) -> object:
    assert mutant.caught_by is not None
    dear = mutant.caught_by in (GUARDS, "linear_memory")  # the latter takes long texts
    slow = mutant.name != FIRST[mutant.caught_by] or dear or mutant.caught_by in PLANTED
    return pytest.param(mutant, id=mutant.name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("mutant", [marked(mutant) for mutant in CAUGHT])
def test_the_healthy_host_passes_where_the_mutant_fails(mutant: Mutant, hosts: Hosts) -> None:
    name, host = mutant.caught_by, hosts[mutant.host]
    assert name is not None
    with mutant.seeded():
        ill = judged(name, host)
    assert ill.verdict == "fail", ill.reason
    if (name, mutant.host) not in HEALTHY:
        HEALTHY[name, mutant.host] = judged(name, host)
    well = HEALTHY[name, mutant.host]
    assert well.verdict == "pass", well.reason


def test_a_mutant_of_the_guards_fails(hosts: Hosts) -> None:
    (mutant,) = (mutant for mutant in CAUGHT if mutant.name == FIRST[GUARDS])
    host = hosts[mutant.host]
    with mutant.seeded():
        ill = judged(GUARDS, host)
    assert ill.verdict == "fail", ill.reason


def test_the_library_is_large_and_its_names_differ() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) >= 180
    assert len(CAUGHT) >= 170


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_patch_is_undone_also_after_an_error(mutant: Mutant) -> None:
    importlib.import_module(FOREIGN)  # one mutant patches it

    def attributes() -> dict[tuple[str, str], object]:
        """What the modules hold, and the classes in them, each once."""
        modules = [m for p, m in sys.modules.items() if p.startswith(("cortexzoo.zoo.", "cortexzoo.harness.", FOREIGN))]
        classes = {id(value): value for m in modules for value in vars(m).values() if isinstance(value, type)}
        owners = {m.__name__: m for m in modules} | {f"{c!r} {i}": c for i, c in classes.items()}
        return {(owner, name): value for owner, holder in owners.items() for name, value in vars(holder).items()}

    before = attributes()
    during: list[dict[tuple[str, str], object]] = []

    def fail_inside() -> None:
        with mutant.seeded():
            during.append(attributes())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert any(during[0].get(name) is not value for name, value in before.items())
    assert [name for name, value in attributes().items() if before.get(name) is not value] == []


def test_a_function_is_rebound_wherever_it_was_imported() -> None:
    from cortexzoo.harness.checking.properties import memory

    with rebound(evaluation.lm_loss, after(lambda result, *_: "other"))():
        assert memory.lm_loss is evaluation.lm_loss
        assert memory.lm_loss.__name__ == "defective"
    assert memory.lm_loss.__name__ == "lm_loss"


def test_only_what_holds_for_the_healthy_host_can_catch() -> None:
    def judgement(name: PropertyName, verdict: str) -> Judgement:
        return Judgement(name, "", verdict, "pass", 0.0, "at_most", "", "")  # type: ignore[arg-type]

    healthy = MutantResult("cortexgpt", None, (judgement("causality", "pass"), judgement("linear_time", "fail")), 0.0)
    caught = MutantResult("cortexgpt", "a", (judgement("causality", "fail"), judgement("linear_time", "fail")), 0.0)
    survives = MutantResult("cortexgpt", "b", (judgement("causality", "pass"), judgement("linear_time", "fail")), 0.0)
    score = MutationScore({"cortexgpt": healthy}, (caught, survives))
    assert [j.name for j in score.caught_by(caught)] == ["causality"]
    assert score.survivors == [survives]
    assert MutationScore({"cortexgpt": healthy}, (survives,)).idle == ["causality"]


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_command_tells_the_score(
    processes: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not processes:
        monkeypatch.setattr(mutation_score, "in_processes", lambda tasks, _: ((key, task()) for key, task in tasks))
        monkeypatch.setattr(mutation_score, "EFFORT", Effort(examples=1, seconds=1.0))
    report = tmp_path / "score.json"
    command = ["mutants", "--only", "one-source-only", "--jobs", "1", "--runs", str(tmp_path), "--json", str(report)]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "mutation score: 1 of 1 caught (100%)" in told and "gate_balance" in told
    assert '"survivors": []' in report.read_text()


def test_an_unknown_mutant_is_told_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mutants", "--only", "mask-after-exb"]) == 2
    assert (
        capsys.readouterr().err.strip() == "--only mask-after-exb: no such mutant or host: did you mean mask-after-exp?"
    )


def test_replacing_keeps_the_rest_of_a_class() -> None:
    class Owner:
        def value(self) -> int:
            return 1

    with replaced(Owner, "value", after(lambda result, _self: result + 1))():
        assert Owner().value() == 2
    assert Owner().value() == 1
    assert torch.is_grad_enabled()
