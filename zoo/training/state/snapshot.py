"""Everything that the next step depends on, as files: what a trainer saves, and how a fresh trainer takes it over."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from cortexzoo.zoo import checkpoints
from cortexzoo.zoo.checkpoints import CheckpointReader
from cortexzoo.zoo.errors import CheckpointError
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState, StateT
from cortexzoo.zoo.training.evaluation import model_device
from cortexzoo.zoo.training.policies.base import Trainer
from cortexzoo.zoo.training.state import regrouped
from cortexzoo.zoo.training.state.moments import optimizer_tensors, set_optimizer
from cortexzoo.zoo.training.state.regrouped import of_rank

if TYPE_CHECKING:
    from cortexzoo.zoo.training.ranks import Ranks

T = TypeVar("T")
LAYOUT = 3
"""Of a checkpoint, changed when policies save other states or random streams change."""

MOST_STEPS, MOST_PROCESSES = 10**9, 10**5
DAMAGE = (AttributeError, IndexError, KeyError, OverflowError, RuntimeError, TypeError, ValueError)
"""What values of a wrong type or shape raise."""


def save(trainer: Trainer, folder: Path, keep: Path | None = None) -> None:
    """Write a checkpoint of everything. Every process must call it; they must see the same file system.

    The checkpoint that it replaces stays under the name `keep`, if one is given.

    Raises `CheckpointError` when the folder cannot be written; then the checkpoint that was there before is intact.
    """
    ranks, storage = trainer.ranks, trainer.storage
    tensors = {
        of_rank("memory", ranks.rank): trainer.memory.tensors(),
        of_rank("rng", ranks.rank): trainer.random_state(),
    }
    tensors |= {of_rank(name, ranks.rank): kept for name, kept in _policy_tensors(trainer).items()}
    moments = optimizer_tensors(trainer)
    texts: dict[str, Mapping[str, Any]] = {}
    if ranks.is_main:
        tensors |= {"model": trainer.model.state_dict(), "optimizer": moments}
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
    """Take over a checkpoint of the same experiment. Raises `CheckpointError`.

    Then nothing was changed, unless moments or the inside of a policy's state are damaged, which shows only when
    they are taken over: such a trainer must not train.

    The same experiment, text and kind of device are required: anything else would not be the training that was
    interrupted. Another number of processes shares the rows of the memory anew and starts a new recovery point; only
    the same number gives the same bits. With `changed` experiment and text may be others, as long as the weights fit; a
    policy of which the checkpoint contains no state starts anew. Every process must call it; if one cannot read its
    part, all raise.
    """
    saved = _together(trainer.ranks, folder, "read", lambda: _read(trainer, CheckpointReader(folder), changed))
    description = saved.description
    kept = [policy for policy in trainer.policies if policy.name in saved.policy_tensors]
    for policy in kept:
        with _damage_named(folder, f"the state of {policy.name}"):
            _require_alike(policy.state_dict(), description["policies"][policy.name], policy.name)
    checkpoints.set_weights(trainer.model, saved.weights, folder)
    with _damage_named(folder, "the moments of the optimiser"):
        set_optimizer(trainer, saved.moments)
    trainer.memory = saved.memory
    trainer.resume_from(description["position"], description["taken"], description["refused"], saved.random_state)
    for policy in kept:
        with _damage_named(folder, f"the state of {policy.name}"):
            policy.load_state(trainer, description["policies"][policy.name], saved.policy_tensors[policy.name])


class _Description(BaseModel):
    """`trainer.json`: where training was, and the state of each policy."""

    model_config = ConfigDict(strict=True, extra="allow")

    position: int = Field(ge=0)
    taken: int = Field(ge=0)
    refused: int = Field(ge=0)
    processes: int = Field(ge=1, le=MOST_PROCESSES)
    policy_tensors: list[str]
    policies: dict[str, dict[str, Any]]


def _described(trainer: Trainer, reader: CheckpointReader, changed: bool) -> dict[str, Any]:
    """The content of `trainer.json`. Raises `CheckpointError` when it is none that training wrote."""
    description = reader.json("trainer")
    try:
        found = _Description.model_validate(description)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise CheckpointError(f"{reader.folder / 'trainer.json'}: is damaged: {where}: {first['msg']}") from None
    last = MOST_STEPS if changed else trainer.spec.recipe.steps
    if max(found.position, found.taken, found.refused) > last:
        place = f"position {found.position}, taken {found.taken}, refused {found.refused}"
        raise CheckpointError(f"{reader.folder / 'trainer.json'}: is damaged: {place} of {last} steps")
    return description


def _require_alike(own: Mapping[str, Any], saved: Mapping[str, Any], name: str) -> None:
    """Raises `ValueError` unless a saved state has the keys of a policy's own, and values of their types."""
    for key, value in own.items():
        if key not in saved:
            raise ValueError(f"{key} is missing")
        _require_type(value, saved[key], f"{name}.{key}")


def _require_type(own: Any, saved: Any, name: str) -> None:
    if own is None or saved is None:
        _require_scalars(saved, name)
        return
    number = isinstance(own, int | float) and not isinstance(own, bool)
    wanted: Any = (int, float) if number else (list, tuple) if isinstance(own, list | tuple) else type(own)
    if not isinstance(saved, wanted) or (number and isinstance(saved, bool)):
        raise ValueError(f"{name} must be of type {type(own).__name__}, got {type(saved).__name__}")
    if isinstance(own, list | tuple) and own and saved:
        _require_type(own[0], saved[0], f"{name}[0]")
    _require_scalars(saved, name)


def _require_scalars(saved: Any, name: str) -> None:
    """No mapping where one would be taken for a number, and no number that only a text of thousands of digits has."""
    if isinstance(saved, list):
        for entry in saved:
            _require_scalars(entry, name)
    if isinstance(saved, int) and abs(saved) >= 2**63:
        raise ValueError(f"{name} must be below 2^63")


@contextmanager
def _damage_named(folder: Path, what: str) -> Iterator[None]:
    """What a state of the wrong form raises becomes one `CheckpointError`."""
    try:
        yield
    except DAMAGE as problem:
        reason = " ".join(f"{type(problem).__name__}: {problem}".split())
        raise CheckpointError(f"{folder}: is damaged: {what}: {reason}") from problem


@dataclass(frozen=True)
class _Saved:
    """This process's part of a checkpoint that fits its trainer."""

    description: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    moments: Mapping[str, Tensor]
    memory: MemoryState
    random_state: Mapping[str, Tensor]
    policy_tensors: Mapping[str, Mapping[str, Tensor]]
    """Of every policy that the checkpoint contains a state of."""


def _read(trainer: Trainer, reader: CheckpointReader, changed: bool) -> _Saved:
    rank = trainer.ranks.rank
    if (layout := reader.json("trainer").get("layout")) != LAYOUT:
        raise CheckpointError(
            f"{reader.folder}: has layout {layout}, written by another version of cortexzoo; this version reads layout "
            f"{LAYOUT}: resume with that version, or train again"
        )
    description = _described(trainer, reader, changed)
    saved_by = description["processes"]
    for key, value in _identity(trainer).items():
        if description.get(key) != value and not (changed and key in ("experiment", "data")):
            raise CheckpointError(
                f"{reader.folder}: belongs to another run: {key} must be {value}, got {description.get(key)}"
            )
    weights, moments = reader.tensors("model"), reader.tensors("optimizer")
    memory = _memory(trainer.model, reader, regrouped.own_memory(trainer.model, reader, saved_by, trainer.ranks))
    random_state = regrouped.own_random_state(reader, saved_by, trainer.spec.seed, rank)
    with _damage_named(reader.folder, "the state of the random numbers"):
        torch.Generator().set_state(random_state["cpu"])
    stated = description["policies"]
    if not changed and (missing := sorted({p.name for p in trainer.policies if p.state_dict()} - set(stated))):
        raise CheckpointError(f"{reader.folder}: has no state of the policy {missing[0]}")
    begin_anew = regrouped.BEGINS_ANEW if saved_by != trainer.ranks.count else ()
    kept = [policy.name for policy in trainer.policies if policy.name in stated and policy.name not in begin_anew]
    held = {name: _held(reader, name, description, rank if rank < saved_by else 0) for name in kept}
    return _Saved(description, weights, moments, memory, random_state, held)


def load_memory(model: MemoryLanguageModel[StateT], folder: Path) -> StateT:
    """The memory that a checkpoint's training had, on the model's device. Raises `CheckpointError`."""
    reader = CheckpointReader(folder)
    return _memory(model, reader, reader.tensors("memory"))


def _memory(model: MemoryLanguageModel[StateT], reader: CheckpointReader, saved: Mapping[str, Tensor]) -> StateT:
    tensors = {key: tensor.to(model_device(model)) for key, tensor in saved.items()}
    try:
        return type(model.initial_state(1)).from_tensors(tensors)
    except DAMAGE as error:
        raise CheckpointError(f"{reader.folder / 'memory'}.safetensors: {error}") from None


def _policy_tensors(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """Tensors of the policies that keep some, by the name of their file."""
    kept = {f"policy-{policy.name}": policy.tensors() for policy in trainer.policies}
    return {name: tensors for name, tensors in kept.items() if tensors}


def _held(reader: CheckpointReader, policy: str, description: Mapping[str, Any], rank: int) -> dict[str, Tensor]:
    file = f"policy-{policy}"
    return reader.tensors(of_rank(file, rank)) if file in description["policy_tensors"] else {}


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
