"""What the run commands say of a run on a memory task."""

import json
from pathlib import Path
from typing import Any

import pytest

from cortexzoo.harness.cli import main
from cortexzoo.harness.cli.training_words import result
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.tracking.jsonl import RECORDS, read_lines

TINY = (
    "data=kv-tokens-far",
    "variant=cortex-v2-hybrid-scratch",
    "variant.backbone.architecture.vocab_size=256",
    "variant.backbone.architecture.hidden_size=16",
    "recipe.steps=4",
    "recipe.objective.in_chunk={kind: none}",
    "recipe.objective.stages=[{gaps: [0, 1], tokens_per_step: 512}]",
    "recipe.monitor.validation_sequences=2",
    "data.gaps=[1, 2]",
    "data.evaluation_documents=4",
)


def train(runs: Path, *arguments: str) -> int:
    changes = [part for change in TINY for part in ("--set", change)]
    place = () if "--resume" in arguments else ("--runs", str(runs))
    return main(["train", "cortex-v2-hybrid", *changes, *place, "--trackers=jsonl", "--no-check", *arguments])


def only_run(runs: Path) -> Run:
    (folder,) = (runs / "cortex-v2-hybrid").iterdir()
    return Run.open(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def run(runs: Path) -> Run:
    assert train(runs) == 0
    return only_run(runs)


def test_a_run_tells_its_documents_and_what_was_recalled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubtful = ("--set", "recipe.objective.bptt_chunks=1")
    assert train(tmp_path, *doubtful) == 0
    output = capsys.readouterr()
    run = only_run(tmp_path)
    assert "4 steps of up to 32 documents with gaps up to 1 chunk, recipe cortex-v2-a1" in output.out
    shares = run.summary["recall"]["kv-tokens-far"]
    assert f"answers right by gap: {shares['1']:.1%} at 1, {shares['2']:.1%} at 2; at most memory off" in output.out
    assert "base alone" not in output.out, "there is no frozen base"
    assert "bptt_chunks is 1: no gradient reaches" in output.err


def test_every_document_is_in_the_records(run: Run) -> None:
    documents = list(read_lines(run.path / RECORDS["sample"]))
    assert {line["step"] for line in documents} == {1, 2, 3, 4}
    assert {line["gap"] for line in documents} == {0, 1}
    assert all(line["answer_tokens"] == 6 for line in documents)
    assert not (run.path / RECORDS["drift"]).exists(), "no frozen base to drift from"
    assert not any(event["kind"] in RECORDS for event in run.events())


def test_a_finished_run_does_not_go_on(run: Run, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(runs, "--resume", str(run.path)) == 2
    assert "has taken all its 4 steps, nothing is left to do" in capsys.readouterr().err


def test_a_resumed_run_records_the_same_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keep = ("--set", "recipe.monitor.checkpoint_every=2", "--set", "recipe.monitor.keep_last=2")
    assert train(tmp_path, *keep) == 0
    run = only_run(tmp_path)

    def recorded() -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if k != "time"} for line in read_lines(run.path / RECORDS["sample"])]

    before, recall = recorded(), run.summary["recall"]
    assert train(tmp_path, *keep, "--resume", str(run.path), "--checkpoint", "step-00000002") == 0
    assert recorded() == before
    assert json.loads((run.path / "summary.json").read_text())["recall"] == recall
    assert "resuming at step 2" in capsys.readouterr().out


def test_the_result_in_words_names_every_control() -> None:
    summary: dict[str, Any] = {
        "best_validation_loss": None,
        "tokens_per_second": 1000.0,
        "seconds": 9.0,
        "recall": {"pairs": {"1": 1.0, "550": 0.985}},
        "recall_memory_off": {"pairs": {"1": 0.03, "550": 0.02}},
        "recall_base": {"pairs": {"1": 0.0, "550": 0.01}},
        "chance": {"pairs": 1 / 64},
        "perplexity": 4.5,
        "base_perplexity": 4.25,
    }
    assert result(summary) == (
        "answers right by gap: 100.0% at 1, 98.5% at 550; at most memory off 3.0%, base alone 1.0%, chance 0.016; "
        "plain text: perplexity 4.50, the base's 4.25 (1,000 tokens a second, 9 s in all)"
    )
    assert result({**summary, "recall": None, "best_validation_loss": 2.0}).startswith("held out: 2.000 nats a token")
    assert result({**summary, "recall": None}) == "the validation loss was never measured"
