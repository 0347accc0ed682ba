"""AdamW over the model's named parameter groups, with decay on matrices only."""

from torch import nn
from torch.optim import AdamW, Optimizer

from cortexzoo.specs.recipe import AdamWSpec, RateFactors
from cortexzoo.zoo.models.interface import MemoryLanguageModel, StateT


def build_optimizer(model: MemoryLanguageModel[StateT], spec: AdamWSpec) -> AdamW:
    """AdamW with one group for each (rate factor, decayed or not); a group keeps its factor under `rate_factor`.

    Biases, norms and embeddings are not decayed. Raises `ValueError` when the model's groups are not those of
    `RateFactors` and `base`, or do not contain every trainable parameter exactly once.
    """
    groups = model.parameter_groups()
    factors = {"base": 1.0, **spec.rate_factors.model_dump()}
    _check_partition(model, groups)
    matrices = _matrices(model)
    prepared = []
    for name, parameters in groups.items():
        trainable = [parameter for parameter in parameters if parameter.requires_grad]
        decayed = [p for p in trainable if id(p) in matrices]
        plain = [p for p in trainable if id(p) not in matrices]
        for chosen, decay in ((decayed, spec.weight_decay), (plain, 0.0)):
            if chosen:
                prepared.append({"params": chosen, "weight_decay": decay, "rate_factor": factors[name]})
    return AdamW(prepared, lr=spec.learning_rate, betas=(spec.beta1, spec.beta2), eps=spec.eps, fused=True)


def _matrices(model: nn.Module) -> set[int]:
    """Ids of what is decayed. A bias stacked over columns has two dimensions too, so it is known by its name."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    return {
        id(parameter)
        for name, parameter in model.named_parameters()
        if parameter.ndim >= 2 and not name.endswith("bias") and id(parameter) not in embeddings
    }


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group `rate` times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["rate_factor"]


def _check_partition(model: MemoryLanguageModel[StateT], groups: dict[str, list[nn.Parameter]]) -> None:
    known = {"base", *RateFactors.model_fields}
    if unknown := sorted(set(groups) - known):
        raise ValueError(f"parameter group {unknown[0]!r} is unknown, known are {sorted(known)}")
    grouped = [id(p) for parameters in groups.values() for p in parameters if p.requires_grad]
    if len(grouped) != len(set(grouped)):
        raise ValueError("a parameter is in two parameter groups")
    missing = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in set(grouped)]
    if missing:
        raise ValueError(f"parameter {missing[0]} is in no parameter group")
