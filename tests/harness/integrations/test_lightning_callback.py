"""The guards inside Lightning's own Trainer, with a batch that hurts."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

lightning = pytest.importorskip("lightning", reason="the optional package lightning is not installed")

from cortexzoo.harness.integrations.lightning_callback import GuardCallback  # noqa: E402
from cortexzoo.specs import load  # noqa: E402

BAD = 12


class Line(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 1)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        (x,) = batch
        loss: Tensor = (self.map(x) - x.sum(1, keepdim=True)).square().mean()
        return loss * float("nan") if index == BAD and self.hurt else loss

    hurt = True

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def train(folder: Path, *callbacks: GuardCallback, hurt: bool = True) -> Line:
    torch.manual_seed(0)
    model = Line()
    model.hurt = hurt
    rows = torch.utils.data.TensorDataset(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))
    trainer = lightning.Trainer(
        max_epochs=1, callbacks=list(callbacks), logger=False, enable_checkpointing=False, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(model, torch.utils.data.DataLoader(rows, batch_size=2))
    return model


@pytest.mark.filterwarnings("ignore")
def test_a_batch_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    guard = GuardCallback(load("robust", "recipe", ["recovery={kind: none}"]))
    model = train(tmp_path, guard)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    assert guard.guard is not None
    assert (guard.guard.taken, guard.guard.refused) == (19, 1)
    assert not all(bool(parameter.isfinite().all()) for parameter in train(tmp_path).parameters())


@pytest.mark.filterwarnings("ignore")
def test_without_trouble_the_weights_are_those_of_lightning_alone(tmp_path: Path) -> None:
    recipe = load("robust", "recipe", ["clipping={kind: none}", "spikes={kind: none}"])
    watched = train(tmp_path, GuardCallback(recipe), hurt=False)
    for one, other in zip(watched.parameters(), train(tmp_path, hurt=False).parameters(), strict=True):
        assert torch.equal(one, other)
