"""The TensorBoard sink: curves beside the truth. The only file that imports torch's writer for it."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cortexzoo.harness.errors import Failure
from cortexzoo.harness.tracking.base import TrackedRun

FOLDER = "tensorboard"


class TensorBoardSink:
    """Event files in `RUN/tensorboard`. Opening or writing them may raise anything: wrap it in a recorder."""

    name = "tensorboard"
    identity: str = FOLDER

    def __init__(self, folder: Path) -> None:
        """Raises `Failure` without the package."""
        if find_spec("tensorboard") is None:
            raise Failure('the package tensorboard is not installed: pip install "cortexzoo[tensorboard]"')
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / FOLDER))

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """All metrics under their own names."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        """As text, at its step."""
        words = ", ".join(f"{name}: {value}" for name, value in detail.items())
        self._writer.add_text(f"events/{kind}", words[:1000], step)

    def outcome(self, summary: Mapping[str, object], *, report: str, picture: Path) -> None:
        """The numbers of `summary.json`, the verdicts in words, the curves as image."""
        steps = summary.get("steps_taken")
        at = steps if isinstance(steps, int) else 0
        for name, value in summary.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"outcome/{name}", value, at)
        if report:
            self._writer.add_text("outcome/verdict", report, at)
        if picture.is_file():
            from matplotlib.image import imread

            pixels = imread(picture)
            self._writer.add_image("curves", pixels, at, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


def open_sink(run: TrackedRun) -> TensorBoardSink:
    """The event files of a run folder; a later process adds a file."""
    return TensorBoardSink(run.folder)
