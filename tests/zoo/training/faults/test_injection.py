"""Injected faults: each strikes once, at its step, before the guards, and does what its spec says."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cortexzoo.specs import FaultsSpec, SpecError, load_experiment
from cortexzoo.specs.fault import (
    BadBatch,
    BitFlip,
    FaultSpec,
    FullDisk,
    Kill,
    NonFinite,
    OptimizerReset,
    RandomReset,
    RepeatedBatch,
    Scaled,
    TrackerError,
    TruncatedCheckpoint,
)
from cortexzoo.specs.guards import NoClipping, NoRecovery, NoSpikeDetection
from cortexzoo.specs.recipe import Never
from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.cache import CACHE_VARIABLE
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.training.faults import machine
from cortexzoo.zoo.training.faults.base import INJECTED, MISSED
from cortexzoo.zoo.training.faults.injection import inject
from cortexzoo.zoo.training.faults.numbers import with_element
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step, find_policy
from cortexzoo.zoo.training.policies.checkpointing import KeepCheckpoints
from tests.zoo.training.tiny import At, Notebook, tiny_data, tiny_model, tiny_spec

UNGUARDED = {"clipping": NoClipping(), "spikes": NoSpikeDetection(), "recovery": NoRecovery()}
DECLARED: dict[str, Any] = {"expect": "skip", "harms": False}


def trainer_with(
    *faults: FaultSpec, watch: dict[str, Callable[[TrainingLoop, Step], object]] | None = None, step: int = 5,
    checkpoints: Path | None = None, guards: bool = False, **recipe: object,
) -> TrainingLoop:  # fmt: skip
    """A tiny trainer with faults, and something to look at when `step` reaches a moment."""
    policies = []
    for moment, look in (watch or {}).items():
        policy = At(moment, {step}, look)
        policy.name = f"at {moment}"
        policies.append(policy)
    trainer = TrainingLoop(
        tiny_model(), tiny_spec(**{**UNGUARDED, **recipe}), tiny_data(), recorder=Notebook(), checkpoints=checkpoints,
        policies=policies,
    )  # fmt: skip
    if not guards:
        trainer.policies = [policy for policy in trainer.policies if policy.name not in ("finite_gate", "batch_gate")]
    if faults:
        inject(trainer, FaultsSpec(name="f", faults={f"fault-{i}": fault for i, fault in enumerate(faults)}))
    return trainer


def notes(trainer: TrainingLoop) -> Notebook:
    assert isinstance(trainer.recorder, Notebook)
    return trainer.recorder


def non_finite(tensors: dict[str, Tensor]) -> int:
    return sum(int((~tensor.isfinite()).sum()) for tensor in tensors.values())


def test_each_strike_is_an_event_with_its_size() -> None:
    trainer = trainer_with(Scaled(place="loss", factor=7.0, step=5, **DECLARED))
    trainer.run()
    told = [(step, detail) for step, kind, detail in notes(trainer).events if kind == INJECTED]
    assert told == [(5, {"fault": "fault-0", "kind": "scaled", "place": "loss", "factor": 7.0})]


def test_a_loss_times_k_is_a_gradient_times_k() -> None:
    losses, norms = [], []
    for factor in (1.0, 1000.0):
        trainer = trainer_with(Scaled(place="loss", factor=factor, step=5, **DECLARED))
        trainer.run()
        losses.append(notes(trainer).column("train/loss"))
        norms.append(notes(trainer).column("train/gradient_norm"))
    assert losses[1][5] == pytest.approx(1000 * losses[0][5])
    assert norms[1][5] == pytest.approx(1000 * norms[0][5])
    assert losses[1][4] == losses[0][4]
    assert losses[1][6] != losses[0][6]


def test_a_scaled_gradient_leaves_the_loss_and_a_scaled_rate_leaves_both() -> None:
    plain, gradient, rate = (
        trainer_with(),
        *(
            trainer_with(Scaled(place=place, factor=100.0, step=5, **DECLARED))
            for place in ("gradient", "learning_rate")
        ),
    )
    for trainer in (plain, gradient, rate):
        trainer.run()
    at_5 = [
        tuple(notes(trainer).column(f"train/{name}")[5] for name in ("loss", "gradient_norm", "learning_rate"))
        for trainer in (plain, gradient, rate)
    ]
    loss, norm, learning_rate = at_5[0]
    assert at_5[1] == (loss, pytest.approx(100 * norm), learning_rate)
    assert at_5[2] == (loss, norm, 100 * learning_rate)
    rates = [notes(trainer).column("train/learning_rate") for trainer in (plain, rate)]
    assert rates[0][6] == rates[1][6], "for one step only"


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_one_element_of_one_gradient_is_not_finite(value: Any) -> None:
    found: list[int] = []

    def count(trainer: TrainingLoop, step: Step) -> None:
        found.append(non_finite({str(i): p.grad for i, p in enumerate(trainer.trainable) if p.grad is not None}))

    fault = NonFinite(place="gradient", value=value, step=5, **DECLARED)
    trainer_with(fault, watch={"gradients_ready": count}, guards=True).run()
    assert found == [1]


def test_a_loss_that_is_not_finite_has_gradients_that_are_not() -> None:
    trainer = trainer_with(NonFinite(place="loss", step=5, **DECLARED))
    trainer.run()
    assert non_finite(dict(trainer.model.named_parameters())) > 100, "nothing guards it"
    guarded = trainer_with(NonFinite(place="loss", step=5, **DECLARED), guards=True)
    result = guarded.run()
    assert result.steps_refused == 1
    assert non_finite(dict(guarded.model.named_parameters())) == 0


@pytest.mark.parametrize("place", ["weight", "moment"])
def test_one_weight_or_moment_is_not_finite_after_the_step(place: Any) -> None:
    found: list[int] = []

    def count(trainer: TrainingLoop, step: Step) -> None:
        moments = {str(i): m["exp_avg"] for i, m in enumerate(trainer.optimizer.state.values())}
        found.append(non_finite(dict(trainer.model.named_parameters()) if place == "weight" else moments))

    trainer_with(NonFinite(place=place, step=5, **DECLARED), watch={"step_taken": count}).run()
    assert found == [1]


def test_memory_that_the_next_batch_reads_is_not_finite() -> None:
    found: list[int] = []
    fault = NonFinite(place="memory", step=5, **DECLARED)
    count = {"step_taken": lambda trainer, step: found.append(non_finite(trainer.memory.tensors()))}
    trainer_with(fault, watch=count).run()
    assert found == [4], "one element of each of the four stored rows"


def test_memory_that_holds_nothing_cannot_be_struck() -> None:
    trainer = trainer_with(NonFinite(place="memory", step=5, **DECLARED), consolidation=Never())
    trainer.run()
    assert [detail["reason"] for _, kind, detail in notes(trainer).events if kind == MISSED] == [
        "the memory contains nothing that the next step reads"
    ]


@pytest.mark.parametrize(("bit", "factor"), [(31, -1.0), (22, None), (30, None)])
def test_a_bit_is_turned_over_in_one_weight(bit: int, factor: float | None) -> None:
    kept: list[Tensor] = []
    keep = {"gradients_ready": lambda trainer, step: kept.append(trainer.model.embedding.weight.detach().clone())}
    # With a rate of next to nothing the step itself changes nothing that counts.
    slow = tiny_spec().recipe.optimizer.model_copy(update={"learning_rate": 1e-30, "weight_decay": 0.0})
    trainer = trainer_with(BitFlip(bit=bit, step=5, **DECLARED), watch=keep, steps=5, optimizer=slow)
    trainer.run()
    after = trainer.model.embedding.weight.detach()
    changed = (after.view(torch.int32) ^ kept[0].view(torch.int32)).flatten()
    assert changed.nonzero().flatten().tolist() == [changed.numel() // 2]
    assert int(changed[changed.numel() // 2]) & 0xFFFFFFFF == 1 << bit
    if factor is not None:
        assert torch.equal(after.flatten()[changed.numel() // 2], factor * kept[0].flatten()[changed.numel() // 2])


def test_batches_that_are_none() -> None:
    seen: dict[str, Tensor] = {}
    for content in ("random", "padding", "empty", "out_of_vocabulary"):

        def look(trainer: TrainingLoop, step: Step, content: str = content) -> None:
            assert step.tokens is not None
            seen[content] = step.tokens.clone()

        fault = BadBatch(content=content, step=5, **DECLARED)
        trainer = trainer_with(fault, watch={"batch_ready": look}, guards=True)
        result = trainer.run()
        refusals = [detail["reason"] for _, kind, detail in notes(trainer).events if kind == "step_refused"]
        assert refusals == {
            "empty": ["the batch is empty"],
            "out_of_vocabulary": ["token 256 in the batch is outside the vocabulary, 0 to 255"],
        }.get(content, [])
        assert result.steps_refused == len(refusals)
        assert notes(trainer).column("stability/nonfinite_steps")[12] == 0
    assert len(seen["random"].unique()) > 30
    assert not seen["padding"].any()
    assert seen["empty"].shape == (1, 0, 9)
    assert int(seen["out_of_vocabulary"].max()) == 256


def test_a_stuck_reader_serves_its_batch_again() -> None:
    served: dict[int, Tensor] = {}
    policy = At("batch_ready", set(range(1, 13)), lambda trainer, step: served.update({step.number: step.tokens}))
    trainer = TrainingLoop(tiny_model(), tiny_spec(), tiny_data(), policies=[policy])
    inject(trainer, FaultsSpec(name="f", faults={"stuck": RepeatedBatch(times=2, step=5, **DECLARED)}))
    trainer.run()
    same = [number for number, tokens in served.items() if torch.equal(tokens, served[5])]
    assert same == [5, 6, 7]


def test_moments_are_zeroed_and_generators_begin_anew() -> None:
    found: list[float] = []

    def size(trainer: TrainingLoop, step: Step) -> None:
        found.append(sum(float(m["exp_avg"].abs().sum()) for m in trainer.optimizer.state.values()))

    trainer_with(OptimizerReset(step=5, **DECLARED), watch={"step_taken": size}).run()
    assert found == [0.0]
    states: list[Tensor] = []
    look = {"batch_ready": lambda trainer, step: states.append(torch.get_rng_state())}
    for faults, step in (((), 1), ((RandomReset(step=5, **DECLARED),), 5), ((), 5)):
        trainer_with(*faults, watch=look, step=step).run()
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[1], states[2])


def test_it_strikes_once_also_after_a_rollback() -> None:
    trainer = trainer_with(
        NonFinite(place="weight", step=5, **DECLARED), guards=True, recovery=tiny_spec().recipe.recovery
    )
    result = trainer.run()
    assert result.rollbacks == 1
    assert notes(trainer).count(INJECTED) == [5]


def test_a_full_disk_ends_training_and_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    original = checkpoints.write_files
    trainer = trainer_with(FullDisk(step=7, **DECLARED), checkpoints=tmp_path)
    with pytest.raises(CheckpointError, match=r"best: cannot be written: No space left on device$"):
        trainer.run()
    assert checkpoints.write_files is original
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["best", "last"]
    fresh = TrainingLoop(tiny_model(seed=1), tiny_spec(**UNGUARDED), tiny_data())
    fresh.policies = [policy for policy in fresh.policies if policy.name not in ("finite_gate", "batch_gate")]
    fresh.load(tmp_path / "last")
    assert fresh.position == 5


class Died(BaseException):
    """Stands for a process that is no more."""


@pytest.mark.parametrize("during", ["step", "save"])
def test_a_kill_comes_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, during: Any) -> None:
    def die() -> None:
        raise Died

    monkeypatch.setattr(machine, "die", die)
    trainer = trainer_with(Kill(during=during, step=7, **DECLARED), checkpoints=tmp_path)
    with pytest.raises(Died):
        trainer.run()
    assert trainer.position == (6 if during == "step" else 8)
    assert [path.name for path in tmp_path.glob(".*.partial")] == ([] if during == "step" else [".best.partial"])
    reader = checkpoints.CheckpointReader(tmp_path / "last")
    assert reader.json("trainer")["position"] == 5


def test_a_truncated_checkpoint_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "die", lambda: None)
    trainer = trainer_with(TruncatedCheckpoint(step=7, **DECLARED), watch=None, checkpoints=tmp_path, steps=7)
    with monkeypatch.context() as patch:
        patch.setattr(find_policy(trainer.policies, KeepCheckpoints), "phase_ended", lambda trainer, step: None)
        trainer.run()
    fresh = TrainingLoop(tiny_model(), tiny_spec(**UNGUARDED, steps=7), tiny_data())
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors: is damaged: its sha256 is"):
        fresh.load(tmp_path / "last")


def test_no_space_is_what_the_system_says() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        machine.no_space()
    assert caught.value.errno == errno.ENOSPC


def test_a_trackers_error_is_announced_only() -> None:
    trainer = trainer_with(TrackerError(step=5, **DECLARED))
    assert trainer.run().steps_taken == 12
    assert notes(trainer).count(INJECTED) == [5]


def test_a_fault_after_the_last_step_is_a_mistake() -> None:
    with pytest.raises(SpecError, match=r"^f: faults\.fault-0\.step must be at most recipe\.steps, 12, got 13$"):
        trainer_with(RandomReset(step=13, **DECLARED))


def test_a_document_of_recall_begins_with_a_memory_that_is_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    experiment = load_experiment("cortex-v2-hybrid", ["variant.backbone.training.steps=1"])
    model = build_model(experiment.variant, seed=0)
    state = model.initial_state(2)
    spoilt = with_element(state, float("nan"))
    changed = [name for name, tensor in spoilt.tensors().items() if not torch.equal(tensor, state.tensors()[name])]
    assert len(changed) == 1 and non_finite(spoilt.tensors()) == 1
    tokens = torch.randint(model.vocab_size, (2, 8), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model.eval()(tokens, spoilt).logits
    assert not bool(logits[0].isfinite().all()), "it reaches the answers of its document"
