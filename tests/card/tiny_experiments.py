"""The experiments that are trained on a card that is not there."""

import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.cli import main
from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.runs.train import subject_of, train_run
from cortexzoo.specs import load
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.training.evaluation import model_device
from tests.zoo.training.tiny import Notebook

STEPS, HALF = 6, 3
MONITOR = (
    *(f"recipe.steps={STEPS}", f"recipe.monitor.validate_every={HALF}", f"recipe.monitor.checkpoint_every={HALF}"),
    *("recipe.monitor.probe_every=3", "recipe.monitor.validation_sequences=4", "recipe.monitor.keep_last=2"),
)
EXPERIMENTS = {
    "cortexgpt-stable": (
        *("variant.hidden_size=16", "variant.columns.num_columns=2", "recipe.sequence_length=32"),
        *("recipe.consolidation.every=2", "recipe.accumulation=2", "recipe.sleep={kind: replay, every: 2, steps: 1}"),
    ),
    "cortexgpt-original": (
        *("variant.hidden_size=16", "variant.columns.num_columns=4", "recipe.sequence_length=16"),
        *("recipe.batch_size=4", "recipe.consolidation={kind: interval, every: 2}"),
    ),
    "cortex-v2-hybrid": (
        *("variant=cortex-v2-hybrid-scratch", "variant.backbone.architecture.vocab_size=512"),
        *("variant.backbone.architecture.hidden_size=16", "variant.backbone.architecture.num_layers=1"),
        *("variant.mixer.head_dim=8", "recipe.batch_size=4", "recipe.sleep.every=2", "recipe.sleep.steps=1"),
        "recipe.objective.in_chunk={kind: none}",
        "recipe.objective.stages=[{gaps: [0, 1], tokens_per_step: 1024, samples_per_gap: 2}]",
    ),
}


def judged(name: str, properties: Sequence[str], folder: Path) -> dict[str, Any]:
    """By property its verdict, and why."""
    experiment = load(name, "experiment", [*EXPERIMENTS[name], *MONITOR, "trackers=[jsonl]"])
    subject, checks = subject_of(train_run(experiment, folder)), experiment.suite.properties
    found = [judge(REGISTRY[each], checks[each], subject) for each in properties]
    return {each.name: f"{each.verdict}: {each.reason}" for each in found}


def trained(name: str, folder: Path) -> dict[str, Any]:
    """Where it ran, its losses, and those of its second half again, resumed from its first."""
    spec = load(name, "experiment", [*EXPERIMENTS[name], *MONITOR])
    checkpoints = folder / name / "checkpoints"
    notebook = Notebook()
    trainer = build_trainer(spec, recorder=notebook, folder=checkpoints)
    trainer.run()
    again = Notebook()
    resumed = build_trainer(spec, recorder=again, folder=folder / name / "again")
    resumed.load(checkpoints / f"step-{HALF:08d}")
    resumed.run()
    return {
        "device": trainer.device.type,
        "losses": list(notebook.column("train/loss").values()),
        "validation": list(notebook.column("validation/loss").values()),
        "resumed": list(again.column("train/loss").values()),
    }


def used(name: str, folder: Path) -> dict[str, Any]:
    """By device what the commands that use a trained run print there."""
    spec = load(name, "experiment", [*EXPERIMENTS[name], *MONITOR, "trackers=[jsonl]"])
    run = str(train_run(spec, folder).path)
    return {device: _used(run, device, folder / device) for device in ("cpu", "cuda")}


def _used(run: str, device: str, folder: Path) -> dict[str, Any]:
    there, report = ("--device", device), folder / "report.json"
    folder.mkdir()
    written, session = ("--json", str(report)), ("--session", str(folder / "session"))
    found: dict[str, Any] = {}
    (folder / "text.txt").write_text("A text to read first. " * 8, encoding="utf-8")
    first = ("--prompt-file", str(folder / "text.txt"), "--prompt", "The ", "--write")
    found["generate"] = _printed("generate", run, *first, "--tokens", "24", "--temperature", "0", *there)
    for _ in range(2):  # the second goes on where the first has stopped
        _printed("stream", run, "--tokens", "300", *session, *written, *there)
    found["stream"] = json.loads(report.read_text(encoding="utf-8"))[-1]["nats"]
    if "cortexgpt" in run:  # the others were trained on a task, of which no text is held out
        _printed("evaluate", run, "--write", *written, *there)
        found["evaluate"] = json.loads(report.read_text(encoding="utf-8"))["loss"]
    return found


def _printed(*arguments: str) -> str:
    """What a command prints. Its model must be where the last argument says."""
    devices, real = [], Run.load_model

    def noted(*given: Any) -> Any:
        model, state = real(*given)
        devices.append(model_device(model).type)
        return model, state

    with redirect_stdout(StringIO()) as out, patch.object(Run, "load_model", noted):
        code = main(list(arguments))
    assert (code, devices) == (0, [arguments[-1]]), arguments
    return out.getvalue()
