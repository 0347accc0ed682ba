"""The guards inside transformers' own Trainer, with a batch that hurts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from cortexzoo.harness.integrations.transformers_trainer import GuardCallback, PropertyCallback
from cortexzoo.specs import load

BAD = 12
# transformers 4 makes the schedule first, and torch takes the guarded step for another optimizer's.
pytestmark = pytest.mark.filterwarnings("ignore:Seems like `optimizer.step:UserWarning")


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 1)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": (self.map(x) - y).square().mean()}


class Rows(torch.utils.data.Dataset[dict[str, Tensor]]):
    def __init__(self, value: float) -> None:
        x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        x[2 * BAD : 2 * BAD + 2] *= value
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "y": self.x[index].sum(0, keepdim=True)}


class InOrder(Trainer):
    def _get_train_sampler(self, *_: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


def train(folder: Path, value: float, *callbacks: GuardCallback) -> tuple[Line, InOrder]:
    torch.manual_seed(0)
    model = Line()
    arguments = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=2, num_train_epochs=1, max_grad_norm=0, logging_steps=20,
        report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, learning_rate=0.01,
        dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = InOrder(model=model, args=arguments, train_dataset=Rows(value), callbacks=list(callbacks))
    trainer.train()
    return model, trainer


def test_a_batch_that_is_not_finite_is_refused_and_counted(tmp_path: Path) -> None:
    recipe = load("robust", "recipe", ["recovery={kind: none}"])
    guard = GuardCallback(recipe)
    model, trainer = train(tmp_path, float("nan"), guard)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    assert guard.guard is not None
    assert (guard.guard.taken, guard.guard.refused) == (19, 1)
    assert any(entry.get("stability/nonfinite_steps") == 1 for entry in trainer.state.log_history)
    broken, _ = train(tmp_path, float("nan"))
    assert not all(bool(parameter.isfinite().all()) for parameter in broken.parameters())


def test_without_trouble_the_weights_are_those_of_the_trainer_alone(tmp_path: Path) -> None:
    recipe = load("robust", "recipe", ["clipping={kind: none}", "spikes={kind: none}"])
    watched, _ = train(tmp_path, 1.0, GuardCallback(recipe))
    alone, _ = train(tmp_path, 1.0)
    for one, other in zip(watched.parameters(), alone.parameters(), strict=True):
        assert torch.equal(one, other)


def test_properties_are_tried_while_the_trainer_trains(tmp_path: Path) -> None:
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    )
    rows = [{"input_ids": torch.arange(n, n + 6) % 16, "labels": torch.arange(n, n + 6) % 16} for n in range(8)]
    callback = PropertyCallback(["causality"], every=2, longest=16, report=pytest.fail)
    arguments = TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=2, num_train_epochs=1, report_to=[], save_strategy="no",
        use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    Trainer(model=model, args=arguments, train_dataset=rows, callbacks=[callback]).train()  # type: ignore[arg-type]
    assert callback.watch is not None
    assert callback.watch.held_at == {"causality": 4}
