"""Low-rank adapters in a network, by way of peft."""

from importlib.util import find_spec
from typing import Any

from torch import nn

from cortexzoo.specs.tuned import LowRankAdapters
from cortexzoo.zoo.errors import BackboneError
from cortexzoo.zoo.models.base import Base

NAME = "default"


def insert_adapters(base: Base, spec: LowRankAdapters) -> nn.ModuleDict:
    """Put adapters beside projections of the base's layers, in place; A from torch's generator, B = 0.

    They are float32 whatever the base is. Returns the maps A and B by projection and layer. Raises `BackboneError`
    when peft is missing, or no layer has a projection of a given name.
    """
    if find_spec("peft") is None:
        raise BackboneError("variant.method.kind: lora needs the package peft: pip install peft, or take kind: full")
    from peft import LoraConfig, inject_adapter_in_model

    network: Any = base.network
    names = {id(module): name for name, module in network.named_modules()}
    places = {
        (inner, index): module
        for index, layer in enumerate(base.layers)
        for inner, module in layer.named_modules()
        if _projects(module)
    }
    chosen = _chosen(places, spec, base.name)
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,  # type: ignore[arg-type, unused-ignore] # a number of any type
        target_modules=[names[id(module)] for module in chosen.values()],
        fan_in_fan_out=any(not isinstance(module, nn.Linear) for module in chosen.values()),
    )
    inject_adapter_in_model(config, network, adapter_name=NAME)
    adapters: dict[str, dict[str, nn.Module]] = {}
    for inner, index in chosen:
        layer: Any = base.layers[index].get_submodule(inner)
        both = nn.ModuleDict({"A": layer.lora_A[NAME].float(), "B": layer.lora_B[NAME].float()})
        adapters.setdefault(inner.replace(".", "-"), {})[str(index)] = both
    return nn.ModuleDict({projection: nn.ModuleDict(layers) for projection, layers in adapters.items()})


def _projects(module: nn.Module) -> bool:
    """A linear map, or that of GPT-2 by the name of its class."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _chosen(
    places: dict[tuple[str, int], nn.Module], spec: LowRankAdapters, name: str
) -> dict[tuple[str, int], nn.Module]:
    known = sorted({inner.rpartition(".")[2] for inner, _ in places})
    for wanted in spec.projections or ():
        if wanted not in known:
            raise BackboneError(
                f"variant.method.projections: {wanted} is no projection of the layers of {name}, which have "
                f"{', '.join(known) or 'none'}"
            )
    if not places:
        raise BackboneError(f"{name}: its layers have no linear projections, so that no adapters fit: take kind: full")
    kept = known if spec.projections is None else spec.projections
    return {place: module for place, module in places.items() if place[0].rpartition(".")[2] in kept}
