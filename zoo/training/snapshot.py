"""Everything that the next step depends on, as files: what a trainer saves, and how a fresh trainer takes it over."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.models.interface import MemoryLanguageModel, StateT
from zoo.training import checkpoints
from zoo.training.checkpoints import CheckpointReader
from zoo.training.errors import CheckpointError
from zoo.training.evaluation import model_device

if TYPE_CHECKING:
    from zoo.training.loop import Trainer
    from zoo.training.ranks import Ranks


def save(trainer: "Trainer", folder: Path, keep: Path | None = None) -> None:
    """Write a checkpoint of everything. Every process must call it; they must see the same file system.

    The checkpoint that it replaces stays under the name `keep`, if one is given.

    Raises `CheckpointError` when the folder cannot be written; then the checkpoint that was there before is intact.
    """
    ranks = trainer.ranks
    tensors = {
        _of_rank("memory", ranks.rank): trainer.memory.tensors(),
        _of_rank("rng", ranks.rank): trainer.random_state(),
    }
    tensors |= {_of_rank(name, ranks.rank): kept for name, kept in _policy_tensors(trainer).items()}
    texts: dict[str, Mapping[str, Any]] = {}
    if ranks.is_main:
        tensors |= {"model": trainer.model.state_dict(), "optimizer": optimizer_tensors(trainer)}
        texts["trainer"] = _description(trainer)
    _together(ranks, folder, lambda: checkpoints.begin(folder) if ranks.is_main else None)
    _together(ranks, folder, lambda: checkpoints.write_files(folder, tensors, texts))
    _together(ranks, folder, lambda: checkpoints.publish(folder, keep) if ranks.is_main else None)


def load(trainer: "Trainer", folder: Path, changed: bool = False) -> None:
    """Take over a checkpoint of the same experiment. Raises `CheckpointError`; then nothing was changed.

    The same experiment, text, number of processes and kind of device are required: anything else would not be the
    training that was interrupted. With `changed` experiment and text may be others, as long as the weights fit; a
    policy of which the checkpoint holds no state begins anew.
    """
    reader = CheckpointReader(folder)
    description = reader.json("trainer")
    required = _identity(trainer)
    for key, value in required.items():
        if description.get(key) != value and not (changed and key in ("experiment", "data")):
            raise CheckpointError(
                f"{folder}: belongs to another run: {key} must be {value}, got {description.get(key)}"
            )
    weights, moments = reader.tensors("model"), reader.tensors("optimizer")
    memory = _memory(trainer.model, reader, trainer.ranks.rank)
    random_state = reader.tensors(_of_rank("rng", trainer.ranks.rank))
    saved = description["policies"]
    if not changed and (missing := sorted({p.name for p in trainer.policies if p.state_dict()} - set(saved))):
        raise CheckpointError(f"{folder}: holds no state of the policy {missing[0]}")
    policies = [policy for policy in trainer.policies if policy.name in saved]
    held = {policy.name: _held(reader, policy.name, description, trainer.ranks.rank) for policy in policies}
    checkpoints.set_weights(trainer.model, weights, folder)
    set_optimizer(trainer, moments)
    trainer.memory = memory
    trainer.resume_from(description["position"], description["taken"], description["refused"], random_state)
    for policy in policies:
        policy.load_state_dict(saved[policy.name])
        policy.load_tensors(trainer, held[policy.name])


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


def _policy_tensors(trainer: "Trainer") -> dict[str, dict[str, Tensor]]:
    """Tensors of the policies that keep some, by the name of their file."""
    kept = {f"policy-{policy.name}": policy.tensors() for policy in trainer.policies}
    return {name: tensors for name, tensors in kept.items() if tensors}


def _held(reader: CheckpointReader, policy: str, description: Mapping[str, Any], rank: int) -> dict[str, Tensor]:
    file = f"policy-{policy}"
    return reader.tensors(_of_rank(file, rank)) if file in description["policy_tensors"] else {}


def _of_rank(name: str, rank: int) -> str:
    return name if rank == 0 else f"{name}.rank-{rank}"


def _identity(trainer: "Trainer") -> dict[str, Any]:
    return {
        "experiment": trainer.spec.hash(),
        "data": trainer.objective.sha256,
        "processes": trainer.ranks.count,
        "device": trainer.device.type,
    }


def _description(trainer: "Trainer") -> dict[str, Any]:
    return {
        **_identity(trainer),
        "position": trainer.position,
        "taken": trainer.taken,
        "refused": trainer.refused,
        "policy_tensors": sorted(_policy_tensors(trainer)),
        "policies": {policy.name: state for policy in trainer.policies if (state := policy.state_dict())},
    }


def _parameter_names(trainer: "Trainer") -> list[str]:
    """Names of the optimiser's parameters, in its own order."""
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}
    return [names[id(parameter)] for group in trainer.optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(trainer: "Trainer") -> dict[str, Tensor]:
    """Every moment as `<parameter>/<moment>`; parameters that never had a gradient have none."""
    names = _parameter_names(trainer)
    state = trainer.optimizer.state_dict()["state"]
    return {f"{names[i]}/{key}": tensor for i, moments in state.items() for key, tensor in moments.items()}


def set_optimizer(trainer: "Trainer", tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`. The optimiser goes on in these very tensors."""
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


def _together(ranks: "Ranks", folder: Path, action: Callable[[], None]) -> None:
    """Run `action` on every process; when it fails on one, all of them raise and what was begun is dropped."""
    failure: CheckpointError | None = None
    try:
        action()
    except CheckpointError as error:
        failure = error
    except OSError as error:
        failure = CheckpointError(f"{folder}: cannot be written: {error.strerror or error}")
    if ranks.any([failure is not None])[0]:
        if ranks.is_main:
            checkpoints.abandon(folder)
        raise failure or CheckpointError(f"{folder}: another process could not write its part")
