"""Runs of a base in a folder that is trained itself: from `new --tuned` to an exact resume."""

import os
import signal
from collections.abc import Mapping
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.options import RunOptions
from cortexzoo.harness.runs.resume import resume_run
from cortexzoo.harness.runs.train import train_run
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.zoo import load_exported

SMALL = (
    "recipe={extends: robust, steps: 6, batch_size: 2, sequence_length: 24}",
    "recipe.monitor.validate_every=3",
    "recipe.monitor.validation_sequences=2",
    "recipe.monitor.checkpoint_every=3",
    "variant.chunk_size=16",
    "suite=own-variant",
)
METHODS = [
    pytest.param("lora", marks=pytest.mark.skipif(find_spec("peft") is None, reason="needs peft")),
    "full",
]


def experiment_on(method: str, folder: Path) -> ExperimentSpec:
    config = Qwen2Config(
        vocab_size=256, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=24, max_position_embeddings=128,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        Qwen2ForCausalLM(config).save_pretrained(folder / "base")
    assert main(["new", str(folder / "mine.yaml"), "--base", str(folder / "base"), "--tuned", method]) == 0
    return load_experiment("transformer", [f"variant={folder / 'mine.yaml'}", *SMALL])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(method: str, tmp_path: Path) -> None:
    experiment = experiment_on(method, tmp_path)
    whole = train_run(experiment, tmp_path / "runs", RunOptions(trackers=(), warn=pytest.fail))
    assert whole.summary["status"] == "finished"

    class Deadly(JsonlSink):
        def metrics(self, at: int, values: Mapping[str, float]) -> None:
            if at == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            super().metrics(at, values)

    def die() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cortexzoo.harness.runs.train.JsonlSink", Deadly)
            train_run(experiment, tmp_path / "killed", RunOptions(trackers=()))

    process = get_context("fork").Process(target=die)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (killed,) = (path.parent for path in (tmp_path / "killed").rglob("spec.yaml"))
    resumed = resume_run(killed, experiment, options=RunOptions(trackers=(), warn=pytest.fail))
    ends = [torch.cat([p.flatten() for p in run.load_model("last")[0].parameters()]) for run in (whole, resumed)]
    assert torch.equal(*ends)

    if method == "full":
        assert main(["export", str(resumed.path), str(tmp_path / "out")]) == 0
        model, _ = load_exported(tmp_path / "out")
        best, _ = resumed.load_model("best")
        tokens = torch.arange(40)[None]
        assert torch.equal(model(tokens).logits, best.eval()(tokens).logits)


def test_tuned_needs_a_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", str(tmp_path / "mine.yaml"), "--from", "robust", "--tuned", "lora"]) == 2
    assert "--tuned lora: needs --base ID|FOLDER" in capsys.readouterr().err
