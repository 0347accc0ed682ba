"""Run folders with records of the size and names of real ones, for benchmarks that read."""

import math
from pathlib import Path

from cortexzoo.harness.runs.run_folder import MANIFEST, SUMMARY, Run
from cortexzoo.harness.tracking.jsonl import JsonlSink
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.specs.metrics import GATE_SHARE

SOURCES = ("current", "short_term", "long_term")


def experiment(seed: int = 0, name: str = "cortexgpt-stable") -> ExperimentSpec:
    """The experiment that the records claim to be of."""
    return load_experiment(name, [f"seed={seed}"])


def metrics_of(step: int) -> dict[str, float]:
    """Twenty metrics of one step."""
    wave = 1 + 0.1 * math.sin(step)
    loss = wave * (2 + 3 * math.exp(-step / 100))
    return {
        "train/loss": loss,
        "train/learning_rate": 1e-3,
        "train/gradient_norm": wave,
        "train/tokens_per_second": 10_000 * wave,
        "train/stm_size": 128,
        "train/ltm_size": step,
        "probe/loss": loss,
        "validation/loss": loss,
        "stability/loss_ratio": 1.1,
        "stability/raw_loss_ratio": 1.4,
        "stability/loss_variance": 0.1,
        "stability/gradient_percentile_90": 1.2,
        "stability/spike_score": 0.0,
        "stability/update_rms": 1e-4,
        "stability/loss_spikes": 0,
        "stability/nonfinite_steps": 0,
        "memory/gate_entropy": 1.0,
        **{f"{GATE_SHARE}{source}": share for source, share in zip(SOURCES, (0.4, 0.35, 0.25), strict=True)},
    }


def generated_run(runs: Path, spec: ExperimentSpec, *, steps: int, finished: bool = True) -> Run:
    """A run folder whose records were never trained."""
    run = Run.create(runs, spec)
    sink = JsonlSink(run.path)
    for step in range(1, steps + 1):
        sink.metrics(step, metrics_of(step))
    sink.close()
    run.write_json(
        MANIFEST,
        {"experiment": spec.name, "spec_hash": spec.hash(), "seed": spec.seed, "data_sha256": "0" * 64,
         "versions": {"cortexzoo": "bench"}, "platform": {"system": "bench"}, "device": "cpu", "threads": 1},
    )  # fmt: skip
    if finished:
        shares = dict(zip(SOURCES, (0.4, 0.35, 0.25), strict=True))
        run.write_json(
            SUMMARY,
            {"status": "finished", "validation_loss": 2.0, "best_validation_loss": 2.0, "loss_ratio": 1.1,
             "steps_refused": 0, "rollbacks": 0, "tokens_per_second": 1e4, "peak_memory_bytes": 400_000_000,
             "parameters": 1_000_000, "gate_shares": shares, "unigram_loss": 3.1, "bigram_loss": 2.5},
        )  # fmt: skip
    return run
