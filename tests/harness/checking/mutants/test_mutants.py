"""Every mutant is caught by the property that is there for it, and patches leave nothing behind."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.modules.registry import BARE
from cortexzoo.harness.checking.modules.subject import BareSubject, Inputs, seeded
from cortexzoo.harness.checking.mutants.base import Mutant, after, rebound, replaced
from cortexzoo.harness.checking.mutants.gated_delta_layer import VOCAB, make_layer
from cortexzoo.harness.checking.mutants.library import MUTANTS
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.verdict import Judgement
from cortexzoo.harness.cli import main
from cortexzoo.harness.regression.mutation_score import EFFORT, Outcome, Score
from cortexzoo.harness.runs.train import subject_of, train_run
from cortexzoo.specs import load_experiment
from cortexzoo.specs.suite import Check, PropertyName
from cortexzoo.zoo.models.trained_base import CACHE_VARIABLE
from cortexzoo.zoo.training import evaluation
from tests.harness.trained import train_small

CAUGHT_BY: dict[str, PropertyName] = {
    "column-sees-the-future": "causality",
    "top-k-over-time-and-batch": "causality",
    "batch-leak": "batch_isolation",
    "gradient-leak": "batch_isolation",
    "evaluation-writes-weights": "repeatability",
    "evaluation-draws": "repeatability",
    "nan-at-64": "finite_gradients",
    "column-scores-detached": "every_parameter_learns",
    "own-token-unseen": "own_token_counts",
    "fixed-batch": "any_shape_works",
    "fixed-length": "any_shape_works",
    "unseeded-weights": "determinism",
    "hot-at-length": "chunk_invariance",
    "dead-column": "no_dead_column",
    "column-adds-nothing": "no_dead_column",
    "pairwise-training": "linear_memory",
    "one-ring-for-all-rows": "batch_isolation",
    "ring-survives-batches": "repeatability",
    "dropout-in-evaluation": "repeatability",
    "mask-with-infinity": "finite_gradients",
    "store-without-gradient": "every_parameter_learns",
    "gate-collapse": "gate_balance",
    "dead-switches": "every_switch_counts",
    "dead-long-term-switch": "every_switch_counts",
    "reads-nothing": "every_parameter_learns",
    "state-keeps-the-graph": "state_is_detached",
    "state-not-carried": "chunk_invariance",
    "state-wiped-at-odd-lengths": "chunk_invariance",
    "store-evicts-the-newest": "oldest_is_evicted",
    "unbounded-store": "memory_is_bounded",
    "stale-index": "stored_is_found",
    "half-an-index": "stored_is_found",
    "nearest-missed": "stored_is_found",
    "store-not-saved": "save_and_load",
    "reads-not-saved": "save_and_load",
    "keys-saved-wrongly": "save_and_load",
    "moments-not-saved": "resume_is_exact",
    "random-state-not-restored": "resume_is_exact",
    "guard-history-lost": "resume_is_exact",
    "position-lost": "resume_is_exact",
    "schedule-lost": "resume_is_exact",
    "memory-not-restored": "resume_is_exact",
    "checkpoint-in-half-precision": "resume_is_exact",
    "refused-counts-as-taken": "refusals_leave_no_trace",
    "no-finite-gate": "refusals_leave_no_trace",
    "gate-looks-at-the-loss-only": "refusals_leave_no_trace",
    "nan-becomes-zero": "refusals_leave_no_trace",
    "refusal-moves-moments": "refusals_leave_no_trace",
    "refusal-keeps-memory": "refusals_leave_no_trace",
    "gate-lost-on-loading": "any_order_works",
    "second-consolidation-divides-by-nothing": "any_order_works",
    "unshifted-loss": "loss_is_of_the_next_token",
    "loss-in-bits": "loss_is_of_the_next_token",
    "dream-updates-skipped": "no_nan_after_sleep",
    "refused-dream-counts": "no_nan_after_sleep",
    "sleep-without-finite-gate": "no_nan_after_sleep",
    "sleep-return-forgets-a-weight": "sleep_harms_nothing",
    "sleep-always-stays": "sleep_harms_nothing",
    "sleep-draws-from-training": "sleep_harms_nothing",
    "sleep-keeps-its-memory": "sleep_harms_nothing",
    "sleep-never-comes": "sleep_harms_nothing",
    "attention-sees-the-future": "causality",
    "no-mask-over-the-cache": "chunk_invariance",
    "positions-start-anew": "chunk_invariance",
    "cache-wiped": "chunk_invariance",
    "cache-survives-batches": "repeatability",
    "mask-after-exp": "finite_gradients",
    "padding-decays": "chunk_invariance",
    "op-sees-the-future": "causality",
    "op-forgets-the-state": "chunk_invariance",
    "op-final-state-is-zero": "chunk_invariance",
    "op-batch-leak": "batch_isolation",
    "decay-without-gradient": "every_parameter_learns",
    "strength-without-gradient": "every_parameter_learns",
    "mask-on-the-wrong-side": "padding_changes_nothing",
    "one-source-only": "gate_balance",
    "base-trained-along": "base_is_frozen",
    "sidecar-awake-at-the-start": "base_is_frozen",
    "write-strength-up-to-3": "state_norm_is_bounded",
    "keys-not-normalised": "state_norm_is_bounded",
    "no-delta-rule": "state_norm_is_bounded",
    "conv-state-not-carried": "chunk_invariance",
    "window-not-carried": "chunk_invariance",
    "fast-weights-not-carried": "chunk_invariance",
    "fast-weights-reset-at-borders": "recall_beats_controls",
    "base-cache-lost": "chunk_invariance",
    "position-off-by-one": "chunk_invariance",
    "base-positions-start-anew": "chunk_invariance",
    "window-cannot-be-switched-off": "every_switch_counts",
    "fast-weights-cannot-be-switched-off": "every_switch_counts",
    "window-attention-by-a-mask": "linear_memory",
    "detached-at-every-chunk": "gradients_reach_the_facts",
    "divergence-is-zero": "drift_is_measured",
    "baseline-after-training": "drift_is_measured",
}
"""The rest needs a longer training or a clock: `cortexzoo mutants` tries all on all."""

FOREIGN = "transformers.models.qwen2.modeling_qwen2"
QUICK = [mutant for mutant in MUTANTS if mutant.name in CAUGHT_BY]
TRANSFORMER = ("variant.hidden_size=16", "variant.num_layers=1", "variant.num_heads=2", "variant.intermediate_size=16")
HYBRID = (
    "variant.backbone.training.steps=100", "recipe.steps=40", "recipe.optimizer.learning_rate=0.01", "data.gaps=[1]",
    "recipe.objective.in_chunk={kind: none}", "recipe.schedule.decay_ratio=0.5",
    "recipe.objective.stages=[{gaps: [1], tokens_per_step: 2048}]", "recipe.objective.drift.sequences=2",
    "recipe.monitor.validation_sequences=2", "data.evaluation_documents=2",
    *(f"data.task.{name}" for name in ("num_pairs=4", "num_queries=4", "num_keys=16", "num_values=16")),
)  # fmt: skip
"""Enough to remember some of the answers for a chunk."""
FEW_STEPS = (
    "recipe.steps=4", "recipe.batch_size=2", "recipe.sequence_length=16", "recipe.monitor.validation_sequences=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Subject | BareSubject]]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield trained_hosts(tmp_path_factory.mktemp("runs"))


def trained_hosts(runs: Path) -> dict[str, Subject | BareSubject]:
    control = load_experiment("transformer", [*TRANSFORMER, *FEW_STEPS])
    trained = train_run(control, runs, aim=False, progress=False, warn=pytest.fail)
    hybrid = load_experiment("cortex-v2-hybrid", list(HYBRID))
    small = [f"variant.memory.{c}" for c in ("short_term.capacity=32", "long_term.capacity=40", "long_term.writes=8")]
    return {
        "cortexgpt": subject_of(train_small(runs, *small)),
        "transformer": subject_of(trained),
        "hybrid": subject_of(train_run(hybrid, runs, aim=False, progress=False, warn=pytest.fail)),
        "gated-delta": BareSubject(make_layer, seeded(make_layer, 0), Inputs("tokens", VOCAB), longest=40),
    }


def judged(name: PropertyName, host: Subject | BareSubject) -> Judgement:
    if isinstance(host, BareSubject):
        return judge(BARE[name], Check(bound=1e-5 if name == "batch_isolation" else None), host, EFFORT)
    return judge(REGISTRY[name], Check(), host)


@pytest.mark.parametrize("mutant", QUICK, ids=lambda mutant: mutant.name)
def test_the_healthy_host_passes_where_the_mutant_fails(
    mutant: Mutant, hosts: dict[str, Subject | BareSubject]
) -> None:
    name, host = CAUGHT_BY[mutant.name], hosts[mutant.host]
    with mutant.seeded():
        ill = judged(name, host)
    assert ill.verdict == "fail", ill.reason
    well = judged(name, host)
    assert well.verdict == "pass", well.reason


def test_the_library_is_large_and_its_names_differ() -> None:
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names)) >= 40
    assert set(CAUGHT_BY) <= set(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_patch_is_undone_also_after_an_error(mutant: Mutant) -> None:
    importlib.import_module(FOREIGN)  # one mutant patches it

    def attributes() -> dict[str, object]:
        modules = {
            path: m
            for path, m in sys.modules.items()
            if path.startswith(("cortexzoo.zoo.", "cortexzoo.harness.", FOREIGN))
        }
        found = {f"{path}.{name}": value for path, module in modules.items() for name, value in vars(module).items()}
        classes = {path: value for path, value in found.items() if isinstance(value, type)}
        return found | {f"{p}.{n}": v for p, c in classes.items() for n, v in vars(c).items()}

    before = attributes()
    during: list[dict[str, object]] = []

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

    healthy = Outcome("cortexgpt", None, (judgement("causality", "pass"), judgement("linear_time", "fail")), 0.0)
    caught = Outcome("cortexgpt", "a", (judgement("causality", "fail"), judgement("linear_time", "fail")), 0.0)
    survives = Outcome("cortexgpt", "b", (judgement("causality", "pass"), judgement("linear_time", "fail")), 0.0)
    score = Score({"cortexgpt": healthy}, (caught, survives))
    assert [j.name for j in score.caught_by(caught)] == ["causality"]
    assert score.survivors == [survives]
    assert Score({"cortexgpt": healthy}, (survives,)).idle == ["causality"]


def test_the_command_tells_the_score(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
