"""The zoo's models sleep under every precision, and what is frozen in them stays as it is, bit for bit."""

from typing import Any

import pytest
import torch
from torch import Tensor

from cortexzoo.specs.memory import MemorySpec, RawRing, ShortTermRing
from cortexzoo.specs.sleep import Dreaming
from cortexzoo.specs.variant import ColumnsSpec, CortexGPTSpec, TransformerSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.sleep import phase
from tests.zoo.models.hybrid.tiny import tiny_hybrid
from tests.zoo.training.sleep.asleep import GENERATED, KINDS, NOISE, REPLAY, notes, sleep_of
from tests.zoo.training.tiny import Notebook, tiny_data, tiny_spec

CORTEXGPT = CortexGPTSpec(
    name="tiny", hidden_size=8, columns=ColumnsSpec(num_columns=2),
    memory=MemorySpec(short_term=ShortTermRing(capacity=6), long_term=RawRing(code_size=4, top_k=2, capacity=12)),
)  # fmt: skip
TRANSFORMER = TransformerSpec(name="tiny", hidden_size=8, num_heads=2, num_layers=1, intermediate_size=8)
MODELS = {
    "cortexgpt": lambda: build_model(CORTEXGPT, 0),
    "transformer": lambda: build_model(TRANSFORMER, 0),
    "hybrid": tiny_hybrid,
}


def slept(model: MemoryLanguageModel[Any], spec: Dreaming, precision: str) -> TrainingLoop:
    experiment = tiny_spec(steps=5, sleep=spec, precision=precision)
    trainer = TrainingLoop(model, experiment, tiny_data(), recorder=Notebook())
    trainer.run()
    return trainer


def assert_whole(trainer: TrainingLoop) -> None:
    assert (sleep_of(trainer).updates_taken, sleep_of(trainer).updates_refused) == (3, 0)
    assert trainer.taken == 5, "the step after the sleep was taken too"
    assert all(bool(parameter.isfinite().all()) for parameter in trainer.model.parameters())
    assert notes(trainer).column("sleep/post_loss")[4] > 0


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
@pytest.mark.parametrize("name", MODELS)
def test_every_model_sleeps_in_bfloat16(name: str, spec: Dreaming) -> None:
    assert_whole(slept(MODELS[name](), spec, "bf16"))


@pytest.mark.parametrize("name", ["cortexgpt", "transformer"])
def test_every_model_sleeps_in_full_precision(name: str) -> None:
    assert_whole(slept(MODELS[name](), REPLAY, "fp32"))


@pytest.mark.parametrize("name", MODELS)
def test_no_dtype_is_mixed_up_under_half_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase, "autocast", lambda device, _: torch.autocast(device.type, dtype=torch.float16))
    assert_whole(slept(MODELS[name](), REPLAY, "fp32"))
    assert_whole(slept(MODELS[name](), GENERATED, "fp32"))


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.kind)
def test_a_frozen_base_stays_bit_for_bit(spec: Dreaming) -> None:
    model = tiny_hybrid()

    def base() -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in model.base.network.state_dict().items()}

    before, sidecars = base(), [parameter.detach().clone() for parameter in model.parameters()]
    slept(model, spec, "fp32")
    assert before and all(torch.equal(tensor, before[name]) for name, tensor in base().items())
    assert all(parameter.grad is None for parameter in model.base.network.parameters())
    assert not all(torch.equal(one, other) for one, other in zip(model.parameters(), sidecars, strict=True))


def test_noise_comes_from_the_whole_vocabulary() -> None:
    seen: list[Tensor] = []
    model = tiny_hybrid()
    model.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    slept(model, NOISE, "fp32")
    dreams = torch.cat([tokens.flatten() for tokens in seen if tokens.shape == (2, 6)])
    assert len(dreams) == 3 * 12 and int(dreams.max()) > 128 and len(dreams.unique()) > 24
