"""What `train` prints before and after training."""

from typing import Any

from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.data import MixtureSpec, TextSpec
from cortexzoo.specs.objective import Recall
from cortexzoo.specs.task import TaskSpec


def intention(experiment: ExperimentSpec) -> str:
    """One line: size, steps, recipe and seed."""
    from cortexzoo.zoo.costs import parameter_count

    recipe = experiment.recipe
    size = f"{parameter_count(experiment.variant):,} parameters"
    rows = recipe.batch_size * recipe.accumulation
    if isinstance(recipe.objective, Recall) and isinstance(experiment.data, TaskSpec):
        longest = max(gap for stage in recipe.objective.stages for gap in stage.gaps)
        unit = experiment.data.gap_unit[:-1] if longest == 1 else experiment.data.gap_unit
        work = f"{recipe.steps} steps of up to {rows} documents with gaps up to {longest} {unit}"
    else:
        work = f"{recipe.steps} steps of {rows} × {recipe.sequence_length} {_unit(experiment)}s"
    return f"{experiment.name}: {size}, {work}, recipe {recipe.name}, seed {experiment.seed}"


def _unit(experiment: ExperimentSpec) -> str:
    data = experiment.data
    return "byte" if isinstance(data, TextSpec | MixtureSpec) and data.vocabulary.kind == "bytes" else "token"


def _counted(summary: dict[str, Any]) -> str:
    """What counting models counted, where that is not the whole training part."""
    counted = summary.get("counted_bytes")
    return "" if counted is None else f" (in the first {counted / 1e6:.0f} MB)"


def result(summary: dict[str, Any]) -> str:
    """The held-out loss in words, against what counting reaches; of a task, what was recalled over which gap."""
    loss, counting, test = (summary.get(key) for key in ("best_validation_loss", "test_ngram_loss", "test_loss"))
    speed = f"{summary['tokens_per_second']:,.0f} tokens a second, {summary['seconds']:.0f} s in all"
    if summary.get("recall"):
        return f"{_recalled(summary)} ({speed})"
    if loss is None:
        return "the validation loss was never measured"
    if counting is None or test is None:
        return f"held out: {loss:.3f} nats a token ({speed})"
    counted = f"counting {summary['test_ngram_order']} bytes at a time{_counted(summary)}"
    return (
        f"test part: {test:.3f} nats a byte; {counted} reaches "
        f"{counting:.3f}: {'below' if test < counting else 'not below'} it; validation part: {loss:.3f} ({speed})"
    )


def _recalled(summary: dict[str, Any]) -> str:
    """Right answers by gap, beside those of the controls."""
    (task, by_gap), *_ = summary["recall"].items()
    recalled = ", ".join(f"{share:.1%} at {gap}" for gap, share in by_gap.items())
    if summary.get("recall_by_filler"):
        recalled += "; " + ", ".join(_worst_fillers(summary["recall_by_filler"][task]))
    controls = {"memory off": summary["recall_memory_off"], "base alone": summary["recall_base"]}
    beside = [f"{name} {max(found[task].values()):.1%}" for name, found in controls.items() if found]
    chance = f"chance {summary['chance'][task]:.2g}"
    text = ""
    if summary.get("perplexity") is not None:
        text = f"; plain text: perplexity {summary['perplexity']:.2f}, the base's {summary['base_perplexity']:.2f}"
    return f"answers right by gap: {recalled}; at most {', '.join([*beside, chance])}{text}"


def _worst_fillers(by_gap: dict[str, dict[str, float]]) -> list[str]:
    """The worst filler at each gap."""
    worst = {gap: min((share, kind) for kind, share in shares.items()) for gap, shares in by_gap.items()}
    return [f"with {kind} {share:.1%} at {gap}" for gap, (share, kind) in worst.items()]
