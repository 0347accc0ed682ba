"""The moments of the optimiser by name: whole tensors, however many processes share them."""

from collections.abc import Mapping

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from cortexzoo.zoo.training.policies.base import Trainer


def _parameter_names(trainer: Trainer) -> list[str]:
    """Names of the optimiser's parameters, in its own order."""
    names = {id(parameter): name for name, parameter in trainer.optimized.named_parameters()}
    return [names[id(parameter)] for group in trainer.optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Every moment as `<parameter>/<moment>`, whole; parameters that never had a gradient have none.

    Every process must call it.
    """
    names = _parameter_names(trainer)
    state = trainer.optimizer.state_dict()["state"]
    # In one order on every process: each takes part in gathering the same tensor.
    return {f"{names[i]}/{key}": _whole(state[i][key]) for i in sorted(state) for key in sorted(state[i])}


def set_optimizer(trainer: Trainer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`. The optimiser continues with these tensors themselves."""
    index = {name: i for i, name in enumerate(_parameter_names(trainer))}
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        parameter, key = name.rsplit("/", 1)
        like = trainer.optimized.get_parameter(parameter)
        shape = like.shape
        if tensor.ndim and tensor.shape != shape:
            raise ValueError(f"{name} must be {list(shape)}, got {list(tensor.shape)}")
        state.setdefault(index[parameter], {})[key] = _shared_as(tensor, like)
    groups = trainer.optimizer.state_dict()["param_groups"]
    trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _shared_as(tensor: Tensor, like: Tensor) -> Tensor:
    """This process's part of it, as of a parameter: every process has the whole."""
    if not tensor.ndim or not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
