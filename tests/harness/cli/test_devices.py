"""Where a trained model computes: the CPU, or a GPU that is there."""

import pytest
import torch

from cortexzoo.harness.cli import main
from cortexzoo.harness.cli.devices import require_device
from cortexzoo.harness.errors import BadInput


def put_in(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_what_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(2, monkeypatch)
    for name in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert require_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("name", "there", "message"),
    [
        ("cuda", 0, "--device cuda: PyTorch finds no GPU here"),
        ("cuda:1", 1, "--device cuda:1: PyTorch finds 1 GPU here"),
        ("cuda:2", 2, "--device cuda:2: PyTorch finds 2 GPUs here"),
        ("gpu", 1, "--device gpu: must be cpu, cuda or cuda:N"),
        ("meta", 1, "--device meta: must be cpu, cuda or cuda:N"),
        ("cpu:1", 1, "--device cpu:1: must be cpu, cuda or cuda:N"),
        ("", 1, "--device : must be cpu, cuda or cuda:N"),
    ],
)
def test_what_is_not_there_is_one_line(name: str, there: int, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in(there, monkeypatch)
    with pytest.raises(BadInput) as refused:
        require_device(name)
    assert str(refused.value) == message


@pytest.mark.parametrize("command", [("generate", "latest", "--prompt", "a"), ("stream", "latest", "--tokens", "9"),
                                     ("evaluate", "latest")])  # fmt: skip
def test_a_command_refuses_a_gpu_that_is_not_there(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_in(0, monkeypatch)
    assert main([*command, "--device", "cuda"]) == 2
    assert capsys.readouterr().err.strip() == "--device cuda: PyTorch finds no GPU here"
