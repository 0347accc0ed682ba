"""A bare module as a subject: inputs drawn for it, its output found, its optional memory carried."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from cortexzoo.harness.checking.judge import where
from cortexzoo.harness.checking.modules.errors import ModuleError, UnfitOutput
from cortexzoo.harness.checking.modules.loading import Factory

DTYPES = {"float64": torch.float64, "bfloat16": torch.bfloat16}
"""Tried besides float32 where the module takes them."""
WIDTH_NAMES = ("hidden_size", "d_model", "dim", "width", "embed_dim", "n_embd", "input_size", "model_dim")
COMMON_WIDTHS = (8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Inputs:
    """Token ids below `size`, or vectors of `size` numbers."""

    kind: Literal["tokens", "vectors"]
    size: int

    def __str__(self) -> str:
        return f"token ids below {self.size}" if self.kind == "tokens" else f"vectors of {self.size}"

    def draw(self, rows: int, length: int, seed: int = 0, scale: float = 1.0) -> Tensor:
        """[B, T] uniform ids, or [B, T, D] normal numbers times `scale`."""
        generator = torch.Generator().manual_seed(seed)
        if self.kind == "tokens":
            return torch.randint(self.size, (rows, length), generator=generator)
        return torch.randn(rows, length, self.size, generator=generator) * scale

    def other(self, inputs: Tensor, seed: int = 0) -> Tensor:
        """Inputs of the same shape that differ from the given ones at every token."""
        generator = torch.Generator().manual_seed(1000 + seed)
        if self.kind == "tokens":
            shift = torch.randint(1, max(2, self.size), inputs.shape, generator=generator)
            return (inputs + shift) % self.size
        return torch.randn(inputs.shape, generator=generator).to(inputs.dtype)


@dataclass(frozen=True)
class BareSubject:
    """A factory's module. Everything works on copies, so that state hidden in attributes shows as what it is."""

    factory: Factory
    original: nn.Module
    inputs: Inputs
    longest: int = 300
    """The greatest length at which gradients are looked at."""

    @property
    def carries_state(self) -> bool:
        return callable(getattr(self.original, "initial_state", None))

    def copy(self) -> nn.Module:
        """A copy in evaluation mode; a module that cannot be copied is built anew from the same seed."""
        try:
            return copy.deepcopy(self.original).eval()
        except Exception:
            return self.rebuilt(0).eval()

    def rebuilt(self, seed: int) -> nn.Module:
        """What the factory gives after torch's generator was set to `seed`."""
        return seeded(self.factory, seed)

    def draw(self, rows: int, length: int, seed: int = 0) -> Tensor:
        """As `Inputs.draw`."""
        return self.inputs.draw(rows, length, seed)

    def other(self, inputs: Tensor, seed: int = 0) -> Tensor:
        """As `Inputs.other`."""
        return self.inputs.other(inputs, seed)

    def begin(self, model: nn.Module, rows: int) -> Any:
        """The module's initial state, where it offers one; a module with `reset` is reset."""
        if callable(reset := getattr(model, "reset", None)):
            reset()
        return model.initial_state(rows) if self.carries_state else None  # type: ignore[operator]

    def follow(self, model: nn.Module, state: Any, rows: int) -> Any:
        """A new beginning: a module says nothing of what stays between unrelated batches."""
        return self.begin(model, rows)

    def run(self, model: nn.Module, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The output, and the state where the module offers one."""
        result = model(inputs, state) if self.carries_state else model(inputs)
        after = result[1] if self.carries_state else None
        return output_of(result), after

    def output(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The output for a batch that has nothing before it."""
        return self.run(model, inputs, self.begin(model, len(inputs)))[0]

    def settle(self, model: nn.Module, state: Any) -> Any:
        """A module says nothing of consolidation."""
        return state

    def memory(self, state: Any) -> dict[str, Tensor]:
        """Every tensor of the state, numbered."""
        leaves = (leaf for leaf in tree_leaves(state) if isinstance(leaf, Tensor))
        return {str(index): leaf for index, leaf in enumerate(leaves)}

    def reread(self, model: nn.Module, state: Any) -> tuple[nn.Module, Any]:
        """Another module of the factory with this one's state_dict, and a copy of the state."""
        fresh = self.rebuilt(1)
        fresh.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
        return fresh.eval(), tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, state)


def seeded(factory: Factory, seed: int) -> nn.Module:
    """The factory's module from a seed; torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return factory()


def output_of(result: Any) -> Tensor:
    """The tensor in what a module returned: itself, its `logits`, or its first entry. Raises `UnfitOutput`."""
    if isinstance(result, Mapping):
        result = result.get("logits", next(iter(result.values()), None))
    elif hasattr(result, "logits"):
        result = result.logits
    elif isinstance(result, tuple | list) and result:
        result = result[0]
    if not isinstance(result, Tensor) or not result.is_floating_point():
        got = f"a tensor of {result.dtype}" if isinstance(result, Tensor) else type(result).__name__
        raise UnfitOutput(
            f"the output must be a floating point tensor, or a tuple or object that begins with one, got {got}"
        )
    return result


def detect(
    factory: Factory, module: nn.Module, name: str, vocab_size: int | None, width: int | None, longest: int
) -> BareSubject:
    """Find out what the module takes by trying. Raises `ModuleError` when nothing fits."""
    problems: list[Exception] = []
    for inputs in _candidates(module, vocab_size, width):
        subject = BareSubject(factory, module, inputs, longest)
        try:
            _try(subject)
            return subject
        except Exception as problem:
            problems.append(problem)
    if said := [problem for problem in problems if isinstance(problem, UnfitOutput)]:
        raise ModuleError(f"{name}: {said[0]}")
    tried = "token ids" if vocab_size else "vectors" if width else "token ids and vectors"
    hint = "" if vocab_size or width else "; say what it takes with --vocab-size N or --width D"
    cause = f": {where(problems[0])}" if problems else ""
    raise ModuleError(f"{name}: took no {tried} of shape [2, 3]{cause}{hint}")


def _try(subject: BareSubject) -> None:
    """One small call, the largest token id included."""
    inputs = subject.draw(2, 3)
    if subject.inputs.kind == "tokens":
        inputs[0, 0] = subject.inputs.size - 1
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        output = subject.output(subject.copy(), inputs)
    if output.dim() < 2 or output.shape[:2] != (2, 3):
        raise UnfitOutput(f"must give one output for each token, [2, 3, …], got {list(output.shape)}")


def _candidates(module: nn.Module, vocab_size: int | None, width: int | None) -> Iterator[Inputs]:
    if vocab_size is not None:
        yield Inputs("tokens", vocab_size)
        return
    if width is None:
        sizes = [layer.num_embeddings for layer in module.modules() if isinstance(layer, nn.Embedding)]
        declared = getattr(module, "vocab_size", None)
        if isinstance(declared, int):
            sizes.insert(0, declared)
        yield from (Inputs("tokens", size) for size in dict.fromkeys(sizes))
    widths = [width] if width is not None else list(_widths(module))
    yield from (Inputs("vectors", size) for size in dict.fromkeys(widths) if size > 0)


def _widths(module: nn.Module) -> Iterator[int]:
    for name in WIDTH_NAMES:
        if isinstance(value := getattr(module, name, None), int):
            yield value
    for layer in module.modules():
        for name in ("in_features", "in_channels", "input_size", "embed_dim"):
            if isinstance(value := getattr(layer, name, None), int):
                yield value
        if isinstance(layer, nn.LayerNorm):
            yield layer.normalized_shape[-1]
    for parameter in module.parameters():
        yield from reversed(parameter.shape)
    yield from COMMON_WIDTHS


def dtypes_offered(subject: BareSubject) -> list[str]:
    """float32, and the others in which a small call gives an output."""
    offered = ["float32"]
    for name, dtype in DTYPES.items():
        try:
            model = subject.copy().to(dtype)
            inputs = subject.draw(1, 2)
            with torch.no_grad():
                subject.output(model, inputs.to(dtype) if inputs.is_floating_point() else inputs)
            offered.append(name)
        except Exception:
            continue
    return offered
