"""How far hybrids carry facts, on each task, and what becomes of that where a part of the recipe is taken away."""

from collections.abc import Mapping
from itertools import chain

import numpy as np

from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_spread, mean_and_worst

HYBRID = "cortex-v2-hybrid"
PAGE = "recall.md"
FAR = "one-token pairs"
NEAR_GAPS = ("data.gaps=[1,4,16,64]", "data.evaluation_documents=64")

PLAIN = ("variant.layers=null", "variant.mixer.key_products=0", "variant.mixer.write_width=0")
"""Keys of 32 channels and linear write gates are enough for six facts where no other fact fills the gap."""
NOISE_ALONE = ("data=kv-tokens-far", *PLAIN, "recipe.steps=500")
FAR_STAGES = (
    "recipe.objective.stages=[{gaps: [0, 1, 4, 16], tokens_per_step: 2048, samples_per_gap: 75, promote_at: 0.95}, "
    "{gaps: [4, 16, 64], tokens_per_step: 4096, samples_per_gap: 50, promote_at: 0.98}, "
    "{gaps: [16, 64, 256], tokens_per_step: 16640, samples_per_gap: 50}]"
)
NEAR_STAGES = (
    "recipe.objective.stages=[{gaps: [0, 1, 4, 16], tokens_per_step: 2048, samples_per_gap: 75, promote_at: 0.95}, "
    "{gaps: [4, 16, 64], tokens_per_step: 4096}]"
)
"""The same without the longest gaps."""


def cells() -> list[StudyCell]:
    """One run of every task with three seeds, and of each thing left out with one."""
    words = ("variant=cortex-v2-hybrid-words", "recipe=cortex-v2-words", "data=kv", "data.task.num_queries=6")
    far = (*NOISE_ALONE, FAR_STAGES)
    unguarded = (*far, "recipe.objective.in_chunk={kind: none}")
    detached = (*far, "recipe.objective.bptt_chunks=1")
    overwrite = (*NOISE_ALONE, "data=overwrite", *NEAR_GAPS, NEAR_STAGES)
    mqar = ("variant=cortex-v2-hybrid-scratch", "recipe=cortex-v2-mqar", "data=mqar-256-16")
    return [
        StudyCell(FAR, HYBRID, far),
        StudyCell("words: keys of 3, values of 4 letters", HYBRID, (*words, *NEAR_GAPS)),
        StudyCell("overwrite: 3 of 6 keys bound again", HYBRID, overwrite),
        StudyCell("MQAR, 16 pairs in 256 tokens, from scratch", HYBRID, mqar),
        StudyCell(f"{FAR}, plain text unguarded", HYBRID, unguarded, at_most_seeds=1),
        StudyCell(f"{FAR}, state detached at every chunk", HYBRID, detached, at_most_seeds=1),
    ]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: whole answers right by gap, mean over seeds and the worst of them, beside the controls."""
    gaps = sorted({gap for result in results.values() for gap in _recall(result, "recall")})
    header = ("run", "seeds", *(f"gap {gap}" for gap in gaps), "memory off", "base alone", "chance", "perplexity")
    return [header, *(_row(label, result, gaps) for label, result in results.items())]


def findings(results: Mapping[str, Result]) -> list[str]:
    """The claims that the study was made for, in words with numbers."""
    far = _recall(results[FAR], "recall")
    longest = max(far)
    unguarded = results[f"{FAR}, plain text unguarded"]
    detached = _recall(results[f"{FAR}, state detached at every chunk"], "recall")
    return [
        f"Over {longest} chunks of {_chunk(results[FAR]):,} tokens, {longest * _chunk(results[FAR]):,} in all, "
        f"{np.mean(far[longest]):.1%} of the answers are right, {min(far[longest]):.1%} with the worst seed.",
        f"Plain text is read with a perplexity of {_perplexity(results[FAR])} where the base alone has "
        f"{mean_and_spread(results[FAR].values('base_perplexity'), 2)}; without the penalty on divergence it is "
        f"{_perplexity(unguarded)}.",
        f"With the state detached at every chunk {max(max(shares) for shares in detached.values()):.1%} of the answers "
        "are right at best.",
    ]


def _row(label: str, result: Result, gaps: list[int]) -> tuple[str, ...]:
    found = _recall(result, "recall")
    shares = (mean_and_worst(found[gap]) if gap in found else "" for gap in gaps)
    controls = (_recall(result, name) for name in ("recall_memory_off", "recall_base"))
    highest = (f"{max(chain(*by_gap.values())):.3f}" if by_gap else "–" for by_gap in controls)
    (chance,) = {share for run in result.runs for share in run.summary["chance"].values()}
    return (label, str(len(result.runs)), *shares, *highest, f"{chance:.2g}", _perplexity(result))


def _recall(result: Result, name: str) -> dict[int, list[float]]:
    """Gap → one share of right answers a seed; empty where the model has no such control."""
    by_gap: dict[int, list[float]] = {}
    for run in result.runs:
        for found in (run.summary.get(name) or {}).values():
            for gap, share in found.items():
                by_gap.setdefault(int(gap), []).append(float(share))
    return by_gap


def _perplexity(result: Result) -> str:
    if result.runs[0].summary.get("perplexity") is None:
        return "–"
    return mean_and_spread(result.values("perplexity"), 2)


def _chunk(result: Result) -> int:
    data = result.runs[0].spec.data
    assert data.family == "task"
    return data.chunk_size
