"""What a model costs, counted on the meta device: the model runs once with shapes and no values."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cortexzoo.specs.backbone import AnyArchitecture
from cortexzoo.specs.errors import UserError
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.memory import Contexts
from cortexzoo.specs.own_variant import HuggingFaceSpec, ModuleSpec
from cortexzoo.specs.slow_store import NoSlowStore
from cortexzoo.specs.variant import CortexGPTSpec, TransformerSpec, VariantSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.errors import CostsUnknown
from cortexzoo.zoo.models.architecture import in_a_line
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.models.meta_device import AnyValue, autocast_off

LATER = 4
"""After so many batches the memories are measured again: what still grows has no bound, or one that is further off."""
BASE, REST = "base", "rest"
FEW = 2
"""Layers that are counted of a stack; each further one costs what others of its kind do."""


@dataclass(frozen=True)
class BatchCosts:
    """Of one batch of a variant, in float32 except for a base of another dtype. All but activations are exact.

    A long-term memory with a bound counts as full, one without as empty.
    """

    parameters: Mapping[str, int]
    """Trained ones, by module."""
    frozen_parameters: int
    frozen_bytes: int
    states: Mapping[str, int]
    """Bytes of each memory after the batch, with those that are kept beside the weights."""
    states_later: Mapping[str, int]
    """The same after `LATER` batches that continue the documents."""
    forward_flops: Mapping[str, int]
    """Operations of a forward pass by module: matrix products, a multiplication and an addition each."""
    training_flops: int
    """Operations of forward and backward pass; the optimiser is not counted."""
    activation_bytes: int
    """What autograd saves for the backward pass, without fused kernels: an upper bound where there are some."""

    @property
    def trained_parameters(self) -> int:
        return sum(self.parameters.values())

    def with_more(self, kinds: "Sequence[tuple[int, BatchCosts]]") -> "BatchCosts":
        """With so many more layers of each kind, given as the costs of this model with one more of it."""

        def grown(name: str) -> Any:
            few, more = getattr(self, name), [(count, getattr(costs, name)) for count, costs in kinds]
            if isinstance(few, int):
                return few + sum(count * (other - few) for count, other in more)
            parts = dict.fromkeys([*few, *(part for _, other in more for part in other)])
            return {
                part: few.get(part, 0) + sum(count * (other.get(part, 0) - few.get(part, 0)) for count, other in more)
                for part in parts
            }

        return BatchCosts(**{field.name: grown(field.name) for field in fields(self)})


def batch_costs(variant: VariantSpec, batch_size: int, length: int) -> BatchCosts:
    """Costs of batches of `batch_size` rows of `length` tokens that begin a document.

    Raises `CostsUnknown` for a module of the user's, or of transformers, that cannot run without values.
    """
    if isinstance(variant, ModuleSpec | HuggingFaceSpec):
        try:
            return _batch_costs(variant, batch_size, length)
        except UserError:
            raise
        except Exception as problem:
            raise CostsUnknown(
                f"{variant.name}: its costs are unknown, since it cannot run without values, on torch's meta device: "
                f"{in_a_line(problem)}"
            ) from problem
    few, *kinds = _stacks(variant)
    counted = _batch_costs(few, batch_size, length)
    return counted.with_more([(count, _batch_costs(other, batch_size, length)) for count, other in kinds])


def _stacks(variant: VariantSpec) -> tuple[Any, ...]:
    """A variant of few layers; then, for each kind of further layers, their number and the few with one more of it.

    Layers differ by whether they carry a sidecar, and without one by whether anything before them learns. A variant
    whose layers may differ otherwise is its own only stack.
    """
    if isinstance(variant, TransformerSpec) and variant.num_layers > FEW:
        few, more = (variant.model_copy(update={"num_layers": count}) for count in (FEW, FEW + 1))
        return few, (variant.num_layers - FEW, more)
    if not isinstance(variant, HybridSpec) or isinstance(variant.backbone.architecture, AnyArchitecture):
        return (variant,)
    store, carrying = variant.slow_store, variant.sidecar_layers
    if len(carrying) < FEW or not (isinstance(store, NoSlowStore) or store.layer is None):
        return (variant,)
    before, others = carrying[0], variant.backbone.architecture.num_layers - len(carrying)
    kinds = (
        (len(carrying) - FEW, _with_layers(variant, FEW + 1, (0, 1, 2))),
        (before, _with_layers(variant, FEW + 1, (1, 2))),
        (others - before, _with_layers(variant, FEW + 1, (0, 2))),
    )
    return _with_layers(variant, FEW, (0, 1)), *((count, stack) for count, stack in kinds if count)


def _with_layers(variant: HybridSpec, count: int, carrying: tuple[int, ...]) -> HybridSpec:
    backbone = variant.backbone
    architecture = backbone.architecture.model_copy(update={"num_layers": count})
    changed = {"backbone": backbone.model_copy(update={"architecture": architecture}), "layers": carrying}
    return variant.model_copy(update=changed)


def _batch_costs(variant: VariantSpec, batch_size: int, length: int) -> BatchCosts:
    with _shapes_only():
        model = build_model(variant)
        state = _filled(model, variant, batch_size)
        tokens = torch.zeros(batch_size, length, dtype=torch.long)
        by_module, after = _forward_flops(model, tokens, state)
        frozen = _frozen(model)
        return BatchCosts(
            parameters_by_part(model),
            sum(parameter.numel() for parameter in frozen),
            sum(parameter.nbytes for parameter in frozen),
            _bytes(model, after),
            _bytes(model, _read_on(model, after, batch_size, (LATER - 1) * length)),
            by_module,
            *_training_pass(
                model, tokens, state, [*model.parameters(), *model.buffers(), *frozen, *state.tensors().values()]
            ),
        )


def parameter_count(variant: VariantSpec) -> int:
    """Parameters of `variant` that training changes."""
    try:
        with torch.device("meta"):
            return trained_parameters(build_model(variant))
    except Exception:
        if not isinstance(variant, ModuleSpec):
            raise
        return trained_parameters(build_model(variant, seed=0))


def trained_parameters(model: nn.Module) -> int:
    """Parameters of `model` that training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def parameters_by_part(model: nn.Module) -> dict[str, int]:
    """Trained parameters by module; the layers of a stack count together."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            counts[_part(name.rpartition(".")[0] or name)] += parameter.numel()
    return dict(counts)


def _part(name: str) -> str:
    """The first two words of a dotted name that are no numbers; a base that learns is one part."""
    words = [word for word in name.split(".") if not word.isdecimal()]
    return BASE if words[0] == "learning_base" else ".".join(words[:2])


def _frozen(model: MemoryLanguageModel[Any]) -> list[nn.Parameter]:
    base = () if model.base_network is None else model.base_network.parameters()
    return [parameter for parameter in (*model.parameters(), *base) if not parameter.requires_grad]


def _filled(model: MemoryLanguageModel[Any], variant: VariantSpec, rows: int) -> MemoryState:
    """The state at a document's start, with a long-term memory as full as it gets."""
    state = model.initial_state(rows)
    long_term = variant.memory.long_term if isinstance(variant, CortexGPTSpec) else None
    capacity: int | None = getattr(long_term, "capacity", None)
    if capacity:
        each, unread = capacity, tuple[str, ...]()
        if isinstance(long_term, Contexts):
            # Written from the tokens of all rows alone; attention over so many of them would be counted for nothing.
            each, unread = -(-capacity // rows), tuple({"short_term"} & set(model.switches))
        with torch.no_grad():
            read = model(torch.zeros(rows, each, dtype=torch.long), state, unread).state
            entries = -1
            while entries < read.sizes()["ltm"] < capacity:
                entries, read = read.sizes()["ltm"], model.consolidate(read)
        state = read
    between: MemoryState = model.between_batches(state, rows)
    return between


def _forward_flops(
    model: MemoryLanguageModel[Any], tokens: Tensor, state: MemoryState
) -> tuple[dict[str, int], MemoryState]:
    """Operations by module, without those of a module within it; and the state after the pass."""
    counted: Counter[str] = Counter()
    inside = [0]
    counter = _counter()
    with ExitStack() as stack:

        def watch(name: str, module: nn.Module) -> None:
            began: list[int] = []

            def enter(*_: object) -> None:
                began.append(counter.get_total_flops())
                inside.append(0)

            def leave(*_: object) -> None:
                whole = counter.get_total_flops() - began.pop()
                counted[name] += whole - inside.pop()
                inside[-1] += whole

            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave).remove)

        for name, module in _modules(model):
            watch(name, module)
        with counter, torch.no_grad():
            after = model(tokens, state).state
    counted[REST] += counter.get_total_flops() - inside[0]
    return {name: count for name, count in counted.items() if count}, after


def _modules(model: MemoryLanguageModel[Any]) -> Iterator[tuple[str, nn.Module]]:
    """What operations are counted by: children of the model, each layer of a stack, and the base."""
    base = model.base_network
    for name, child in model.named_children():
        if child is not base:
            stack = isinstance(child, nn.ModuleList | nn.ModuleDict)
            yield from ((name, each) for each in (child.children() if stack else [child]))
    if base is not None:
        yield BASE, base


def _training_pass(
    model: MemoryLanguageModel[Any], tokens: Tensor, state: MemoryState, known: list[Tensor]
) -> tuple[int, int]:
    """Operations of forward and backward, and bytes that autograd saved beside `known` tensors."""
    own = {tensor.untyped_storage()._cdata for tensor in known}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with _counter() as counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = model(tokens, state).logits
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
        torch.autograd.backward(loss)
    kept = sum(tensor.untyped_storage().nbytes() for place, tensor in saved.items() if place not in own)
    return counter.get_total_flops(), kept


def _read_on(model: MemoryLanguageModel[Any], state: MemoryState, rows: int, tokens: int) -> MemoryState:
    with torch.no_grad():
        after: MemoryState = model.read(torch.zeros(rows, tokens, dtype=torch.long), state).state
    return after


def _bytes(model: nn.Module, state: MemoryState) -> dict[str, int]:
    """Of every memory, by the name that its tensors share; buffers that are saved with the weights are memories too."""
    saved = model.state_dict()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in saved}
    sizes: Counter[str] = Counter()
    for name, tensor in {**state.tensors(), **buffers}.items():
        sizes[_part(name)] += tensor.nbytes
    return dict(sizes)


def _counter() -> FlopCounterMode:
    def in_place(_into: object, a: list[int], b: list[int], *_: object, **__: object) -> int:
        """torch's counter has `baddbmm` and not its form in place."""
        return 2 * a[0] * a[1] * a[2] * b[2]

    def of_experts(tokens: list[int], weights: list[int], *_: object, **__: object) -> int:
        """Each row of [S, K] passes one of E matrices [E, K, N]."""
        return 2 * tokens[0] * tokens[1] * weights[-1]

    further: dict[Any, Any] = {torch.ops.aten.baddbmm_: in_place}
    if hasattr(torch.ops.aten, "_grouped_mm"):
        further[torch.ops.aten._grouped_mm] = of_experts
    return FlopCounterMode(display=False, custom_mapping=further)


@contextmanager
def _shapes_only() -> Iterator[None]:
    """Run models on the meta device, with attention as the plain products that the counter sees."""
    with torch.random.fork_rng(), torch.device("meta"), autocast_off(), AnyValue(), sdpa_kernel(SDPBackend.MATH):
        yield
