"""A card that is not there: its tensors say `cuda:0`, are computed on the CPU, and do not mix with the CPU's.

An operation over tensors of both devices fails, as on a card, so that code which forgets one is found where there is
none. What it cannot show: rounding, speed, memory, and kernels that sum in any order. Inference mode is without
gradients alone here, since tensors of a kind of their own cannot be made in it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CARD = torch.device("cuda", 0)
MAKERS = ("tensor", "as_tensor", "asarray", "scalar_tensor")
"""They make a tensor and move it, below where modes see it."""
MAY_MIX = ("aten::copy_", "aten::_to_copy", "aten::to", "aten::_foreach_copy_", "aten::index", "aten::index_put",
           "aten::index_put_", "aten::_index_put_impl_")  # fmt: skip


class OnCard(Tensor):
    """A tensor of the card, and the one of the CPU that has its values."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnCard":
        """Says that it is on the card."""
        about = {"dtype": held.dtype, "layout": held.layout, "device": CARD}
        made: Any = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), **about
        )
        made.held = held
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """As the mode does, where it is not on: in threads of the backward pass."""
        return computed(function, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnCard":
        """A copy of the values."""
        if id(self) not in memo:
            copy: Any = OnCard(self.held.clone())
            is_parameter = isinstance(self, nn.Parameter)
            memo[id(self)] = nn.Parameter(copy, self.requires_grad) if is_parameter else copy
        return memo[id(self)]  # type: ignore[no-any-return]

    def data_ptr(self) -> int:
        """Where the values are."""
        return self.held.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        """Of the values."""
        return self.held.untyped_storage()

    def tolist(self) -> Any:
        """The values."""
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        """Refused, as on a card."""
        raise TypeError("can't convert cuda:0 device type tensor to numpy: copy it to the CPU first")

    def new_tensor(self, data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
        """On the card, unless another device is named."""
        made = torch.tensor(data, dtype=dtype or self.dtype).to(device or CARD)
        return made.requires_grad_(requires_grad)


class Card(TorchDispatchMode):
    """Makes what is asked for on the card."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Every operation, whatever its tensors are."""
        return computed(function, args, kwargs or {})


def computed(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation on the values; its results are on the card if its tensors are, or if it is asked for there."""
    schema = function._schema
    given = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)} | kwargs
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    on_card = any(isinstance(tensor, OnCard) for tensor in tensors)
    if on_card:
        _refuse_two_devices(schema.name, tensors)
    asked = given.get("device")
    if asked is None and schema.name == "aten::to" and isinstance(given.get("other"), Tensor):
        asked = given["other"].device
    to_card = on_card if asked is None else torch.device(asked).type == "cuda"
    if schema.name in ("aten::copy_", "aten::index_put_"):
        to_card = isinstance(args[0], OnCard)

    def below(value: Any) -> Any:
        if isinstance(value, OnCard):
            return value.held
        is_card = isinstance(value, torch.device) and value.type == "cuda"
        return torch.device("cpu") if is_card else value

    result = function(*tree_map(below, args), **tree_map(below, kwargs))
    written = {
        id(leaf.held): leaf
        for argument in schema.arguments
        if argument.alias_info is not None and argument.alias_info.is_write
        for leaf in tree_leaves(given.get(argument.name))
        if isinstance(leaf, OnCard)
    }

    def above(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, OnCard):
            return value
        return written.get(id(value)) if id(value) in written else OnCard(value) if to_card else value

    return tree_map(above, result)


def _refuse_two_devices(name: str, tensors: list[Tensor]) -> None:
    """As CUDA does; numbers without a dimension may be the CPU's, and so may an index."""
    others = [tensor for tensor in tensors if not isinstance(tensor, OnCard) and tensor.dim()]
    if others and (name not in MAY_MIX or (name == "aten::index" and not isinstance(tensors[0], OnCard))):
        raise RuntimeError(f"Expected all tensors to be on the same device: {name} also gets one of the CPU")


def put_in() -> None:
    """From here on torch has the card."""
    for name, answer in {
        "_lazy_init": None, "is_available": True, "is_initialized": True, "device_count": 1, "current_device": 0,
        "set_device": None, "synchronize": None, "get_device_name": "a card that is not there", "empty_cache": None,
        "get_device_capability": (9, 0), "is_bf16_supported": True, "mem_get_info": (8 << 30, 8 << 30),
        "max_memory_allocated": 1 << 20, "memory_allocated": 1 << 20, "reset_peak_memory_stats": None,
        "manual_seed": None, "manual_seed_all": None, "set_rng_state": None,
    }.items():  # fmt: skip
        setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    torch.cuda.get_rng_state = lambda *_: torch.get_rng_state()
    torch.inference_mode = lambda mode=True: torch.no_grad()  # type: ignore[assignment, misc]
    for name in MAKERS:
        setattr(torch, name, _moved_after(getattr(torch, name)))
    nn.Module._apply = _swapping(nn.Module._apply)  # type: ignore[method-assign, assignment]
    Card().__enter__()  # type: ignore[no-untyped-call]


def _moved_after(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def made(data: Any, *args: Any, device: Any = None, requires_grad: bool = False, **options: Any) -> Tensor:
        found = make(data, *args, **options)
        found = found if device is None else found.to(device)
        return found.requires_grad_() if requires_grad else found

    return made


def _swapping(apply: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """A parameter of another kind takes the place of the one that moves; elsewhere values are copied as usual."""

    def applied(self: nn.Module, *args: Any, **options: Any) -> nn.Module:
        before = torch.__future__.get_swap_module_params_on_conversion()
        torch.__future__.set_swap_module_params_on_conversion(True)
        try:
            return apply(self, *args, **options)
        finally:
            torch.__future__.set_swap_module_params_on_conversion(before)

    return applied
