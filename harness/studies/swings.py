"""How far the loss swings: original against stable on the same data, steps and rates, with and without warmup."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from cortexzoo.harness.runs.colours import BLUE, RED
from cortexzoo.harness.runs.curves import series
from cortexzoo.harness.studies.cells import Result, StudyCell, mean_and_spread

PAGE = "results.md"
STEPS = 300
RATES = (3e-4, 1e-3, 1e-2)
SHAPES = {"B 8, T 128": (8, 128), "B 4, T 32": (4, 32)}
WARMUPS = {"no warmup": 0.0, "10 % warmup": 0.1}
VARIANTS = {"cortexgpt-original": RED, "cortexgpt-stable": BLUE}


def cells() -> list[StudyCell]:
    """Every variant at every rate, shape and warmup, with the same recipe besides."""
    return [
        StudyCell(
            f"{variant}, {shape}, {warmup}, rate {rate:g}",
            variant,
            (
                "recipe=robust",
                f"recipe.steps={STEPS}",
                f"recipe.batch_size={batch}",
                f"recipe.sequence_length={length}",
                f"recipe.schedule.warmup_ratio={ratio}",
                f"recipe.optimizer.learning_rate={rate:g}",
                "recipe.monitor.validation_sequences=64",
            ),
        )
        for variant in VARIANTS
        for shape, (batch, length) in SHAPES.items()
        for warmup, ratio in WARMUPS.items()
        for rate in RATES
    ]


def table(results: Mapping[str, Result]) -> list[tuple[str, ...]]:
    """Header and rows: the largest swing over seeds, upward on the probe batch and raw, and the highest loss seen."""
    header = ("run", "upward ratio, each seed", "raw max/min, each seed", "highest training loss", "held-out loss")
    return [header, *(_row(label, result) for label, result in results.items())]


def findings(results: Mapping[str, Result]) -> list[str]:
    """Where the original swings, and whether the stable one ever does."""
    worst = {
        variant: max(
            (result for label, result in results.items() if label.startswith(variant)),
            key=lambda result: max(result.values("loss_ratio")),
        )
        for variant in VARIANTS
    }
    swinging = [
        label.removeprefix("cortexgpt-original, ")
        for label, result in results.items()
        if label.startswith("cortexgpt-original") and max(result.values("loss_ratio")) >= 1.5
    ]
    lines = [
        f"The largest upward swing of {variant} over all settings and seeds is "
        f"{max(result.values('loss_ratio')):.2f} ({result.cell.label})."
        for variant, result in worst.items()
    ]
    where = "; ".join(swinging) if swinging else "nowhere"
    return [*lines, f"The original swings by 1.5 or more in {len(swinging)} of {len(results) // 2} settings: {where}."]


def draw(results: Mapping[str, Result], path: Path) -> None:
    """Probe loss over steps, both variants in one panel for each setting."""
    rows = [(shape, warmup) for shape in SHAPES for warmup in WARMUPS]
    figure = Figure(figsize=(12, 2.4 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), len(RATES), sharex=True, squeeze=False)
    for row, (shape, warmup) in enumerate(rows):
        for column, rate in enumerate(RATES):
            panel = axes[row][column]
            panel.set_title(f"{shape}, {warmup}, rate {rate:g}", fontsize=8, loc="left")
            panel.grid(alpha=0.25)
            panel.set_yscale("log")
            for variant, colour in VARIANTS.items():
                for index, run in enumerate(results[f"{variant}, {shape}, {warmup}, rate {rate:g}"].runs):
                    metrics = run.metrics()
                    panel.plot(*series(metrics, "train/loss"), color=colour, alpha=0.15, linewidth=0.6)
                    name = variant if index == 0 else None
                    panel.plot(*series(metrics, "probe/loss"), color=colour, linewidth=1.2, label=name)
    axes[0][0].legend(frameon=False, fontsize=8)
    figure.supxlabel("optimiser step", fontsize=9)
    figure.supylabel("nats a byte: thin training batch, thick probe batch", fontsize=9)
    figure.savefig(path, dpi=90)


def _row(label: str, result: Result) -> tuple[str, ...]:
    highest = max(float(line["train/loss"]) for run in result.runs for line in run.metrics())
    return (
        label,
        " / ".join(f"{ratio:.2f}" for ratio in result.values("loss_ratio")),
        " / ".join(f"{ratio:.2f}" for ratio in result.values("raw_loss_ratio")),
        f"{highest:.1f}",
        mean_and_spread(result.values("best_validation_loss"), digits=2),
    )
