"""Communication between the processes of one run. With one process every function returns its argument."""

import gc
import re
import signal
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor

from cortexzoo.zoo.errors import ProcessLost, SetupError
from cortexzoo.zoo.models.interface import MemoryLanguageModel, StateT
from cortexzoo.zoo.training.evaluation import model_device, undisturbed

LOST = re.compile(
    r"connection (was )?(closed|reset|refused)|broken pipe|timed out|remote process exited", re.IGNORECASE
)
"""How gloo and NCCL word that a process they talk to is there no more."""


class Ranks:
    """The processes of one run: who this one is, which rows are its own, and agreement among all of them."""

    def __init__(self, accelerator: Accelerator, batch_size: int) -> None:
        self.accelerator = accelerator
        self.count = int(accelerator.num_processes)
        self.rank = int(accelerator.process_index)
        self.is_main = bool(accelerator.is_main_process)
        if batch_size % self.count:
            raise SetupError(f"recipe.batch_size must be a multiple of the {self.count} processes, got {batch_size}")
        self.rows: int = batch_size // self.count

    def own(self, first: int) -> int:
        """Where this process's rows start in a batch that starts at `first`."""
        return first + self.rank * self.rows

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Mean over processes. Every process must give the same names."""
        sums = self.all_reduce_sum(values)
        return {name: value / self.count for name, value in sums.items()}

    def all_reduce_sum(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sum over processes. Every process must give the same names."""
        if self.count == 1 or not values:
            return dict(values)
        names = sorted(values)
        here = torch.tensor([values[name] for name in names], dtype=torch.float64, device=self.accelerator.device)
        summed: list[float] = self.accelerator.reduce(here, "sum").tolist()
        together = dict(zip(names, summed, strict=True))
        return {name: together[name] for name in values}

    def any_rank(self, flags: Sequence[bool]) -> list[bool]:
        """For each flag, whether it is raised on any process."""
        raised = self.all_reduce_sum({str(i): float(flag) for i, flag in enumerate(flags)})
        return [value > 0 for value in raised.values()]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Around whatever needs the other processes. Raises `ProcessLost` when one has ended."""
        try:
            yield
        except RuntimeError as error:
            if self.count > 1 and LOST.search(str(error)):
                if threading.current_thread() is threading.main_thread():
                    # Whoever launched the processes ends this one too, but it has something to report first.
                    signal.signal(signal.SIGTERM, signal.SIG_IGN)
                raise ProcessLost(
                    "another process of this run has ended: the last checkpoint stands, and --resume continues from it"
                ) from error
            raise

    def wait(self) -> None:
        """Wait until every process has reached this point."""
        self.accelerator.wait_for_everyone()

    def gather(self, model: MemoryLanguageModel[StateT], state: StateT) -> StateT:
        """The memory of the whole batch, the same on every process.

        Tensors with a batch dimension are gathered; tensors without one (a shared ring, long-term memory) are taken
        from the first process. So measuring and consolidating give what one process would, but for a shared ring.
        """
        if self.count == 1:
            return state
        dimensions = batch_dimensions(model, state.tensors())
        gathered = {name: self.gather_tensor(tensor, dimensions.get(name)) for name, tensor in state.tensors().items()}
        return type(state).from_tensors(gathered)

    def scatter(self, model: MemoryLanguageModel[StateT], state: StateT) -> StateT:
        """This process's rows of a memory of the whole batch, which may have fewer rows than the recipe's."""
        if self.count == 1:
            return state
        dimensions = batch_dimensions(model, state.tensors())
        own = {
            name: tensor.chunk(self.count, dimensions[name])[self.rank] if name in dimensions else tensor
            for name, tensor in state.tensors().items()
        }
        return type(state).from_tensors(own)

    def gather_tensor(self, tensor: Tensor, dimension: int | None) -> Tensor:
        """The tensors of all processes, one after the other along `dimension`; None: the first process's."""
        if self.count == 1:
            return tensor
        on_device = tensor.detach().to(self.accelerator.device)
        rows_first = on_device[None] if dimension is None else on_device.movedim(dimension, 0)
        gathered: Tensor = self.accelerator.gather(rows_first.contiguous())
        together = gathered[0] if dimension is None else gathered.movedim(0, dimension)
        return together.to(tensor.device)


def accelerate_here() -> Accelerator:
    """The processes and the device that accelerate finds."""
    return Accelerator(
        cpu=not torch.accelerator.is_available(),
        mixed_precision="no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )


def batch_dimensions(model: MemoryLanguageModel[StateT], tensors: Collection[str]) -> dict[str, int]:
    """For each of these tensors of the model's memory that has one row a sequence: along which dimension.

    Found by comparing empty memories of two batch sizes, so that a model need not declare it; what an empty memory has
    not, such as the cache of a base, by comparing memories of one token.
    """
    two, three = (model.initial_state(batch_size).tensors() for batch_size in (2, 3))
    if later := [name for name in tensors if name not in two]:
        with undisturbed(model):
            token = torch.zeros(3, 1, dtype=torch.long, device=model_device(model))
            read = [model(token[:rows]).state.tensors() for rows in (2, 3)]
        for empty, one in zip((two, three), read, strict=True):
            empty.update({name: one[name] for name in later if name in one})
    shapes = {name: zip(two[name].shape, three[name].shape, strict=True) for name in tensors if name in two}
    differing = {name: [d for d, (a, b) in enumerate(pairs) if a != b] for name, pairs in shapes.items()}
    return {name: dimensions[0] for name, dimensions in differing.items() if dimensions}


def leave_group() -> None:
    """Leave the group of processes, if there is one; to be called by each before it ends well.

    A process that just ends may be aborted by a thread of the group that still runs, and so may one in which something
    still holds the group: what no longer has an owner, such as a trainer, is given up first.
    """
    if torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
