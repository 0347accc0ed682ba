"""What is forgotten of a text while another is learned, and what replay costs there."""

from collections.abc import Mapping
from statistics import fmean, median

from cortexzoo.harness.runs.run_folder import Run
from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_spread
from cortexzoo.specs.objective import Continual
from cortexzoo.specs.plasticity import UsageTargets
from cortexzoo.zoo.build import build_trainer
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.training.policies.homeostasis import usage_of
from cortexzoo.zoo.training.recorder import TOKENS_PER_SECOND

STABLE = "cortexgpt-stable"
PAGE = "continual.md"
NOTHING, REPLAYED, KEPT = "nothing replayed", "1 of 8 rows replayed", "replayed, near the earlier self"
SAMPLED, SAMPLED_KEPT = "1 of 8 rows generated", "generated, near the earlier self"
RATES = "metaplasticity"
FOLLOWED, FOLLOWED_REPLAYED = "complementary learners", "complementary learners, 1 of 8 rows replayed"
ASLEEP = "sleep and wake: 20 updates every 100 steps"
USED = "homeostasis"
NOTHING_SMALL, KEPT_SMALL = (f"half the room: {label}" for label in (NOTHING, KEPT))
NOTHING_ALONE, KEPT_ALONE, SAMPLED_ALONE = (f"no long-term memory: {each}" for each in (NOTHING, KEPT, SAMPLED_KEPT))
HOT, HOT_USED = "rate 0.3, no long-term memory", "rate 0.3, no long-term memory: homeostasis"
TEXTS = (
    "recipe=continual", "data=python-library", "data.source.first=a", "data.source.last=m",
    "recipe.monitor.validate_every=600", "recipe.monitor.validation_sequences=400",
)  # fmt: skip
"""Validation changes no weight; what is compared is measured at the end."""
HALF = "variant.memory.long_term.capacity=393216"
"""Long-term memory has no room for both texts."""
NO_LONG_TERM = "variant.memory.long_term={kind: none}"
RATE = ("recipe.optimizer.learning_rate=0.3", "recipe.spikes={kind: none}")
"""Sixty times the shipped one, where columns and sources are hardly used any more and the guard would end training."""
BASELINES = {KEPT_SMALL: NOTHING_SMALL, **dict.fromkeys((KEPT_ALONE, SAMPLED_ALONE), NOTHING_ALONE), HOT_USED: HOT}
"""What a cell is compared with, where that is not `NOTHING`."""
REPLAY, PROTECTION = "recipe.objective.replay", "recipe.objective.protection"
ALONE = f"{REPLAY}={{kind: none}}"
SLEEP = (
    "recipe.sleep={kind: replay, every: 100, steps: 20, learning_rate: 1.0e-3, batch_size: 8, reservoir: 1024, "
    "acceptance: {kind: always}}"
)


def cells() -> list[StudyCell]:
    """The recipe, the same with a part of its replay taken away, and what else might keep the earlier text."""
    sampled = f"{REPLAY}={{kind: generated, rows: 1, kl_weight: 0.25}}"
    homeostasis = "recipe.homeostasis={kind: usage}"
    return [
        StudyCell(NOTHING, STABLE, (*TEXTS, ALONE)),
        StudyCell(REPLAYED, STABLE, (*TEXTS, f"{REPLAY}.kl_weight=0.0")),
        StudyCell(KEPT, STABLE, TEXTS),
        *(
            StudyCell(label, STABLE, (*TEXTS, *changes))
            for label, changes in {
                SAMPLED: (f"{REPLAY}={{kind: generated, rows: 1, kl_weight: 0.0}}",),
                SAMPLED_KEPT: (sampled,),
                RATES: (ALONE, f"{PROTECTION}={{kind: metaplasticity}}"),
                FOLLOWED: (ALONE, f"{PROTECTION}={{kind: slow_follower}}"),
                FOLLOWED_REPLAYED: (f"{REPLAY}.kl_weight=0.0", f"{PROTECTION}={{kind: slow_follower}}"),
                ASLEEP: (ALONE, SLEEP),
                USED: (ALONE, homeostasis),
            }.items()
        ),
        StudyCell(NOTHING_SMALL, STABLE, (*TEXTS, HALF, ALONE)),
        StudyCell(KEPT_SMALL, STABLE, (*TEXTS, HALF)),
        StudyCell(NOTHING_ALONE, STABLE, (*TEXTS, NO_LONG_TERM, ALONE)),
        StudyCell(KEPT_ALONE, STABLE, (*TEXTS, NO_LONG_TERM)),
        StudyCell(SAMPLED_ALONE, STABLE, (*TEXTS, NO_LONG_TERM, sampled)),
        StudyCell(HOT, STABLE, (*TEXTS, NO_LONG_TERM, ALONE, *RATE)),
        StudyCell(HOT_USED, STABLE, (*TEXTS, NO_LONG_TERM, ALONE, *RATE, homeostasis)),
    ]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: losses on the test parts of both texts, what was forgotten, and the time of a step."""
    before, after = "earlier, before", "earlier, after"
    header = ("while the later text is learned", before, after, "forgotten", "later", "later, relative", "step ×")
    return [header, *(_row(label, result, _baseline(results, label)) for label, result in results.items())]


def findings(results: Mapping[str, Result]) -> list[str]:
    """The claims that the study was made for, in words with numbers."""
    forgotten = [_finding(label, results[label], _baseline(results, label)) for label in (NOTHING, KEPT)]
    used = [f"{label}: {usage(results[label])}." for label in (HOT, HOT_USED) if label in results]
    return forgotten + used


def usage(result: Result) -> str:
    """How many columns and gate sources a cell's last models hardly use, on validation windows."""
    found = []
    for run in result.runs:
        model, state = run.load_model("last")
        assert isinstance(model, CortexGPT) and isinstance(state, CortexGPTState)
        tokens = build_trainer(run.spec).objective.probe().tokens[:, :-1]
        found.append(usage_of(model, tokens, model.between_batches(state, len(tokens))))
    below = [int((used.columns < UsageTargets().columns).sum()) for used in found]
    least = [float(used.sources.nan_to_num(1.0).min()) for used in found]
    return (
        f"{mean_and_spread(below, 1)} of {len(found[0].columns)} columns have a mean mask below "
        f"{UsageTargets().columns:g}, and the least used source a share of {mean_and_spread(least)}"
    )


def _baseline(results: Mapping[str, Result], label: str) -> Result:
    return results[BASELINES.get(label, label if label in BASELINES.values() else NOTHING)]


def _finding(label: str, result: Result, plain: Result) -> str:
    forgotten = f"{label}: {mean_and_spread(_forgotten(result))} nats a byte of the earlier text forgotten"
    return f"{forgotten}." if result is plain else f"{forgotten}, the later text {_dearer(result, plain):+.1%}."


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
