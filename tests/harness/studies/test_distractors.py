"""The study of distractors: cells that are valid experiments, the worst filler first, and real answers at the end."""

from dataclasses import dataclass, field

import pytest

from cortexzoo.harness.studies import distractors
from cortexzoo.harness.studies.cells import Result, StudyCell
from cortexzoo.specs import ExperimentSpec, load_experiment
from cortexzoo.specs.filler import FillerSpec
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState

SCRATCH = (
    "variant=cortex-v2-hybrid-scratch", "variant.backbone.architecture.vocab_size=256",
    "variant.backbone.architecture.hidden_size=16", "recipe.objective.in_chunk={kind: none}",
)  # fmt: skip


@dataclass(eq=False)
class FakeRun:
    """A run whose model was never trained."""

    spec: ExperimentSpec = field(default_factory=lambda: load_experiment("cortex-v2-hybrid", list(SCRATCH)))
    summary: dict[str, dict[str, dict[str, float]]] = field(
        default_factory=lambda: {
            "recall_memory_off": {"pairs": {"1": 0.004, "16": 0.012}},
            "recall_base": {"pairs": {"1": 0.008, "16": 0.003}},
        }
    )

    def load_model(self, _checkpoint: str) -> tuple[MemoryLanguageModel[MemoryState], None]:
        return build_model(self.spec.variant, self.spec.seed), None


def results() -> dict[str, Result]:
    return {
        cell.label: Result(StudyCell(cell.label, cell.experiment), [FakeRun(), FakeRun()])  # type: ignore[list-item]
        for cell in distractors.cells()
    }


@pytest.mark.slow
def test_cells_differ_in_what_they_are_named_for() -> None:
    found = {cell.label: cell.with_seed(1) for cell in distractors.cells()}
    assert len({experiment.hash() for experiment in found.values()}) == len(found)
    assert found[distractors.MIXED] == load_experiment("cortex-v2-hybrid", ["seed=1"])
    variants = {label: experiment.variant for label, experiment in found.items()}
    assert all(isinstance(variant, HybridSpec) for variant in variants.values())
    attention, few = variants[distractors.ATTENTION], variants[distractors.FEW_CHANNELS]
    assert isinstance(attention, HybridSpec) and isinstance(few, HybridSpec)
    assert (max(distractors.GAPS) + 2) * attention.chunk_size <= distractors.ASKED
    widened = distractors._seeing_all(build_model(attention))
    assert isinstance(widened, Hybrid) and widened.spec.mixer.window_size == distractors.ASKED
    assert few.mixer.memory_key_dim == 32
    linear, two = variants[distractors.LINEAR], variants[distractors.TWO]
    assert isinstance(linear, HybridSpec) and linear.mixer.write_width == 0
    assert isinstance(two, HybridSpec) and two.sidecar_layers == (0, 1)


def test_the_worst_filler_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = {"noise": 1.0, "text": 0.97, "pairs": 0.91, "near_keys": 0.95, "unseen_noise": 0.99}

    def answered(run: object, filler: FillerSpec, gap: int, facts: int | None) -> float:
        return shares[filler.kind] - (0.01 if gap == 64 else 0.0) if facts is None else 1 - facts / 1000

    monkeypatch.setattr(distractors, "answered", answered)
    header, first, *rows = distractors.table(results())
    assert header[:4] == ("filler", "mixed fillers, 16 chunks", "mixed fillers, 64 chunks", "mixed fillers, 550 chunks")
    assert first[:4] == ("pairs", "0.910 (0.910)", "0.900 (0.900)", "")
    assert [row[0] for row in rows] == ["near keys", "text", "unseen noise", "noise"]
    assert rows[-1][3] == "1.000 (1.000)"
    worst, kept, controls = distractors.findings(results())
    assert worst.startswith("The worst filler is pairs: 91.0% over 16 chunks")
    assert "64 facts 0.936 (0.936)" in kept
    assert "memory off at most 1.2% of the answers are right at any gap, with the base alone 0.8%" in controls


def test_answers_are_those_of_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distractors, "ANSWERS", 12)
    for facts in (None, 12):
        share = distractors.answered(FakeRun(), distractors.FILLERS[3], 1, facts)  # type: ignore[arg-type]
        assert 0 <= share < 0.5, "nothing was trained"
