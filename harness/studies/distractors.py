"""How many facts a hybrid answers with each filler in the gap, how many it can keep, and what attention to all can."""

from collections.abc import Mapping
from functools import cache
from statistics import fmean
from typing import Any

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.answering import answered_by
from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_worst
from cortexzoo.specs.filler import FillerSpec, NearKeys, NoiseFiller, PairsFiller, TextFiller, UnseenNoise
from cortexzoo.specs.task import PairsOfTokens, TaskSpec
from cortexzoo.zoo.build import build_model
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import MemoryLanguageModel

HYBRID = "cortex-v2-hybrid"
PAGE = "recall.md"
MIXED, NOISE_ALONE = "mixed fillers", "noise alone"
FEW_CHANNELS = "keys of 32 channels"
ATTENTION = "full attention"
LINEAR, TWO = "linear write gate", "two sidecars"
FILLERS: tuple[FillerSpec, ...] = (NoiseFiller(), UnseenNoise(), TextFiller(), PairsFiller(), NearKeys())
GAPS = (16, 64)
FAR = 550
"""Chunks of noise."""
ANSWERS = 312
"""Of each figure and seed, at least."""
FACTS = (6, 12, 24, 48, 64)
CAPACITY_GAP = 16
TRAINED, ASKED = 1152, 4288
"""Windows of the control with full attention, in tokens: the longest document that it is trained on, and asked."""
SHORT_STAGES = (
    "recipe.objective.stages=[{gaps: [0, 1, 4], tokens_per_step: 2048, samples_per_gap: 400, promote_at: 0.95}, "
    "{gaps: [1, 4, 16], tokens_per_step: 2304}]"
)


def cells() -> list[StudyCell]:
    """The experiment as it is shipped, trained on noise alone, without memory but with all in its window, and more."""
    short = ("recipe.steps=200", "data.gaps=[1]", SHORT_STAGES, "recipe.sleep={kind: never}")
    attention = (f"variant.mixer.window_size={TRAINED}", "variant.mixer.write_bias=-20.0")
    return [
        StudyCell(MIXED, HYBRID),
        StudyCell(LINEAR, HYBRID, ("variant.mixer.write_width=0",)),
        StudyCell(TWO, HYBRID, ("variant.layers=null",)),
        StudyCell(NOISE_ALONE, HYBRID, ("data=kv-tokens-far", *short)),
        StudyCell(FEW_CHANNELS, HYBRID, ("variant.mixer.key_products=0", *short)),
        StudyCell(ATTENTION, HYBRID, (*attention, *short)),
    ]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows, the worst filler first: shares of whole answers, mean over seeds and the worst of them."""
    columns = [(MIXED, gap) for gap in (*GAPS, FAR)]
    columns += [(label, gap) for label in (LINEAR, TWO) for gap in (max(GAPS), FAR)]
    columns += [(label, gap) for label in (NOISE_ALONE, FEW_CHANNELS, ATTENTION) for gap in GAPS]
    header = ("filler", *(f"{label}, {gap} chunks" for label, gap in columns))
    rows = [
        (filler.kind.replace("_", " "), *(_cell(results[label], filler, gap) for label, gap in columns))
        for filler in _worst_first(results[MIXED])
    ]
    return [header, *rows]


def findings(results: Mapping[str, Result]) -> list[str]:
    """The claims that the study was made for, in words with numbers."""
    worst = _worst_first(results[MIXED])[0]
    shares = [_shares(results[MIXED], worst, gap) for gap in GAPS]
    kept = ", ".join(f"{facts} facts {mean_and_worst(_kept(results[MIXED], facts))}" for facts in FACTS)
    return [
        f"The worst filler is {worst.kind.replace('_', ' ')}: "
        + ", ".join(
            f"{fmean(found):.1%} over {gap} chunks, {min(found):.1%} with the worst seed"
            for gap, found in zip(GAPS, shares, strict=True)
        )
        + ".",
        f"Capacity, over {CAPACITY_GAP} chunks of noise, trained with 6 facts: {kept}.",
        f"With the memory off at most {_highest(results[MIXED], 'recall_memory_off'):.1%} of the answers are right "
        f"at any gap, with the base alone {_highest(results[MIXED], 'recall_base'):.1%}.",
    ]


def _highest(result: Result, control: str) -> float:
    """Of validation documents, as a run's summary has it."""
    found = (run.summary[control].values() for run in result.runs)
    return max(float(share) for tasks in found for by_gap in tasks for share in by_gap.values())


def _worst_first(result: Result) -> list[FillerSpec]:
    return sorted(FILLERS, key=lambda filler: fmean(_shares(result, filler, max(GAPS))))


def _cell(result: Result, filler: FillerSpec, gap: int) -> str:
    if gap == FAR and not isinstance(filler, NoiseFiller):
        return ""
    return mean_and_worst(_shares(result, filler, gap))


def _shares(result: Result, filler: FillerSpec, gap: int) -> list[float]:
    return [answered(run, filler, gap, None) for run in result.runs]


def _kept(result: Result, facts: int) -> list[float]:
    return [answered(run, NoiseFiller(), CAPACITY_GAP, facts) for run in result.runs]


@cache
def answered(run: Run, filler: FillerSpec, gap: int, facts: int | None) -> float:
    """The share of whole answers that a run's best model gets right, on documents that no choice has seen.

    `facts`: so many in each document, all asked for; None: as trained.
    """
    spec = run.spec.data
    assert isinstance(spec, TaskSpec) and isinstance(spec.task, PairsOfTokens)
    task = spec.task if facts is None else spec.task.model_copy(update={"num_pairs": facts, "num_queries": facts})
    asked = build_task(spec.model_copy(update={"task": task, "filler": filler}), run.spec.seed)
    return answered_by(_seeing_all(run.load_model("best")[0]), asked, gap, ANSWERS).exact


def _seeing_all(model: MemoryLanguageModel[Any]) -> MemoryLanguageModel[Any]:
    """The control with full attention, with a window over the longest document; any other model as it is."""
    if not isinstance(model, Hybrid) or model.spec.mixer.window_size != TRAINED:
        return model
    mixer = model.spec.mixer.model_copy(update={"window_size": ASKED})
    whole = build_model(model.spec.model_copy(update={"mixer": mixer}), seed=0)
    whole.load_state_dict(model.state_dict())
    return whole
