"""What is forgotten of a text while another is learned, and what replay costs there."""

from collections.abc import Mapping
from statistics import fmean, median

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_spread
from cortexzoo.specs.objective import Continual
from cortexzoo.zoo.training.recorder import TOKENS_PER_SECOND

STABLE = "cortexgpt-stable"
PAGE = "continual.md"
NOTHING, REPLAYED, KEPT = "nothing replayed", "1 of 8 rows replayed", "replayed, near the earlier self"
SAMPLED, SAMPLED_KEPT = "1 of 8 rows generated", "generated, near the earlier self"
RATES = "metaplasticity"
FOLLOWED, FOLLOWED_REPLAYED = "complementary learners", "complementary learners, 1 of 8 rows replayed"
ASLEEP = "sleep and wake: 20 updates every 100 steps"
USED = "homeostasis"
TEXTS = (
    "recipe=continual", "data=python-library", "data.source.first=a", "data.source.last=m",
    "variant.memory.long_term.capacity=786432",
    "recipe.monitor.validate_every=600", "recipe.monitor.validation_sequences=400",
)  # fmt: skip
"""Long-term memory has room for both texts. Validation changes no weight; what is compared is measured at the end."""
REPLAY, PROTECTION = "recipe.objective.replay", "recipe.objective.protection"
ALONE = f"{REPLAY}={{kind: none}}"
SLEEP = (
    "recipe.sleep={kind: replay, every: 100, steps: 20, learning_rate: 1.0e-3, batch_size: 8, reservoir: 1024, "
    "acceptance: {kind: always}}"
)


def cells() -> list[StudyCell]:
    """The recipe, the same with a part of its replay taken away, and what else might keep the earlier text."""
    return [
        StudyCell(NOTHING, STABLE, (*TEXTS, ALONE)),
        StudyCell(REPLAYED, STABLE, (*TEXTS, f"{REPLAY}.kl_weight=0.0")),
        StudyCell(KEPT, STABLE, TEXTS),
        *(
            StudyCell(label, STABLE, (*TEXTS, *changes))
            for label, changes in {
                SAMPLED: (f"{REPLAY}={{kind: generated, rows: 1, kl_weight: 0.0}}",),
                SAMPLED_KEPT: (f"{REPLAY}={{kind: generated, rows: 1, kl_weight: 0.25}}",),
                RATES: (ALONE, f"{PROTECTION}={{kind: metaplasticity}}"),
                FOLLOWED: (ALONE, f"{PROTECTION}={{kind: slow_follower}}"),
                FOLLOWED_REPLAYED: (f"{REPLAY}.kl_weight=0.0", f"{PROTECTION}={{kind: slow_follower}}"),
                ASLEEP: (ALONE, SLEEP),
                USED: (ALONE, "recipe.homeostasis={kind: usage}"),
            }.items()
        ),
    ]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: losses on the test parts of both texts, what was forgotten, and the time of a step."""
    before, after = "earlier, before", "earlier, after"
    header = ("while the later text is learned", before, after, "forgotten", "later", "later, relative", "step ×")
    return [header, *(_row(label, result, results[NOTHING]) for label, result in results.items())]


def findings(results: Mapping[str, Result]) -> list[str]:
    """The claims that the study was made for, in words with numbers."""
    return [
        f"{label}: {mean_and_spread(_forgotten(result))} nats a byte of the earlier text forgotten"
        + (f", the later text {_dearer(result, results[NOTHING]):+.1%}." if label != NOTHING else ".")
        for label, result in results.items()
    ]


def _row(label: str, result: Result, plain: Result) -> tuple[str, ...]:
    return (
        label,
        *(mean_and_spread(result.values(name)) for name in ("earlier_loss_before", "earlier_loss")),
        mean_and_spread(_forgotten(result)),
        mean_and_spread(result.values("later_loss")),
        "" if result is plain else f"{_dearer(result, plain):+.1%}",
        f"{median(map(slower, result.runs)) / median(map(slower, plain.runs)):.2f}",
    )


def _forgotten(result: Result) -> list[float]:
    pairs = zip(result.values("earlier_loss"), result.values("earlier_loss_before"), strict=True)
    return [after - before for after, before in pairs]


def _dearer(result: Result, plain: Result) -> float:
    """By which share the later text's loss is higher than without replay."""
    return fmean(result.values("later_loss")) / fmean(plain.values("later_loss")) - 1


def slower(run: Run) -> float:
    """How long a step on the later text takes, relative to one on the earlier text in the same run: medians."""
    objective = run.spec.recipe.objective
    assert isinstance(objective, Continual)
    timed = {int(row["step"]): float(row[TOKENS_PER_SECOND]) for row in run.metrics() if TOKENS_PER_SECOND in row}
    earlier, later = (
        [rate for step, rate in timed.items() if (step > objective.earlier_steps) == is_later]
        for is_later in (False, True)
    )
    return median(earlier) / median(later)
