"""What a job of a scheduler runs: `python -m cortexzoo.harness.parallel.slurm_job SPEC.json RUNS THREADS`.

It trains one experiment, continues with it if it was begun before, and does nothing where it has ended: a job that is
started twice, or again after a time limit, harms nothing.
"""

import sys
import time
import warnings
from pathlib import Path

from cortexzoo.harness.errors import OK, lines_and_code, print_errors
from cortexzoo.harness.parallel.slurm import ERROR
from cortexzoo.harness.parallel.train_missing import train_or_go_on
from cortexzoo.harness.runs.find import finished_runs, stopped_runs, unfinished_runs
from cortexzoo.specs import ExperimentSpec

LOOK_EVERY = 5.0
"""Seconds between two looks at a run that another process trains."""


def main(arguments: list[str]) -> int:
    """Ends with 0 when the experiment has a run that ended, by itself or by giving up for numeric reasons."""
    import torch

    from cortexzoo.zoo.errors import TrainingStopped

    warnings.simplefilter("ignore")
    file, runs, threads = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    torch.set_num_threads(threads)
    experiment = ExperimentSpec.from_json(file.read_text(encoding="utf-8"))
    try:
        while not _has_ended(runs, experiment):
            if _is_being_trained(runs, experiment):
                time.sleep(LOOK_EVERY)
                continue
            train_or_go_on(experiment, runs)
    except TrainingStopped:
        return OK
    except Exception as problem:
        described = lines_and_code(problem)
        if described is None:
            raise
        return _failed(file, *described)
    return OK


def _failed(file: Path, lines: list[str], code: int) -> int:
    """Say why on standard error, and in a file where whoever submitted the job finds it."""
    print_errors(lines)
    file.with_suffix(ERROR).write_text("; ".join(lines), encoding="utf-8")
    return code


def _has_ended(runs: Path, experiment: ExperimentSpec) -> bool:
    return any(next(found(runs, experiment), None) is not None for found in (finished_runs, stopped_runs))


def _is_being_trained(runs: Path, experiment: ExperimentSpec) -> bool:
    run = next(unfinished_runs(runs, experiment), None)
    return run is not None and run.is_held()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
