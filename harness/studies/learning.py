"""What each variant learns on the same data in the same steps, and what each part of the stable one is worth."""

from collections.abc import Mapping, Sequence

import numpy as np

from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_spread

PAGE = "results.md"
STABLE = "cortexgpt-stable"
TRANSFORMER_RATES = (1e-3, 3e-3, 5e-3)
ORIGINAL_RATES = (3e-4, 1e-3, 3e-3, 1e-2)

ABLATIONS = {
    "no memory at all": (
        "variant.memory.short_term={kind: none}",
        "variant.memory.long_term={kind: none}",
    ),
    "no long-term memory": ("variant.memory.long_term={kind: none}",),
    "gate with a floor": ("variant.memory.gate.floor=0.06",),
    "one head": ("variant.memory.short_term.num_heads=1",),
    "no recency term": ("variant.memory.short_term.recency=none",),
    "stores its output": ("variant.memory.short_term.stores=output",),
    "columns first": ("variant.order=columns_first",),
    "memory weight 0.1": ("variant.join.memory_weight=0.1",),
    "embedding std 0.02": ("variant.embedding_std=0.02",),
}


def cells() -> list[StudyCell]:
    """The runs that the study compares."""
    return [
        StudyCell("cortexgpt-stable, robust", STABLE),
        *(
            StudyCell(f"transformer, robust, rate {rate:g}", "transformer", (_rate(rate),))
            for rate in TRANSFORMER_RATES
        ),
        *(
            StudyCell(f"cortexgpt-original, original, rate {rate:g}", "cortexgpt-original", (_rate(rate),))
            for rate in ORIGINAL_RATES
        ),
        StudyCell("cortexgpt-stable, phase-1", STABLE, ("recipe=phase-1",)),
        *(StudyCell(f"cortexgpt-stable, {name}", STABLE, overrides) for name, overrides in ABLATIONS.items()),
    ]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: held-out loss of the best checkpoint, distance to the bigram model, swings, gate shares."""
    header = ("run", "held-out loss", "below bigram", "loss ratio", "raw ratio", "smallest gate share")
    return [header, *(_row(label, result) for label, result in results.items())]


def findings(results: Mapping[str, Result]) -> list[str]:
    """The comparisons that the study was made for, in words with numbers."""
    stable = results["cortexgpt-stable, robust"]
    transformer = _best(results, "transformer, ")
    original = _best(results, "cortexgpt-original, ")
    memoryless = results["cortexgpt-stable, no memory at all"]
    storeless = results["cortexgpt-stable, no long-term memory"]
    floored = results["cortexgpt-stable, gate with a floor"]
    return [
        f"cortexgpt-stable ends {_gap(transformer, stable)} nats a byte below the transformer at its best rate "
        f"({transformer.cell.label}) and {_gap(original, stable)} below the original at its best rate "
        f"({original.cell.label}).",
        f"Trained without any memory it ends {_gap(memoryless, stable)} higher; what long-term memory is worth on "
        f"top of short-term memory is {_gap(storeless, stable)}.",
        f"A floor of 0.06 under the gate shares costs {_gap(floored, stable)}; the smallest share is "
        f"{min(_smallest_shares(floored)):.3f} with it and {min(_smallest_shares(stable)):.3f} without.",
    ]


def _rate(rate: float) -> str:
    return f"recipe.optimizer.learning_rate={rate:g}"


def _row(label: str, result: Result) -> tuple[str, ...]:
    losses = result.values("best_validation_loss")
    below = [bigram - loss for bigram, loss in zip(result.values("bigram_loss"), losses, strict=True)]
    shares = _smallest_shares(result)
    return (
        label,
        mean_and_spread(losses),
        mean_and_spread(below),
        f"{max(result.values('loss_ratio')):.2f}",
        f"{max(result.values('raw_loss_ratio')):.2f}",
        f"{min(shares):.3f}" if shares else "–",
    )


def _smallest_shares(result: Result) -> list[float]:
    return [min(run.summary["gate_shares"].values()) for run in result.runs if run.summary["gate_shares"]]


def _best(results: Mapping[str, Result], prefix: str) -> Result:
    candidates = [result for label, result in results.items() if label.startswith(prefix)]
    return min(candidates, key=lambda result: float(np.mean(result.values("best_validation_loss"))))


def _gap(higher: Result, lower: Result) -> str:
    """Mean difference of held-out loss over seeds, with its spread."""
    pairs: Sequence[tuple[float, float]] = list(
        zip(higher.values("best_validation_loss"), lower.values("best_validation_loss"), strict=True)
    )
    return mean_and_spread([a - b for a, b in pairs])
