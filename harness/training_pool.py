"""Training many experiments: what is already there is used, the rest is trained in parallel processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from harness.run_folder import Run, finished_runs
from specs import ExperimentSpec


def train_missing(
    experiments: Sequence[ExperimentSpec], runs: Path, *, jobs: int, threads: int = 1
) -> Iterator[tuple[ExperimentSpec, Run]]:
    """Yield each experiment with its run as soon as it is finished; equal experiments are trained once.

    Finished runs in `runs` are used as they are, so a study that was killed goes on where it stopped. Each process
    trains on `threads` threads, which keeps results the same for any number of `jobs`.
    """
    distinct = {experiment.hash(): experiment for experiment in experiments}
    missing = []
    for experiment in distinct.values():
        if (run := next(finished_runs(runs, experiment), None)) is None:
            missing.append(experiment)
        else:
            yield experiment, run
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_use_threads, initargs=(threads,)) as pool:
        futures = {pool.submit(_train, experiment.canonical_json(), runs): experiment for experiment in missing}
        try:
            for future in as_completed(futures):
                yield futures[future], Run.open(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _train(experiment: str, runs: Path) -> Path:
    import logging

    from harness.runner import train_run

    spec = ExperimentSpec.from_json(experiment)
    return train_run(spec, runs, aim=False, progress=False, warn=logging.getLogger(__name__).warning).path
