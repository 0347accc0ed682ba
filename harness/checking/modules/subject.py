"""A bare module as a subject: copied, called, its memory carried."""

import copy
import inspect
import random
import types
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.awake import awake_factory, awakened
from cortexzoo.harness.checking.modules.carried import takes_back
from cortexzoo.harness.checking.modules.hashes import of_another_process
from cortexzoo.harness.checking.modules.inputs import Inputs, special_ids
from cortexzoo.harness.checking.modules.loading import Factory
from cortexzoo.harness.checking.modules.values import duplicate, floats_of, output_of, tensors_of

SPARSE = (1, 2, 3, 64, 128, 129, 257, 300, 513, 1025)
"""Lengths on both sides of the usual chunk and window sizes, few enough to be tried first."""
FURTHER = (105, 2048, 17, 33, 65, 127, 255, 256, 511, 512, 640, 769, 1000, 1024, 1537, 2047)
MASK_NAMES = ("mask", "attention_mask", "padding_mask", "pad_mask", "key_padding_mask")


@dataclass(frozen=True)
class BareSubject:
    """A factory's module. Everything works on copies, so that state hidden in attributes shows as what it is."""

    factory: Factory
    original: nn.Module
    inputs: Inputs
    longest: int = 300
    """The greatest length that is tried."""
    slots: tuple[int, ...] = (0,)
    """Which of the returned tensors have one entry for each token, the output first."""
    dtype: torch.dtype | None = None
    """What copies are converted to; None: as they are."""
    case_seconds: float = 60.0
    """CPU seconds after which a case is ended."""
    scales_linearly = property(lambda self: bool(getattr(self.original, "scales_linearly", False)))
    modes = ("eval", "train")
    memory_has_one_layout = False
    exact = False

    @property
    def ways(self) -> tuple[str, ...]:
        """Other ways to compute it that the module offers, each through `in_another_way(name, inputs)`."""
        return tuple(getattr(self.original, "ways", ()))

    @property
    def carries_state(self) -> bool:
        """Whether it offers a beginning, or takes back what it gave."""
        return callable(getattr(self.original, "initial_state", None)) or takes_back(self.original, self.inputs)

    @property
    def eps(self) -> float:
        """The rounding of the least precise parameters that are computed with."""
        return max((torch.finfo(dtype).eps for dtype in self._dtypes), default=torch.finfo(torch.float32).eps)

    @property
    def _dtypes(self) -> set[torch.dtype]:
        return {self.dtype} if self.dtype else {p.dtype for p in self.original.parameters() if p.is_floating_point()}

    def lengths(self, least: int = 1, most: int = 2048) -> list[int]:
        """Sparse first: lengths around usual internal sizes, then further ones, and the longest that is tried."""
        offered = [*SPARSE, self.longest, self.longest - 1, *FURTHER]
        return [n for n in dict.fromkeys(offered) if least <= n <= min(most, self.longest)]

    @property
    def special(self) -> tuple[int, ...]:
        """Token ids at the edges."""
        return special_ids(self.original, self.inputs)

    @cached_property
    def awake(self) -> "BareSubject":
        """The same with numbers in place of weights that begin at zero, behind which a defect would not be seen."""
        try:
            original = awakened(self._copied())
        except Exception:
            return self
        if original is None:
            return self
        return replace(self, original=original, factory=partial(awake_factory, self.factory))

    def in_double(self) -> "BareSubject":
        """The same subject computed in float64."""
        return replace(self, dtype=torch.float64)

    def copy(self) -> nn.Module:
        """A copy in evaluation mode; a module that cannot be copied is built anew from the same seed."""
        model = self._copied()
        if self.dtype is not None:
            model.to(self.dtype)
        model.eval()
        return model

    def _copied(self) -> nn.Module:
        if not self._shares:
            try:
                return copy.deepcopy(self.original)
            except Exception:
                return self._fresh(0)
        model = self._fresh(0)
        model.load_state_dict({name: value.clone() for name, value in self.original.state_dict().items()})
        return model

    @cached_property
    def _shares(self) -> bool:
        """Whether a deep copy would compute with the original: functions bound to it, or torch.jit's module."""
        if any(isinstance(module, torch.jit.ScriptModule) for module in self.original.modules()):
            return True
        return any(_is_bound(value) for module in self.original.modules() for value in _attributes(module))

    def rebuilt(self, seed: int) -> nn.Module:
        """What the factory gives after torch's generator was set to `seed`."""
        model = self._fresh(seed)
        return model if self.dtype is None else model.to(self.dtype)

    def _fresh(self, seed: int) -> nn.Module:
        model = seeded(self.factory, seed)
        if self._is_lazy:
            materialise(model, self, seed)
        return model

    @cached_property
    def _is_lazy(self) -> bool:
        fresh = seeded(self.factory, 0)
        if any(nn.parameter.is_lazy(parameter) for parameter in fresh.parameters()):
            return True
        return {n for n, _ in fresh.named_parameters()} != {n for n, _ in self.original.named_parameters()}

    def draw(self, rows: int, length: int, seed: int = 0) -> Tensor:
        """As `Inputs.draw`, in the module's dtype."""
        return self.fitted(self.inputs.draw(rows, length, seed))

    def examples(self, rows: int, length: int, seed: int = 0) -> Tensor:
        """As `draw`."""
        return self.draw(rows, length, seed)

    def fitted(self, inputs: Tensor) -> Tensor:
        """Vectors in the dtype of the parameters; token ids as they are."""
        if not inputs.is_floating_point() or not self._dtypes:
            return inputs
        return inputs.to(max(self._dtypes, key=lambda dtype: torch.finfo(dtype).eps))

    def other(self, inputs: Tensor, seed: int = 0) -> Tensor:
        """As `Inputs.other`."""
        return self.inputs.other(inputs, seed)

    def begin(self, model: nn.Module, rows: int) -> Any:
        """The module's initial state, where it offers one; a module with `reset` is reset."""
        if callable(reset := getattr(model, "reset", None)):
            reset(*[rows] * _required(reset))
        start = getattr(model, "initial_state", None)
        return start(rows) if callable(start) else None

    def follow(self, model: nn.Module, state: Any, rows: int) -> Any:
        """A new beginning: a module defines nothing that stays between unrelated batches."""
        return self.begin(model, rows)

    def call(
        self, model: nn.Module, inputs: Tensor, state: Any, mask: Tensor | None = None
    ) -> tuple[list[Tensor], Any]:
        """Every floating point tensor that the module returned, the output first, and its state; `state` as given."""
        named = {} if mask is None else {self.mask_name: mask}
        result = model(inputs, state, **named) if self.carries_state else model(inputs, **named)
        if not self.carries_state:
            return floats_of(result), None
        after = result[1]
        return floats_of([result[0], *result[2:]]), after

    @property
    def mask_name(self) -> str:
        """What the module calls its padding mask."""
        parameters = inspect.signature(self.original.forward).parameters
        return next((name for name in MASK_NAMES if name in parameters), MASK_NAMES[0])

    def run(self, model: nn.Module, inputs: Tensor, state: Any, mask: Tensor | None = None) -> tuple[Tensor, Any]:
        """The output, and the state where the module offers one; a state that grows in place is copied first."""
        found, after = self.call(model, inputs, duplicate(state), mask)
        return self.joined(found), after

    def joined(self, found: list[Tensor]) -> Tensor:
        """The output, beside it whatever else has one entry for each token."""
        kept = [found[slot] for slot in self.slots if slot < len(found)]
        if len(kept) == 1:
            return kept[0]
        widest = max((t.dtype for t in kept), key=lambda dtype: torch.finfo(dtype).bits)
        return torch.cat([t.flatten(2) if t.dim() > 2 else t[..., None] for t in (k.to(widest) for k in kept)], dim=-1)

    def output(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """The output for a batch that has nothing before it."""
        return self.run(model, inputs, self.begin(model, len(inputs)))[0]

    def settle(self, model: nn.Module, state: Any) -> Any:
        """A module defines no consolidation."""
        return state

    def memory(self, state: Any) -> dict[str, Tensor]:
        """Every tensor of the state, numbered."""
        return {str(index): leaf for index, leaf in enumerate(tensors_of(state))}

    def reread(self, model: nn.Module, state: Any) -> tuple[nn.Module, Any]:
        """A module of another process, which was used before, with this one's state_dict; and a copy of the state."""
        if callable(again := getattr(model, "saved_and_loaded", None)):
            return again(), duplicate(state)
        with of_another_process(model):
            fresh = self.rebuilt(1).eval()
        with suppress(Exception), torch.no_grad(), torch.random.fork_rng(devices=[]):
            self.output(fresh, self.draw(1, min(2, self.longest)))  # what it keeps must follow what is loaded
        fresh.load_state_dict({name: value.clone() for name, value in model.state_dict().items()})
        return fresh, duplicate(state)


def seeded(factory: Factory, seed: int) -> nn.Module:
    """The factory's module from a seed; the generators of torch and Python are left as they were."""
    before = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.setstate(random.Random(seed).getstate())
        try:
            return factory()
        finally:
            random.setstate(before)


def materialise(model: nn.Module, subject: BareSubject, seed: int) -> None:
    """One small call, which makes what a lazy module makes on its first."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        given = subject.draw(2, 3)
        if callable(begin := getattr(model, "initial_state", None)):
            output_of(model(given, begin(2)))
        else:
            output_of(model(given))


def _attributes(module: nn.Module) -> list[Any]:
    values: list[Any] = []
    for name, value in vars(module).items():
        if isinstance(value, dict) and name.endswith("_hooks"):
            values += value.values()
        elif isinstance(value, list | tuple):
            values += value
        else:
            values.append(value)
    return values


def _is_bound(value: Any) -> bool:
    """Whether a function refers to modules or tensors that a deep copy leaves as they are."""
    if isinstance(value, partial):
        return _is_bound(value.func) or any(isinstance(part, nn.Module | Tensor) for part in value.args)
    if not isinstance(value, types.FunctionType) or not value.__closure__:
        return False
    cells = [cell.cell_contents for cell in value.__closure__ if not _is_empty(cell)]
    return any(isinstance(content, nn.Module | Tensor) or _is_bound(content) for content in cells)


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def _required(function: Any) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
