"""Tasks of lm-evaluation-harness, with the real library where it is installed: nox -s integrations."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("lm_eval", reason="needs lm-eval: nox -s integrations")
from cortexzoo.harness.errors import BadInput, Failure
from cortexzoo.harness.integrations import lm_evaluation
from cortexzoo.harness.integrations.lm_evaluation import ReadingModel, evaluate_tasks
from cortexzoo.harness.runs.prompt import Writing
from cortexzoo.specs import load
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.generation import generate

ASCII = 128
SMALL = ["hidden_size=16", "columns.num_columns=2", "memory.short_term.capacity=8"]
TASK = """\
task: colours
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{options}}"
doc_to_target: "{{right}}"
metric_list: [{metric: acc}]
"""


@pytest.fixture
def reading() -> ReadingModel:
    model = build_model(load("cortexgpt-stable", "variant", SMALL), seed=0)
    return ReadingModel(model, model.initial_state(2), Writing(None, ASCII))


def asked(*arguments: Any) -> Any:
    return SimpleNamespace(args=arguments)


def by_hand(reading: ReadingModel, text: str, scored: int) -> float:
    """The log-likelihood of the last bytes of a text that is read in one call."""
    tokens = torch.tensor([list(text.encode())])
    with torch.no_grad():
        likelihoods = reading.model(tokens[:, :-1]).logits[0].double().log_softmax(-1)
    return float(likelihoods.gather(1, tokens[0, 1:, None])[-scored:].sum())


def test_memory_is_carried_within_a_document_and_not_to_the_next(
    reading: ReadingModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_evaluation, "PIECE", 5)
    text, long = "a text of some length", "it goes on and on, longer than the ring"
    (alone, _), (again, _) = reading.loglikelihood([asked(text, long), asked(text, long)])
    assert alone == again == pytest.approx(by_hand(reading, text + long, len(long)), abs=1e-4)
    assert reading.loglikelihood_rolling([asked(long)]) == [
        pytest.approx(by_hand(reading, "\n" + long, len(long)), abs=1e-4)
    ]


def test_the_likeliest_continuation_is_named_as_such(reading: ReadingModel) -> None:
    prompt = "The "
    tokens = torch.tensor([list(prompt.encode())])
    likeliest = generate(reading.model, tokens, 3, temperature=0.0, vocab_size=ASCII)[0].tolist()
    written = bytes(likeliest).decode()
    (found,) = reading.generate_until([asked(prompt, {"max_gen_toks": 3, "until": []})])
    assert found == written
    assert reading.loglikelihood([asked(prompt, written)])[0][1]
    assert not reading.loglikelihood([asked(prompt, chr((likeliest[0] + 1) % ASCII))])[0][1]
    assert reading.generate_until([asked(prompt, {"max_gen_toks": 3, "until": [written[1]]})]) == [
        written[: written.index(written[1])]
    ]
    with pytest.raises(BadInput, match="samples"):
        reading.generate_until([asked(prompt, {"do_sample": True})])


@pytest.mark.slow
def test_a_task_of_the_users_own_gives_its_metrics(
    reading: ReadingModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = [{"question": "The sky is", "options": [" blue", " green"], "right": right} for right in (0, 1, 0)]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "colours.yaml").write_text(TASK.replace("FILE", str(tmp_path / "rows.jsonl")))
    likelihoods = [by_hand(reading, f"The sky is {word}", len(word) + 1) for word in ("blue", "green")]
    share = 2 / 3 if likelihoods[0] > likelihoods[1] else 1 / 3
    found = evaluate_tasks(reading, ["colours"], folder=tmp_path / "tasks")
    assert found["colours"]["acc,none"] == pytest.approx(share)
    with pytest.raises(BadInput, match=r"--tasks colour: .* no such task: did you mean colours\?"):
        evaluate_tasks(reading, ["colour"], folder=tmp_path / "tasks")
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(Failure, match="its data could not be loaded"):
        evaluate_tasks(reading, ["colours"], folder=tmp_path / "tasks")
