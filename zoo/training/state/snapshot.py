"""Everything that the next step depends on, as files: what a trainer saves, and how a fresh trainer takes it over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, StateT
from cortexzoo.zoo.training.evaluation import model_device
from cortexzoo.zoo.training.policies.base import Trainer

if TYPE_CHECKING:
    from cortexzoo.zoo.training.ranks import Ranks

T = TypeVar("T")
LAYOUT = 2
"""Of a checkpoint, changed when policies save other states or random streams change."""


def save(trainer: Trainer, folder: Path, keep: Path | None = None) -> None:
    """Write a checkpoint of everything. Every process must call it; they must see the same file system.

    The checkpoint that it replaces stays under the name `keep`, if one is given.

    Raises `CheckpointError` when the folder cannot be written; then the checkpoint that was there before is intact.
    """
    ranks, storage = trainer.ranks, trainer.storage
    tensors = {
        _of_rank("memory", ranks.rank): trainer.memory.tensors(),
        _of_rank("rng", ranks.rank): trainer.random_state(),
    }
    tensors |= {_of_rank(name, ranks.rank): kept for name, kept in _policy_tensors(trainer).items()}
    texts: dict[str, Mapping[str, Any]] = {}
    if ranks.is_main:
        tensors |= {"model": trainer.model.state_dict(), "optimizer": optimizer_tensors(trainer)}
        texts["trainer"] = _description(trainer)
    try:
        _together(ranks, folder, "written", lambda: storage.begin(folder) if ranks.is_main else None)
        _together(ranks, folder, "written", lambda: storage.write_files(folder, tensors, texts))
        _together(ranks, folder, "written", lambda: storage.publish(folder, keep) if ranks.is_main else None)
    except CheckpointError:
        if ranks.is_main:
            storage.abandon(folder)
        raise


def load(trainer: Trainer, folder: Path, changed: bool = False) -> None:
    """Take over a checkpoint of the same experiment. Raises `CheckpointError`; then nothing was changed.

    The same experiment, text, number of processes and kind of device are required: anything else would not be the
    training that was interrupted. With `changed` experiment and text may be others, as long as the weights fit; a
    policy of which the checkpoint holds no state begins anew. Every process must call it, and where one cannot read
    its part none goes on.
    """
    saved = _together(trainer.ranks, folder, "read", lambda: _read(trainer, CheckpointReader(folder), changed))
    checkpoints.set_weights(trainer.model, saved.weights, folder)
    set_optimizer(trainer, saved.moments)
    trainer.memory = saved.memory
    description = saved.description
    trainer.resume_from(description["position"], description["taken"], description["refused"], saved.random_state)
    for policy in trainer.policies:
        if policy.name in saved.policy_tensors:
            policy.load_state_dict(description["policies"][policy.name])
            policy.load_tensors(trainer, saved.policy_tensors[policy.name])


@dataclass(frozen=True)
class _Saved:
    """This process's part of a checkpoint that fits its trainer."""

    description: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    memory: MemoryState
    random_state: Mapping[str, Tensor]
    policy_tensors: Mapping[str, Mapping[str, Tensor]]
    """Of every policy that the checkpoint holds a state of."""


def _read(trainer: Trainer, reader: CheckpointReader, changed: bool) -> _Saved:
    rank, count, description = trainer.ranks.rank, trainer.ranks.count, reader.json("trainer")
    if (layout := description.get("layout")) != LAYOUT:
        raise CheckpointError(
            f"{reader.folder}: has layout {layout}, written by another version of cortexzoo; this version reads layout "
            f"{LAYOUT}: resume with that version, or train again"
        )
    if (processes := description.get("processes")) != count:
        raise CheckpointError(
            f"{reader.folder}: was written by {processes} processes and must be resumed by as many, got {count}"
        )
    for key, value in _identity(trainer).items():
        if description.get(key) != value and not (changed and key in ("experiment", "data")):
            raise CheckpointError(
                f"{reader.folder}: belongs to another run: {key} must be {value}, got {description.get(key)}"
            )
    weights, moments = reader.tensors("model"), reader.tensors("optimizer")
    memory, random_state = _memory(trainer.model, reader, rank), reader.tensors(_of_rank("rng", rank))
    stated = description["policies"]
    if not changed and (missing := sorted({p.name for p in trainer.policies if p.state_dict()} - set(stated))):
        raise CheckpointError(f"{reader.folder}: has no state of the policy {missing[0]}")
    held = {p.name: _held(reader, p.name, description, rank) for p in trainer.policies if p.name in stated}
    return _Saved(description, weights, moments, memory, random_state, held)


def load_memory(model: MemoryLanguageModel[StateT], folder: Path) -> StateT:
    """The memory that a checkpoint's training had, on the model's device. Raises `CheckpointError`."""
    return _memory(model, CheckpointReader(folder), 0)


def _memory(model: MemoryLanguageModel[StateT], reader: CheckpointReader, rank: int) -> StateT:
    name = _of_rank("memory", rank)
    tensors = {key: tensor.to(model_device(model)) for key, tensor in reader.tensors(name).items()}
    try:
        return type(model.initial_state(1)).from_tensors(tensors)
    except ValueError as error:
        raise CheckpointError(f"{reader.folder / name}.safetensors: {error}") from None


def _policy_tensors(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """Tensors of the policies that keep some, by the name of their file."""
    kept = {f"policy-{policy.name}": policy.tensors() for policy in trainer.policies}
    return {name: tensors for name, tensors in kept.items() if tensors}


def _held(reader: CheckpointReader, policy: str, description: Mapping[str, Any], rank: int) -> dict[str, Tensor]:
    file = f"policy-{policy}"
    return reader.tensors(_of_rank(file, rank)) if file in description["policy_tensors"] else {}


def _of_rank(name: str, rank: int) -> str:
    return name if rank == 0 else f"{name}.rank-{rank}"


def _identity(trainer: Trainer) -> dict[str, Any]:
    return {
        "experiment": trainer.spec.hash(),
        "data": trainer.objective.sha256,
        "device": trainer.device.type,
    }


def _description(trainer: Trainer) -> dict[str, Any]:
    return {
        **_identity(trainer),
        "layout": LAYOUT,
        "processes": trainer.ranks.count,
        "position": trainer.position,
        "taken": trainer.taken,
        "refused": trainer.refused,
        "policy_tensors": sorted(_policy_tensors(trainer)),
        "policies": {policy.name: state for policy in trainer.policies if (state := policy.state_dict())},
    }


def _parameter_names(trainer: Trainer) -> list[str]:
    """Names of the optimiser's parameters, in its own order."""
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    return [names[id(parameter)] for group in trainer.optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Every moment as `<parameter>/<moment>`; parameters that never had a gradient have none."""
    names = _parameter_names(trainer)
    state = trainer.optimizer.state_dict()["state"]
    return {f"{names[i]}/{key}": tensor for i, moments in state.items() for key, tensor in moments.items()}


def set_optimizer(trainer: Trainer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`. The optimiser continues with these tensors themselves."""
    index = {name: i for i, name in enumerate(_parameter_names(trainer))}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit("/", 1)
        state.setdefault(index[parameter], {})[key] = tensor
    groups = trainer.optimizer.state_dict()["param_groups"]
    trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators that training on `device` draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(device: torch.device, states: Mapping[str, Tensor]) -> None:
    """Put torch's generators where `random_state` found them."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def _together(ranks: "Ranks", folder: Path, done: str, action: Callable[[], T]) -> T:
    """What `action` gives; when it fails on one process, all of them raise."""
    failure: CheckpointError | None = None
    try:
        result = action()
    except CheckpointError as error:
        failure = error
    except OSError as error:
        failure = CheckpointError(f"{folder}: cannot be {done}: {error.strerror or error}")
    if ranks.any_rank([failure is not None])[0]:
        raise failure or CheckpointError(f"{folder}: the part of another process cannot be {done}")
    return result
