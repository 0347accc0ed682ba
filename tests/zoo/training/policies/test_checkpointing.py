"""Which checkpoints stay, in which order they are written, and that each is announced before it is."""

from pathlib import Path
from typing import Any

from cortexzoo.specs.guards import RecoveryCheckpoints
from cortexzoo.specs.recipe import MonitorSpec
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step
from tests.zoo.training.tiny import At, Notebook, tiny_data, tiny_model, tiny_spec

MONITOR = {"probe_every": 2, "validate_every": 4, "checkpoint_every": 3, "swing_window": 4}


def train(folder: Path, keep_last: int = 1, on_disk: bool = False, **recipe: Any) -> Notebook:
    notebook = Notebook()
    recovery = RecoveryCheckpoints(every=5, on_disk=on_disk)
    spec = tiny_spec(monitor=MonitorSpec(**MONITOR, keep_last=keep_last), recovery=recovery, **recipe)
    TrainingLoop(tiny_model(), spec, tiny_data(), recorder=notebook, checkpoints=folder).run()
    return notebook


def position(folder: Path) -> int:
    return int(CheckpointReader(folder).json("trainer")["position"])


def announced(notebook: Notebook, name: str) -> list[int]:
    return [step for step, kind, detail in notebook.events if kind == "checkpoint" and detail["name"] == name]


def test_the_last_n_and_the_best_stay(tmp_path: Path) -> None:
    train(tmp_path, keep_last=3)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["best", "last", "step-00000006", "step-00000009"]
    assert [position(tmp_path / name) for name in found[1:]] == [12, 6, 9]


def test_one_last_checkpoint_is_enough_unless_more_are_asked_for(tmp_path: Path) -> None:
    train(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]


def test_a_training_shorter_than_any_interval_saves_its_end(tmp_path: Path) -> None:
    for steps in (1, 2):
        assert announced(train(tmp_path / str(steps), steps=steps), "last") == [steps]
        assert position(tmp_path / str(steps) / "last") == steps


def test_recovery_points_go_to_disk_when_asked_to(tmp_path: Path) -> None:
    assert announced(train(tmp_path / "one"), "last") == [3, 6, 9, 12]
    assert announced(train(tmp_path / "two", on_disk=True), "last") == [3, 5, 6, 9, 10, 12]


def test_a_checkpoint_is_announced_before_it_is_written_and_the_last_one_comes_last(tmp_path: Path) -> None:
    written: list[tuple[str, int]] = []
    notebook = Notebook()
    trainer = TrainingLoop(
        tiny_model(), tiny_spec(monitor=MonitorSpec(**MONITOR | {"validate_every": 3})), tiny_data(),
        recorder=notebook, checkpoints=tmp_path,
    )  # fmt: skip
    save = trainer.save

    def watched(folder: Path, keep: Path | None = None) -> None:
        told = [detail["name"] for _, kind, detail in notebook.events if kind == "checkpoint"]
        assert told[len(written)] == folder.name
        assert [step for step, _ in notebook.rows][-1] == trainer.position, "the step is recorded first"
        written.append((folder.name, trainer.position))
        save(folder, keep)

    trainer.save = watched  # type: ignore[method-assign]
    trainer.policies.append(At("step_taken", {3}, lambda trainer, step: None))
    trainer.run()
    assert written[:2] == [("best", 3), ("last", 3)]


def test_an_event_of_a_step_bears_its_number(tmp_path: Path) -> None:
    notebook = Notebook()

    def tell(trainer: TrainingLoop, step: Step) -> None:
        trainer.event("early", {})

    trainer = TrainingLoop(
        tiny_model(), tiny_spec(), tiny_data(), recorder=notebook, policies=[At("loss_known", {6}, tell)]
    )
    trainer.run()
    assert notebook.count("early") == [6], "else it would stay when the run is cut back to step 5"
