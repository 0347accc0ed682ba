"""What is forgotten of a text while another is learned, and what replay costs there."""

from collections.abc import Mapping
from statistics import fmean, median

from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_spread

STABLE = "cortexgpt-stable"
PAGE = "continual.md"
NOTHING, REPLAYED, KEPT = "nothing replayed", "2 of 8 rows replayed", "replayed, near the earlier self"
TEXTS = ("recipe=continual", "data=python-library", "data.source.first=a", "data.source.last=m")
REPLAY = "recipe.objective.replay"


def cells() -> list[StudyCell]:
    """The recipe, and the same with a part of its replay taken away."""
    return [
        StudyCell(NOTHING, STABLE, (*TEXTS, f"{REPLAY}={{kind: none}}")),
        StudyCell(REPLAYED, STABLE, (*TEXTS, f"{REPLAY}.kl_weight=0.0")),
        StudyCell(KEPT, STABLE, TEXTS),
    ]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: losses on the test parts of both texts, what was forgotten, and time."""
    header = ("while the later text is learned", "earlier, before", "earlier, after", "forgotten", "later", "time ×")
    return [header, *(_row(label, result, results[NOTHING]) for label, result in results.items())]


def findings(results: Mapping[str, Result]) -> list[str]:
    """The claims that the study was made for, in words with numbers."""
    return [
        f"{label}: {mean_and_spread(_forgotten(results[label]))} nats a byte of the earlier text forgotten"
        + (f", the later text {_dearer(results[label], results[NOTHING]):+.1%}." if label != NOTHING else ".")
        for label in (NOTHING, REPLAYED, KEPT)
    ]


def _row(label: str, result: Result, plain: Result) -> tuple[str, ...]:
    times = [mine / theirs for mine, theirs in zip(_seconds(result), _seconds(plain), strict=True)]
    return (
        label,
        *(mean_and_spread(result.values(name)) for name in ("earlier_loss_before", "earlier_loss")),
        mean_and_spread(_forgotten(result)),
        mean_and_spread(result.values("later_loss")),
        f"{median(times):.2f}",
    )


def _forgotten(result: Result) -> list[float]:
    pairs = zip(result.values("earlier_loss"), result.values("earlier_loss_before"), strict=True)
    return [after - before for after, before in pairs]


def _dearer(result: Result, plain: Result) -> float:
    """By which share the later text's loss is higher than without replay."""
    return fmean(result.values("later_loss")) / fmean(plain.values("later_loss")) - 1


def _seconds(result: Result) -> list[float]:
    """Of a training step; lower where fewer bytes are read in a second."""
    return [1 / rate for rate in result.values("tokens_per_second")]
