"""Several processes of one training, played by threads of this one that take turns.

Each is a training loop of its own, with its own random numbers; what accelerate would carry from one to another goes
over a table between them. One runs at a time and hands on where it would wait, so that the order is always the same.
What torch itself does for several processes, DDP's hooks and FSDP's shards, is not part of it.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Step

T = TypeVar("T")


class Parted(RuntimeError):
    """A process waits for what another never does: real ones would wait for ever, or take one thing for another."""


class Play(Generic[T]):
    """Runs `parts[rank](accelerator)`, one for each process, and gives what each returned."""

    def __init__(self, parts: Sequence[Callable[["PlayedAccelerator"], T]]) -> None:
        self.parts = parts
        self._turn = threading.Condition()
        self._whose: int | None = None
        """None: of nobody any more, and who still waits for one gives up."""
        self._meetings: list[dict[int, tuple[str, Any]]] = []
        """What each process brought: its intention in words, and a value."""
        self._behind = [0] * len(parts)
        """Meetings that each process has been to."""
        self._random = [torch.get_rng_state()] * len(parts)
        self._done: dict[int, T] = {}
        self._failed: dict[int, BaseException] = {}

    def run(self) -> list[T]:
        """Raises what the first process raised that did not just wait in vain; else `Parted` if one did."""
        begun = torch.get_rng_state()
        contexts = [copy_context() for _ in self.parts]
        threads = [
            threading.Thread(target=contexts[rank].run, args=(self._perform, rank), daemon=True)
            for rank in range(len(self.parts))
        ]
        self._whose = 0
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            with self._turn:
                self._whose = None
                self._turn.notify_all()
            torch.set_rng_state(begun)
        if self._failed:
            raise min(self._failed.items(), key=lambda failed: (isinstance(failed[1], Parted), failed[0]))[1]
        return [self._done[rank] for rank in range(len(self.parts))]

    def meet(self, rank: int, intention: str, value: Any) -> list[Any]:
        """What all processes brought to their next meeting. Raises `Parted` where they intend other things."""
        number = self._behind[rank]
        self._behind[rank] += 1
        if number == len(self._meetings):
            self._meetings.append({})
        brought = self._meetings[number]
        brought[rank] = (intention, value)
        for other, (theirs, _) in brought.items():
            if theirs != intention:
                raise Parted(f"process {rank} is to {intention} where process {other} is to {theirs}")
        self._random[rank] = torch.get_rng_state()
        self._hand_on(rank)
        self._wait(rank)
        if len(brought) < len(self.parts):
            raise Parted(f"process {rank} is to {intention}, and another has ended")
        return [value for _, (_, value) in sorted(brought.items())]

    def _perform(self, rank: int) -> None:
        torch.set_num_threads(1)
        try:
            self._wait(rank)
            self._done[rank] = self.parts[rank](PlayedAccelerator(self, rank))
        except BaseException as problem:
            self._failed[rank] = problem
        finally:
            self._hand_on(rank)

    def _hand_on(self, rank: int) -> None:
        """To the next process that has not ended; to oneself if there is none."""
        count = len(self.parts)
        following = [(rank + further) % count for further in range(1, count + 1)]
        with self._turn:
            if self._whose is not None:
                going_on = [other for other in following if other not in self._done and other not in self._failed]
                self._whose = going_on[0] if going_on else rank
            self._turn.notify_all()

    def _wait(self, rank: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._whose in (rank, None))
        if self._whose is None:
            raise Parted("the play is over")
        torch.set_rng_state(self._random[rank])


class PlayedAccelerator:
    """What training uses of accelerate's `Accelerator`, for one process of a play, on the CPU."""

    device = torch.device("cpu")

    def __init__(self, play: Play[Any], rank: int) -> None:
        self.play = play
        self.num_processes, self.process_index, self.is_main_process = len(play.parts), rank, rank == 0

    def prepare(self, network: nn.Module) -> nn.Module:
        """The network as it is: `PlayedLoop` averages its gradients."""
        return network

    def no_sync(self, network: nn.Module) -> AbstractContextManager[None]:
        """Nothing is shared during a backward pass."""
        return nullcontext()

    def reduce(self, tensor: Tensor, reduction: str) -> Tensor:
        """The sum over processes."""
        brought = self._bring(f"{reduction} {list(tensor.shape)}", tensor)
        return torch.stack(brought).sum(0)

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors of all processes, one after the other along the first dimension."""
        return torch.cat(self._bring(f"gather {list(tensor.shape)}", tensor))

    def wait_for_everyone(self) -> None:
        """Until every process is here."""
        self._bring("wait", torch.zeros(()))

    def average(self, gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The mean of each gradient over processes; one that is missing on some counts as zero there."""
        brought = self.play.meet(self.process_index, f"average {len(gradients)} gradients", list(gradients))
        found: list[Tensor | None] = []
        for each in zip(*brought, strict=True):
            there = [gradient for gradient in each if gradient is not None]
            found.append(torch.stack(there).sum(0) / self.num_processes if there else None)
        return found

    def _bring(self, intention: str, tensor: Tensor) -> list[Tensor]:
        return self.play.meet(self.process_index, intention, tensor.detach().clone())


class PlayedLoop(TrainingLoop):
    """A training loop whose processes are played. Gradients are averaged once all micro-batches are through."""

    accelerator: PlayedAccelerator

    def _forward_backward(self, step: Step) -> None:
        super()._forward_backward(step)
        if step.refused is None:
            own = [parameter.grad for parameter in self.trainable]
            for parameter, mean in zip(self.trainable, self.accelerator.average(own), strict=True):
                parameter.grad = mean
