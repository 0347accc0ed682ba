"""The benchmarks by name. A benchmark's module is imported when it runs."""

from dataclasses import dataclass
from importlib import import_module

from cortexzoo.harness.bench.benchmark import Benchmark


@dataclass(frozen=True, slots=True)
class Listed:
    """One benchmark: where it is, what it measures, and what stands beside it."""

    module: str
    """In `cortexzoo.harness.bench`."""
    attribute: str
    summary: str
    peer: str

    def load(self) -> Benchmark:
        """The benchmark. Imports its module."""
        made: Benchmark = getattr(import_module(f"cortexzoo.harness.bench.{self.module}"), self.attribute)()
        return made


BENCHMARKS = {
    "gated-delta": Listed("ops", "GatedDelta", "The chunked gated delta rule.", "transformers' PyTorch form"),
    "sliding-window": Listed("ops", "SlidingWindow", "Window attention in blocks.", "SDPA with a band mask"),
    "hybrid-block": Listed("hybrid_block", "HybridBlock", "A sidecar.", "a transformer layer of equal parameters"),
    "cortexgpt-step": Listed(
        "training_steps", "CortexGPTStep", "A training step of CortexGPT.", "a transformer of equal parameters"
    ),
    "hybrid-step": Listed(
        "training_steps", "HybridStep", "A training step of a hybrid.", "a transformer of equal parameters"
    ),
    "generation": Listed("generation", "Generation", "New bytes, one at a time.", "transformers' GPT-2 with its cache"),
    "long-term-memory": Listed(
        "long_term_memory", "LongTermMemory", "Searches of the memory of contexts.", "FAISS, exact, over the same codes"
    ),
    "streaming": Listed("reading", "Streaming", "A long text, in pieces.", "a transformer of equal parameters"),
    "data": Listed("reading", "Data", "Batches of a text.", "torch's DataLoader over the same windows"),
    "guards": Listed("guards", "Guards", "A step with guards and records.", "the same step without"),
    "start-up": Listed("start_up", "StartUp", "Commands that only read specs.", "python -c 'import torch'"),
    "compare-reading": Listed("compare_reading", "CompareReading", "Reading trained runs for `compare`.", "nothing"),
    "expected-duration": Listed(
        "expected_duration", "ExpectedDuration", "Whole trainings.", "what `show --measure` expects of them"
    ),
    "monitor-cost": Listed("monitor_cost", "MonitorCost", "The dashboard at 50 steps a second.", "nothing"),
    "check": Listed("check", "CheckProperties", "Properties before training.", "nothing"),
}
