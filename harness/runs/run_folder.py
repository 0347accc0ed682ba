"""A run folder: `RUNS/<experiment>/<run id>/`, written during training and opened again afterwards."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from cortexzoo.harness.checking.verdict import VERDICT, Certificate, OldCertificate
from cortexzoo.harness.errors import RunStopped, UserError
from cortexzoo.harness.runs.file_models import event_mistake, manifest_mistake, record_mistake, summary_mistake
from cortexzoo.harness.runs.run_names import is_empty, new_folder
from cortexzoo.harness.runs.whole_files import write_whole
from cortexzoo.harness.tracking.jsonl import EVENTS, METRICS, from_json_value, read_lines, to_json_value
from cortexzoo.specs import ExperimentSpec, SpecError, dump_yaml, load_experiment
from cortexzoo.specs.base import NamedSpec
from cortexzoo.specs.own_variant import ModuleSpec
from cortexzoo.specs.regular_files import read_regular
from cortexzoo.zoo import keyed

if TYPE_CHECKING:
    import torch

    from cortexzoo.harness.tracking.sampling import Sample
    from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState

SPEC = "spec.yaml"
PARSED = ".spec.json"
FAULTS = "faults.yaml"
SUMMARY = "summary.json"
MANIFEST = "manifest.json"
CURVES = "curves.png"
CHECKPOINTS = "checkpoints"
REFUSED = "refused"
LOCK = ".lock"
MISTAKES = {MANIFEST: manifest_mistake, SUMMARY: summary_mistake}


class RunFolderError(UserError):
    """A runs folder or run folder that cannot be used. The message is one line."""


class _Content(dict[str, Any]):
    """The content of a file; asking for a key that it lacks raises `RunFolderError`."""

    def __init__(self, path: Path, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise RunFolderError(f"{self._path}: is damaged: it has no {key}")


class Run:
    """One training run on disk."""

    def __init__(self, path: Path, made: Sequence[Path] = ()) -> None:
        self.path = path
        self._made = made
        """Parent folders that were made for this run, the deepest first."""

    @classmethod
    def create(cls, runs: Path, experiment: ExperimentSpec) -> "Run":
        """A new folder with its `spec.yaml`; its name sorts by time.

        Raises `RunFolderError` and leaves nothing behind when the folder cannot be written.
        """
        parent = runs / experiment.name
        made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
        with ExitStack() as undo:
            undo.callback(_remove_empty, made)
            try:
                parent.mkdir(parents=True, exist_ok=True)
                run = cls(new_folder(parent), made)
                undo.callback(run.discard)
                text = keyed.signed_text(SPEC, dump_yaml(experiment))
                write_whole(run.path / SPEC, text)
                write_whole(run.path / PARSED, _parsed(text, experiment))
            except OSError as problem:
                raise RunFolderError(f"{runs}: no run can be written here: {problem.strerror or problem}") from problem
            undo.pop_all()
        return run

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """An existing run. Raises `RunFolderError` when there is none, or when training never wrote anything."""
        folder = Path(path)
        if not folder.is_dir():
            raise RunFolderError(f"{folder}: no such run folder")
        if is_empty(folder):
            raise RunFolderError(
                f"{folder}: was ended before its {SPEC} was written: nothing can be resumed "
                "(cortexzoo runs --remove-empty removes it)"
            )
        if not (folder / SPEC).is_file():
            runs = sorted(spec.parent for spec in folder.glob(f"*/{SPEC}"))
            hint = f" (it contains runs: did you mean {runs[-1]}?)" if runs else ""
            raise RunFolderError(f"{folder}: not a run folder: it has no {SPEC}{hint}")
        return cls(folder)

    @cached_property
    def spec(self) -> ExperimentSpec:
        """The experiment with everything resolved, from `spec.yaml`. Raises `RunFolderError`."""
        try:
            if wrong := keyed.text_mistake(SPEC, self.path / SPEC):
                raise RunFolderError(f"{self.path / SPEC}: {wrong}")
            spec = self._parsed_before() or load_experiment(str(self.path / SPEC))
        except SpecError as problem:
            raise RunFolderError(str(problem)) from problem
        if isinstance(spec.variant, ModuleSpec):
            from cortexzoo.zoo.models.own_source import offer_copy

            offer_copy(self.path, spec.variant)
        return spec

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, platform, sums, command."""
        return self.read_json(MANIFEST)

    @property
    def summary(self) -> dict[str, Any]:
        """How training ended. Raises `RunFolderError` while it has not."""
        return self.read_json(SUMMARY)

    @property
    def finished(self) -> bool:
        """Training took all its steps."""
        return os.path.lexists(self.path / SUMMARY) and self.summary.get("status") == "finished"

    @property
    def certificate(self) -> Certificate:
        """The verdicts. Raises `RunFolderError` before the first check."""
        try:
            return Certificate.from_json(self.read_json(VERDICT))
        except (KeyError, TypeError, AttributeError) as problem:
            raise RunFolderError(f"{self.path / VERDICT}: not a verdict file") from problem
        except OldCertificate as problem:
            raise RunFolderError(f"{self.path / VERDICT}: {problem}") from problem

    def metrics(self) -> list[dict[str, Any]]:
        """One dictionary for each optimiser step."""
        return list(self.each_metrics())

    def each_metrics(self) -> Iterator[dict[str, Any]]:
        """As `metrics`, one step at a time: a long run's lines do not fit into memory together."""
        return self._lines(METRICS, record_mistake)

    def sampled_metrics(self) -> "Sample | None":
        """What a reader in a hurry takes of a record that is `LARGE`; None: it is small, `each_metrics` gives all."""
        from cortexzoo.harness.tracking.sampling import LARGE, sampled

        path = self.path / METRICS
        with self._readable(METRICS):
            if path.stat().st_size < LARGE:
                return None
            sample = sampled(path)
        for number, line in sample.lines:
            if wrong := record_mistake(line, 0):
                raise RunFolderError(f"{path}:{number}: {wrong}")
        return sample

    def events(self) -> list[dict[str, Any]]:
        """What happened besides: consolidations, checkpoints, refused steps."""
        return list(self._lines(EVENTS, event_mistake))

    @contextmanager
    def held(self) -> Iterator[None]:
        """This process alone trains the run; a process that is killed lets go of it.

        Raises `RunFolderError` when another process does, `RunStopped` when the folder cannot be written.
        """
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunFolderError(f"{self.path}: is being trained by another process") from None
        except OSError as problem:
            raise RunStopped(f"{self.path / LOCK}: cannot be written: {problem.strerror or problem}") from problem
        try:
            yield
        finally:
            lock.release()

    def is_held(self) -> bool:
        """Whether a process trains it right now."""
        try:
            with self.held():
                return False
        except RunFolderError:
            return True

    def load_model(
        self, checkpoint: str = "best", device: "torch.device | str" = "cpu"
    ) -> "tuple[MemoryLanguageModel[Any], MemoryState]":
        """The trained model in evaluation mode, and the memory that training had then. Raises `RunFolderError`."""
        import torch

        from cortexzoo.zoo.build import build_model
        from cortexzoo.zoo.checkpoints import exists, load_weights
        from cortexzoo.zoo.errors import CheckpointError
        from cortexzoo.zoo.training.state.snapshot import load_memory

        folder = self.path / CHECKPOINTS / checkpoint
        if not exists(folder):
            raise RunFolderError(f"{folder}: no such checkpoint: training ended before it was saved")
        with torch.random.fork_rng(devices=[]):
            model = build_model(self.spec.variant)
        try:
            load_weights(model, folder)
            return model.eval().to(device), load_memory(model, folder)
        except CheckpointError as problem:
            raise RunFolderError(str(problem)) from problem

    def write_spec(self, name: str, spec: NamedSpec) -> None:
        """Write a spec as a file of the run, whole or not at all. Raises `RunStopped`."""
        text = keyed.signed_text(name, dump_yaml(spec))
        self._write(name, text)
        if name == SPEC:
            self._write(PARSED, _parsed(text, spec))

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one file of the run, whole or not at all. Raises `RunStopped`."""
        written = keyed.signed(name, to_json_value(content))
        self._write(name, json.dumps(written, indent=2, allow_nan=False, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """One JSON file of the run. Raises `RunFolderError`."""
        path = self.path / name
        try:
            content = json.loads(read_regular(path))
        except FileNotFoundError:
            raise RunFolderError(f"{path}: missing: the run has not reached this stage") from None
        except OSError as problem:
            raise RunFolderError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
        except (ValueError, RecursionError) as problem:
            raise RunFolderError(f"{path}: cannot be read as JSON: {problem}") from problem
        wrong = keyed.mistake(name, content) if isinstance(content, dict) else "must contain a JSON object"
        if wrong is not None:
            raise RunFolderError(f"{path}: {wrong}")
        content = from_json_value({key: value for key, value in content.items() if key != keyed.FIELD})
        if name in MISTAKES and (mistake := MISTAKES[name](content)):
            raise RunFolderError(f"{path}: is damaged: {mistake}")
        return _Content(path, content)

    def discard(self) -> None:
        """Remove a run that never started, and the folders that were made for it alone."""
        shutil.rmtree(self.path, ignore_errors=True)
        _remove_empty(self._made)

    def _parsed_before(self) -> ExperimentSpec | None:
        """The spec as JSON, which is read fifty times as fast as YAML; None unless it is that of the `spec.yaml`."""
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            parsed = json.loads(read_regular(self.path / PARSED))
            same = parsed["sha256"] == hashlib.sha256(read_regular(self.path / SPEC)).hexdigest()
            if same and keyed.mistake(PARSED, parsed) is None:
                return ExperimentSpec.from_json(parsed["spec"])
        return None

    def _write(self, name: str, text: str) -> None:
        try:
            write_whole(self.path / name, text)
        except OSError as problem:
            raise RunStopped(f"{self.path / name}: cannot be written: {problem.strerror or problem}") from problem

    def _lines(self, name: str, mistake: Callable[[dict[str, Any], int], str | None]) -> Iterator[dict[str, Any]]:
        step = 0
        with self._readable(name):
            for number, line in enumerate(read_lines(self.path / name), start=1):
                if wrong := mistake(line, step):
                    raise RunFolderError(f"{self.path / name}:{number}: {wrong}")
                step = line["step"]
                yield line

    @contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            raise RunFolderError(f"{self.path / name}: cannot be read: {problem.strerror or problem}") from problem
        except ValueError as problem:
            raise RunFolderError(str(problem)) from problem


def _parsed(text: str, spec: NamedSpec) -> str:
    """What `spec.yaml` states, with the sum of its text: after an edit of the one, the other is ignored."""
    content = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "spec": spec.canonical_json()}
    return json.dumps(keyed.signed(PARSED, content)) + "\n"


def _remove_empty(folders: Sequence[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
