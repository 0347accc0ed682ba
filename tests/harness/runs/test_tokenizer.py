"""A run in tokens of its own: measured a byte and a token, then continued, exported and resumed in them."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.resume import resume_run
from cortexzoo.harness.runs.run_folder import Run, RunFolderError
from cortexzoo.harness.runs.tokenizer import TOKENIZER, kept_tokenizer
from cortexzoo.harness.runs.train import subject_of
from cortexzoo.zoo import generate, load_exported
from tests.harness.trained import QUIET, killed_small, small, train_small

CHANGES = ("data.vocabulary={kind: bpe, size: 400}", "variant.vocab_size=400")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_small(tmp_path_factory.mktemp("runs"), *CHANGES)


def test_losses_are_in_nats_a_byte_and_a_token(run: Run) -> None:
    summary, last = run.summary, run.metrics()[-1]
    assert 1.5 < summary["bytes_per_token"] < 3
    ratio = last["validation/loss_per_token"] / last["validation/loss"]
    assert ratio == pytest.approx(summary["bytes_per_token"], rel=0.3)
    assert summary["test_loss"] < summary["test_loss_per_token"]
    plain = train_small(run.path.parent, "recipe.steps=1").summary
    assert summary["ngram_loss"] == pytest.approx(plain["ngram_loss"], rel=0.3), "the same text, other windows"


def test_a_text_is_continued_in_its_tokens(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(run.path), "--prompt", "The ", "--tokens", "8", "--temperature", "0"]) == 0
    generated = capsys.readouterr().out.rstrip("\n")
    tokenizer = Tokenizer.from_file(str(run.path / TOKENIZER))
    model, memory = run.load_model()
    prompt = torch.tensor([tokenizer.encode("The ").ids])
    expected = generate(model, prompt, 8, temperature=0, state=model.between_batches(memory, 1))
    assert generated == "The " + tokenizer.decode(expected[0].tolist()).rstrip("\n")


def test_evaluate_prints_both_units(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run.path), "--json", str(tmp_path / "out.json")]) == 0
    assert "loss, nats a token" in capsys.readouterr().out
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["loss"] == pytest.approx(run.summary["best_validation_loss"], rel=0.01)
    assert content["loss_per_token"] > content["loss"]


def test_an_exported_model_comes_with_its_tokenizer(run: Run, tmp_path: Path) -> None:
    assert main(["export", str(run.path), str(tmp_path / "out")]) == 0
    model, memory = load_exported(tmp_path / "out")
    ids = Tokenizer.from_file(str(tmp_path / "out" / TOKENIZER)).encode("The class").ids
    assert model(torch.tensor([ids]), memory).logits.shape == (1, len(ids), 400)


def test_a_resumed_run_ends_as_if_it_had_not_been_stopped(run: Run, tmp_path: Path) -> None:
    begun = killed_small(tmp_path, 9, *CHANGES)
    resumed = resume_run(begun.path, small(*CHANGES), options=QUIET)
    assert resumed.summary["test_loss"] == run.summary["test_loss"]
    assert resumed.manifest["tokenizer_sha256"] == run.manifest["tokenizer_sha256"]


def test_its_text_is_checked_in_its_tokens(run: Run) -> None:
    subject = subject_of(run)
    assert int(subject.text.max()) > 256
    assert subject.vocabulary.size == 400


def test_another_tokenizer_in_its_place_is_refused(tmp_path: Path) -> None:
    run = train_small(tmp_path, *CHANGES, "recipe.steps=1")
    file = run.path / TOKENIZER
    content = file.read_text()
    file.write_text(content + " ")
    with pytest.raises(RunFolderError, match=r"tokenizer.json: is not the tokenizer that the run was trained with"):
        kept_tokenizer(run)
    assert main(["generate", str(run.path), "--prompt", "x"]) == 2
    file.unlink()
    with pytest.raises(RunFolderError, match=r"tokenizer\.json: cannot be read: No such file"):
        subject_of(run)
