"""What each memory of the stable CortexGPT is worth: on the text it was chosen on, on another text, and its record."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cortexzoo.harness.checking.records import Trials, WorthRecord, training_sum
from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_spread
from cortexzoo.specs import load_experiment
from cortexzoo.zoo.build import load_data

PAGE = "long-term-memory.md"
STABLE = "cortexgpt-stable"
MEMORIES = ("short_term", "long_term")
SOURCES = ("current", "short_term", "long_term")
WHOLE = "cortexgpt-stable"
LIBRARY = ("data=python-library",)
TWO_PARTS = ("data.validation_fraction=0.001",)
"""The last tenth tests and nearly all before it trains: the split before there were three parts."""


def _off(memory: str) -> tuple[str, ...]:
    return (f"variant.memory.{memory}={{kind: none}}",)


def cells() -> list[StudyCell]:
    """The runs that the study compares."""
    return [
        StudyCell(WHOLE, STABLE),
        *(StudyCell(_without(memory), STABLE, _off(memory)) for memory in MEMORIES),
        StudyCell("standard library", STABLE, LIBRARY),
        StudyCell("standard library, without long_term", STABLE, (*LIBRARY, *_off("long_term"))),
        StudyCell("split 90 / 10, one seed", STABLE, TWO_PARTS, at_most_seeds=1),
    ]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: test losses, with memories on and off, against counting; shares, and what a step costs."""
    header = ("run", "test", "long-term off", "best n-gram", "current / short / long", "ms a step")
    return [header, *(_row(label, result) for label, result in results.items())]


def findings(results: Mapping[str, Result]) -> list[str]:
    """What the study was made for, in words with numbers."""
    record = record_of(results)
    library = [results["standard library, without long_term"], results["standard library"]]
    worth = {memory: mean_and_spread(record.worth(memory)) for memory in MEMORIES}
    return [
        f"Long-term memory is worth {worth['long_term']} nats a byte against the same model trained without it, "
        f"short-term memory {worth['short_term']}.",
        f"With long-term memory switched off, the loss is {mean_and_spread(record.off('long_term'))} above that of the "
        "model that never had it.",
        f"On the standard library, on which nothing was chosen, it is worth {_apart(*library)}.",
    ]


def record_of(results: Mapping[str, Result]) -> WorthRecord:
    """What is committed, and what two properties read."""
    whole, experiment = results[WHOLE], load_experiment(STABLE)
    off = [run.summary["test_loss_disabled"] for run in whole.runs]
    return WorthRecord(
        training_sum(experiment),
        load_data(experiment).sha256,
        tuple(range(len(whole.runs))),
        tuple(whole.values("test_loss")),
        {
            memory: Trials(
                tuple(float(each[memory]) for each in off), tuple(results[_without(memory)].values("test_loss"))
            )
            for memory in MEMORIES
        },
    )


def write_record(results: Mapping[str, Result], folder: Path) -> None:
    """Commit it."""
    record_of(results).write(STABLE, folder)


def _without(memory: str) -> str:
    return f"without {memory}"


def _row(label: str, result: Result) -> tuple[str, ...]:
    off = [run.summary["test_loss_disabled"].get("long_term") for run in result.runs]
    return (
        label,
        mean_and_spread(result.values("test_loss")),
        "–" if None in off else mean_and_spread([float(loss) for loss in off if loss is not None]),
        f"{result.values('test_ngram_loss')[0]:.3f}",
        " / ".join(_share(result, source) for source in SOURCES),
        f"{_milliseconds(result):.0f}",
    )


def _share(result: Result, source: str) -> str:
    found = [run.summary["gate_shares"].get(source) for run in result.runs]
    return "–" if None in found else f"{min(share for share in found if share is not None):.3f}"


def _milliseconds(result: Result) -> float:
    """Of one step, the median of all seeds."""
    per_step: list[float] = [
        1000 * run.spec.recipe.batch_size * run.spec.recipe.sequence_length / run.summary["tokens_per_second"]
        for run in result.runs
    ]
    return sorted(per_step)[len(per_step) // 2]


def _apart(higher: Result, lower: Result) -> str:
    pairs: Sequence[tuple[float, float]] = list(zip(higher.values("test_loss"), lower.values("test_loss"), strict=True))
    return mean_and_spread([a - b for a, b in pairs])
