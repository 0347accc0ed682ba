"""The one pool of processes for training and checking: no task starts in vain, no process outlives its parent."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_end
from typing import TypeVar

from cortexzoo.harness.errors import Failure

Key = TypeVar("Key")
Result = TypeVar("Result")


class ProcessLost(Failure):
    """A process of the pool ended in the middle of its task. The message is one line."""


def in_processes(
    tasks: Iterable[tuple[Key, Callable[[], Result]]], jobs: int, *, threads: int = 1, fresh: bool = False
) -> Iterator[tuple[Key, Result]]:
    """Do each task in a process, `jobs` at once; yield its key with what it returned as soon as it is done.

    Each process computes on `threads` threads. `fresh`: it does one task only, a few seconds slower.
    When a task raises, or the caller stops reading, no further task starts; running ones end first. Raises what a task
    raises, and `ProcessLost`.
    """
    waiting = iter(tasks)
    running: dict[Future[Result], Key] = {}
    with ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(threads,),
        max_tasks_per_child=1 if fresh else None,
    ) as pool:
        try:
            while True:
                # Never more than can run: the pool begins what it has been given, also while it shuts down.
                for key, task in islice(waiting, jobs - len(running)):
                    running[pool.submit(task)] = key
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), future.result()
        except BrokenProcessPool as problem:
            raise ProcessLost(
                "a worker died (out of memory?); retry with fewer --jobs: what is finished is not repeated"
            ) from problem


def _begin(threads: int) -> None:
    """Begin a process: PyTorch may use so many threads, and it ends when the process that started it does."""
    import torch

    torch.set_num_threads(threads)
    end_with_parent()


def end_with_parent() -> None:
    """From now on this process ends, whatever it does, when the one that started it does."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    """Without this, killing a study leaves processes behind that train on to the end of its list."""
    wait_for_end([sentinel])
    os._exit(1)
