"""Checkpoint folders: safetensors and JSON only, summed, and replaced whole or not at all.

    model.safetensors  optimizer.safetensors  memory.safetensors  rng.safetensors  trainer.json  manifest.json

Further processes of the same run add `memory.rank-1.safetensors` and so on. Reading runs no code from the folder.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from cortexzoo.specs.regular_files import read_regular
from cortexzoo.zoo import keyed
from cortexzoo.zoo.errors import CheckpointError

FORMAT = 1
MANIFEST = "manifest.json"
SHARED = "shared.json"
KIND = "checkpoint"
"""For the keyed sum of its manifest."""

TensorFile = Mapping[str, Tensor]


def encode_tensors(tensors: TensorFile) -> tuple[bytes, dict[str, str]]:
    """The safetensors bytes; and for tied weights, which share memory, the name that has the values."""
    kept: dict[str, Tensor] = {}
    owner: dict[tuple[object, ...], str] = {}
    shared: dict[str, str] = {}
    for name, tensor in tensors.items():
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if place in owner:
            shared[name] = owner[place]
            continue
        owner[place] = name
        kept[name] = tensor.detach().cpu().contiguous().clone()
    return save_tensors(kept), shared


def partial_folder(folder: Path) -> Path:
    """Where a checkpoint is written before it takes its place."""
    return folder.with_name(f".{folder.name}.partial")


def begin(folder: Path) -> None:
    """Make the empty partial folder, and put a checkpoint back whose replacement was cut short.

    Raises `CheckpointError` when `folder` is something else than a checkpoint.
    """
    if not folder.exists() and (_previous_folder(folder) / MANIFEST).is_file():
        _previous_folder(folder).rename(folder)
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise CheckpointError(f"{folder}: exists and is no checkpoint, so it is not replaced")
    shutil.rmtree(partial_folder(folder), ignore_errors=True)
    partial_folder(folder).mkdir(parents=True)


def write_files(folder: Path, tensors: Mapping[str, TensorFile], texts: Mapping[str, Mapping[str, Any]]) -> None:
    """Write and fsync files of a checkpoint that was begun. Raises `OSError`."""
    for name, contents in tensors.items():
        data, shared = encode_tensors(contents)
        _write(partial_folder(folder) / f"{name}.safetensors", data)
        if shared:
            _write(partial_folder(folder) / f"{name}.{SHARED}", _json(shared))
    for name, text in texts.items():
        _write(partial_folder(folder) / f"{name}.json", _json(text))


def publish(folder: Path, keep: Path | None = None) -> None:
    """Sum what was written and put it in the place of the checkpoint before, which stays until this one is complete.

    With `keep` the one before stays for good, under that name.
    """
    partial = partial_folder(folder)
    files = {path.name: _sum(path) for path in sorted(partial.iterdir())}
    _write(partial / MANIFEST, _json(keyed.signed(KIND, {"format": FORMAT, "files": files})))
    _fsync_folder(partial)
    if keep is not None and folder.exists() and not keep.exists():
        shutil.rmtree(partial_folder(keep), ignore_errors=True)
        shutil.copytree(folder, partial_folder(keep), copy_function=_link)
        partial_folder(keep).rename(keep)
    _take_its_place(folder)


def prune(parent: Path, prefix: str, keep: int) -> None:
    """Of the checkpoints below `parent` whose names begin with `prefix`, remove all but the last `keep` by name."""
    found = sorted(path for path in parent.glob(f"{prefix}*") if (path / MANIFEST).is_file())
    _remove(parent, prefix, found[: max(0, len(found) - keep)])


def set_back(folder: Path, earlier: Path, prefix: str, step: int) -> None:
    """Put the checkpoint `earlier` in the place of `folder` as well, and remove those with `prefix` of later steps.

    Raises `CheckpointError`, `OSError`.
    """
    reader = CheckpointReader(earlier)
    begin(folder)
    for name in [*reader.sums, MANIFEST]:
        _link(str(reader.folder / name), str(partial_folder(folder) / name))
    _fsync_folder(partial_folder(folder))
    _take_its_place(folder)
    numbered = {path: path.name.removeprefix(prefix) for path in folder.parent.glob(f"{prefix}*")}
    _remove(folder.parent, prefix, [path for path, n in numbered.items() if n.isdigit() and int(n) > step])


def _remove(parent: Path, prefix: str, found: Iterable[Path]) -> None:
    """Remove these checkpoints, and what an interrupt left of others whose names begin with `prefix`."""
    for path in parent.glob(f".{prefix}*.partial"):
        shutil.rmtree(path, ignore_errors=True)
    for path in found:
        # Out of sight first: what is half removed must not pass for a checkpoint.
        path.rename(partial_folder(path))
        shutil.rmtree(partial_folder(path), ignore_errors=True)


class Storage:
    """How a checkpoint gets onto the disk; another object in its place can fail where a disk would."""

    def begin(self, folder: Path) -> None:
        """As the function of that name."""
        begin(folder)

    def write_files(
        self, folder: Path, tensors: Mapping[str, TensorFile], texts: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """As the function of that name."""
        write_files(folder, tensors, texts)

    def publish(self, folder: Path, keep: Path | None = None) -> None:
        """As the function of that name."""
        publish(folder, keep)

    def abandon(self, folder: Path) -> None:
        """As the function of that name."""
        abandon(folder)


def exists(folder: Path) -> bool:
    """Whether there is a checkpoint to read, also one whose replacement was cut short."""
    return (folder / MANIFEST).is_file() or (not folder.exists() and (_previous_folder(folder) / MANIFEST).is_file())


def abandon(folder: Path) -> None:
    """Drop what was begun."""
    shutil.rmtree(partial_folder(folder), ignore_errors=True)


class CheckpointReader:
    """A checkpoint folder opened for reading; every file is checked against its sum before it is used."""

    def __init__(self, folder: Path) -> None:
        interrupted = not folder.exists() and _previous_folder(folder).exists()
        self.folder = _previous_folder(folder) if interrupted else folder
        if not (self.folder / MANIFEST).is_file():
            raise CheckpointError(f"{folder}: is no checkpoint: {MANIFEST} is missing")
        manifest = self._parse(MANIFEST, self._read(MANIFEST))
        if not isinstance(manifest, dict) or not _names_files(manifest.get("files")):
            raise CheckpointError(f"{self.folder / MANIFEST}: lists no files with their sums")
        if manifest.get("format") != FORMAT:
            raise CheckpointError(
                f"{self.folder / MANIFEST}: format {FORMAT} is required, got {manifest.get('format')!r}"
            )
        if wrong := keyed.mistake(KIND, manifest):
            raise CheckpointError(f"{self.folder / MANIFEST}: {wrong}")
        self.sums: dict[str, str] = manifest["files"]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """The tensors of `<name>.safetensors`, shared ones under each of their names. Raises `CheckpointError`."""
        file = f"{name}.safetensors"
        try:
            tensors = load_tensors(self.verified(file))
        except SafetensorError as error:
            raise CheckpointError(f"{self.folder / file}: is no safetensors file: {error}") from None
        if f"{name}.{SHARED}" in self.sums:
            shared = self.json(f"{name}.{SHARED.removesuffix('.json')}")
            if not _names_texts(shared) or not set(shared.values()) <= set(tensors):
                raise CheckpointError(f"{self.folder / name}.{SHARED}: must give each name a tensor of {file}")
            tensors |= {alias: tensors[kept] for alias, kept in shared.items()}
        return tensors

    def json(self, name: str) -> dict[str, Any]:
        """The object in `<name>.json`. Raises `CheckpointError`."""
        parsed = self._parse(f"{name}.json", self.verified(f"{name}.json"))
        if not isinstance(parsed, dict):
            raise CheckpointError(f"{self.folder / name}.json: must contain a JSON object")
        return parsed

    def verified(self, file: str) -> bytes:
        """The content of one file that has its sum. Raises `CheckpointError`."""
        if file not in self.sums:
            raise CheckpointError(f"{self.folder}: {file} is missing")
        content = self._read(file)
        if (found := hashlib.sha256(content).hexdigest()) != self.sums[file]:
            sums = f"its sha256 is {found[:12]}…, {MANIFEST} states {self.sums[file][:12]}…"
            raise CheckpointError(f"{self.folder / file}: is damaged: {sums}")
        return content

    def _read(self, file: str) -> bytes:
        try:
            return read_regular(self.folder / file, most_in_memory())
        except OSError as error:
            raise CheckpointError(f"{self.folder / file}: cannot be read: {error.strerror or error}") from None

    def _parse(self, file: str, content: bytes) -> Any:
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.folder / file}: is not JSON: {error}") from None


def load_weights(model: torch.nn.Module, folder: Path) -> None:
    """Give `model` the weights of a checkpoint. Raises `CheckpointError` when they belong to another model."""
    set_weights(model, CheckpointReader(folder).tensors("model"), folder)


def set_weights(model: torch.nn.Module, weights: Mapping[str, Tensor], folder: Path) -> None:
    """As `load_weights`, for weights already read from `folder`."""
    required = model.state_dict()
    if differing := sorted(set(required) ^ set(weights)):
        owner = "the model" if differing[0] in required else "the checkpoint"
        raise CheckpointError(f"{folder}: belongs to another model: only {owner} has {differing[0]}")
    for name, tensor in required.items():
        if tensor.shape != weights[name].shape:
            required_shape, got = list(tensor.shape), list(weights[name].shape)
            raise CheckpointError(f"{folder}: belongs to another model: {name} must be {required_shape}, got {got}")
    model.load_state_dict(dict(weights))


def most_in_memory() -> int:
    """Bytes that one file may have: half of what the machine has, as it is read whole."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _names_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())


def _names_files(value: object) -> bool:
    """Whether it gives sums to names of files within one folder."""
    return _names_texts(value) and isinstance(value, dict) and all(Path(name).name == name for name in value)


def _take_its_place(folder: Path) -> None:
    """What was written becomes the checkpoint; the one before stays until then."""
    partial, previous = partial_folder(folder), _previous_folder(folder)
    if folder.exists():
        shutil.rmtree(previous, ignore_errors=True)
        folder.rename(previous)
    partial.rename(folder)
    _fsync_folder(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _previous_folder(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.previous")


def _link(source: str, target: str) -> None:
    """One more name for a file that is never changed; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True).encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
