"""Measuring is whole, in evaluation mode and without a trace, and the best checkpoint is that of the best measure."""

import copy
import math
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from cortexzoo.harness.checking.properties.base import (
    Case,
    Finding,
    Property,
    largest_difference,
    number,
    once,
    text,
)
from cortexzoo.harness.checking.properties.trainer import everything
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.evaluated_again import of_all_but_the_loss, of_sleeps
from cortexzoo.harness.checking.training.passes import Passes, wrong_passes
from cortexzoo.harness.checking.training.roles import LENGTH
from cortexzoo.harness.checking.training.surroundings import region
from cortexzoo.harness.checking.training.text_kept import of_written_text
from cortexzoo.harness.checking.training.tokens_measured import of_tokens
from cortexzoo.harness.checking.training.witness import (
    Look,
    OneAsleep,
    Record,
    append,
    brief,
    data_of,
    measured,
    on_a_tiny_model,
    trainer_of,
)
from cortexzoo.specs import ExperimentSpec, recipe
from cortexzoo.specs.objective import Recall
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.models.interface import MemoryState
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import HeldOutScore, Step, Trainer

STEPS = 4
ROWS = 3
GAPS = (0, 1, 2)
RISING = {"optimizer": recipe.AdamWSpec(learning_rate=0.03), "schedule": recipe.Constant()}
"""So that losses rise and fall."""
LARGEST = "stability/max_attention_logit"
SCORES = (3.0, math.nan, 2.0, 1.0, 2.5, 1.0, math.nan, math.inf, 1.5)
"""Scripted held-out losses: the best is neither first nor last, a tie keeps the first, NaN and infinity never win."""


def whole_cases(subject: Subject) -> Iterable[Case]:
    """All held-out windows, some of them, and a few that the memory keeps, batch after batch."""
    yield {"sequences": "all"}
    yield {"sequences": "some"}
    if subject.task is None:
        yield {"sequences": "written"}
        yield {"sequences": "beside the loss"}
    yield {"sequences": "asleep"}
    for of in ("tokens", "documents"):
        for most in (0, 5):
            yield {"sequences": of, "most": most}


def held_out_is_measured_whole(subject: Subject, case: Case) -> Finding:
    """Every reported held-out and probe loss against the loss over the same examples, measured by the harness.

    So is the largest attention logit of the probe batch, where the model gives it. Of a task each gap has its stage,
    and the first one alone is trained on.
    """
    if text(case, "sequences") == "written":
        reported, again = of_written_text(subject, ROWS)
        reason = f"text that the memory keeps has a loss of {reported:.6f}, measured again {again:.6f}"
        return Finding(abs(reported - again) / again, reason, case)
    if "most" in case or text(case, "sequences") in ("beside the loss", "asleep"):
        if text(case, "sequences") == "asleep":
            figures = of_sleeps(subject.experiment)
        elif "most" in case:
            in_documents = text(case, "sequences") == "documents"
            figures = of_tokens(subject.experiment, ROWS, number(case, "most") or None, in_documents)
        else:
            figures = of_all_but_the_loss(subject, ROWS)
        name, reported, again = max(figures, key=lambda one: _relative(*one[1:]))
        return Finding(_relative(reported, again), f"{name} is {reported:.6f}, measured again {again:.6f}", case)
    some = 5 if text(case, "sequences") == "some" else None
    data = data_of(subject.experiment)
    halved = {"precision": "bf16"} if some is not None and isinstance(data, TextData) else {}
    changes: dict[str, Any] = {"batch_size": ROWS, "consolidation": recipe.EveryInterval(every=1), **RISING, **halved}
    experiment = measured(
        brief(subject.experiment, STEPS, **changes),
        validate_every=2, probe_every=1, validation_sequences=2 if isinstance(data, TaskData) else some,
    )  # fmt: skip
    if isinstance(data, TaskData):
        experiment = _in_two_stages(experiment)
    record, passes = Record(), Passes()
    trainer = trainer_of(experiment, record)
    data = data_of(experiment)  # of a task: with short gaps
    wanted: dict[tuple[str, int], float] = {}

    def look(_: Trainer, step: Step) -> None:
        now = len(passes.seen)
        if step.number % 2 == 0:
            wanted["validation/loss", step.number] = _held_out_loss(trainer, data, some)
        wanted["probe/loss", step.number], largest = _probed(trainer, data)
        wanted.update({(name, step.number): value for name, value in largest.items()})
        del passes.seen[now:]

    append(trainer, [Look(look)])
    hook = trainer.model.register_forward_pre_hook(passes)
    try:
        trainer.run()
    except Exception as problem:
        return Finding(math.inf, f"training gave up ({problem})", case)
    finally:
        hook.remove()
    wrong = [] if not isinstance(data, TextData) else wrong_passes(passes, data, some)
    if wrong:
        return Finding(math.inf, "; ".join(wrong[:3]), {**case, "first": wrong[0]})
    apart = {}
    for (metric, step), loss in wanted.items():
        reported = record.steps.get(step, {}).get(metric, math.nan)
        difference = abs(reported - loss) / (max(1.0, abs(loss)) if metric == LARGEST else loss)
        apart[metric, step] = (math.inf if math.isnan(difference) else difference, reported, loss)
    (metric, step), (worst, reported, loss) = max(apart.items(), key=lambda entry: entry[1][0])
    reason = f"{metric} of step {step} is {reported:.6f}, measured again {loss:.6f}"
    return Finding(worst, reason, case)


def _relative(reported: float, again: float) -> float:
    return math.inf if math.isnan(reported) else abs(reported - again) / again


def _in_two_stages(experiment: ExperimentSpec) -> ExperimentSpec:
    """Gaps 0 and 1, then 2 chunks; nothing is learnt so well in a few steps that the second one begins."""
    objective = experiment.recipe.objective
    assert isinstance(objective, Recall)
    stages = tuple(objective.stages[0].model_copy(update={"gaps": gap}) for gap in ((0, 1), (2,)))
    changed = objective.model_copy(update={"stages": stages})
    return experiment.model_copy(update={"recipe": experiment.recipe.model_copy(update={"objective": changed})})


@torch.no_grad()
def _held_out_loss(trainer: TrainingLoop, data: TextData | TaskData, some: int | None) -> float:
    """Nats a target over all examples, after the step that is over."""
    model = copy.deepcopy(trainer.model).eval()
    if isinstance(data, TaskData):
        return sum(_of_answers(trainer, model, data, gap, 2, model.initial_state(2))[0] for gap in GAPS) / len(GAPS)
    windows = (len(data.validation) - 1) // LENGTH
    chosen = range(windows) if some is None else [int((i + 0.5) * windows / some) for i in range(some)]
    return _of_text(trainer, model, data, [place * LENGTH for place in chosen])[0]


@torch.no_grad()
def _probed(trainer: TrainingLoop, data: TextData | TaskData) -> tuple[float, dict[str, float]]:
    """Nats a target of the probe batch, and the largest attention logit where the model gives it."""
    model = copy.deepcopy(trainer.model).eval()
    if isinstance(data, TaskData):
        begun = model.between_batches(trainer.memory, ROWS)
        loss, readings = _of_answers(trainer, model, data, 1, ROWS, begun)
    else:
        windows = (len(data.validation) - 1) // LENGTH
        loss, readings = _of_text(
            trainer, model, data, [int((i + 0.5) * windows / ROWS) * LENGTH for i in range(ROWS)]
        )  # fmt: skip
    return loss, {LARGEST: float(readings[LARGEST])} if LARGEST in readings else {}


def _of_text(trainer: TrainingLoop, model: Any, data: TextData, starts: Sequence[int]) -> tuple[float, Any]:
    """Nats a target, and the readings of the last rows."""
    total, readings = torch.zeros((), dtype=torch.float64), {}
    for first in range(0, len(starts), ROWS):
        rows = [data.validation[start : start + LENGTH + 1].tolist() for start in starts[first : first + ROWS]]
        tokens = torch.tensor(rows, device=trainer.device)
        with region(trainer.device, trainer.precision):
            output = model(tokens[:, :-1], model.between_batches(trainer.memory, len(rows)))
        chances = output.logits.double().log_softmax(-1).gather(-1, tokens[:, 1:, None])
        total -= chances.sum().cpu()
        readings = output.readings
    return float(total) / (len(starts) * LENGTH), readings


def _of_answers(
    trainer: TrainingLoop, model: Any, data: TaskData, gap: int, documents: int, state: MemoryState
) -> tuple[float, Any]:
    batch = data.task.batch("validation", range(documents), gap).to(trainer.device)
    with region(trainer.device, trainer.precision):
        output = model.logits_at(batch.inputs, batch.mask, state)
    loss = F.cross_entropy(output.logits.double(), batch.tokens[:, 1:][batch.mask])
    return float(loss), output.readings


def measuring_changes_nothing(subject: Subject, case: Case) -> Finding:
    """Two trainings, one of which measures and saves after every step: weights, moments, memory, random numbers.

    And the mode of a module that is in evaluation mode while the others are trained.
    """
    experiment = brief(subject.experiment, STEPS, consolidation=recipe.EveryInterval(every=2))
    often = measured(
        experiment, probe_every=1, validate_every=1, checkpoint_every=1, keep_last=2, validation_sequences=3
    )
    quiet = trainer_of(experiment, Record(), OneAsleep())
    with tempfile.TemporaryDirectory() as folder:
        asleep = OneAsleep()
        busy = trainer_of(often, Record(), asleep, checkpoints=Path(folder))
        quiet.run()
        busy.run()
    one, other = _all_of(quiet), _all_of(busy)
    apart = [n for n in one if n not in other or largest_difference(one[n], other[n])]
    apart += [f"the mode of one module before step {step}" for step in asleep.awake]
    if not apart:
        return Finding(0, f"{STEPS} steps, measured or not, give the same bits", case)
    reason = f"{', '.join(apart[:3])} differ where training is measured" + f", {len(apart)} in all" * (len(apart) > 3)
    return Finding(len(apart), reason, {**case, "first": apart[0]})


def _all_of(trainer: TrainingLoop) -> dict[str, Tensor]:
    return everything(trainer) | {f"random state {n}": t for n, t in trainer.random_state().items()}


def best_is_the_best(subject: Subject, case: Case) -> Finding:
    """Scripted held-out losses: which step is named the best, and which weights its checkpoint has."""
    steps = len(SCORES)
    experiment = measured(brief(on_a_tiny_model(subject.experiment), steps), validate_every=1)
    weights: dict[int, dict[str, Tensor]] = {}
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(experiment, record := Record(), checkpoints=Path(folder))
        trainer.objective.held_out = lambda _: _scored(len(weights))  # type: ignore[method-assign, assignment]

        def look(_: Trainer, step: Step) -> None:
            weights[step.number] = {n: t.detach().cpu().clone() for n, t in trainer.model.state_dict().items()}

        append(trainer, [Look(look)])
        result = trainer.run()
        recorded = [record.steps[step + 1].get("validation/recall") for step in range(steps)]
        files = {which: Path(folder) / which / "model.safetensors" for which in ("best", "last")}
        saved = {which: load_file(file) for which, file in files.items() if file.exists()}
    lowest = min(score for score in SCORES if math.isfinite(score))
    best = SCORES.index(lowest) + 1
    wanted: dict[str, Any] = {
        "best step": best,
        "lowest loss": lowest,
        "last loss": SCORES[-1],
        "best": best,
        "last": steps,
        "shares of the gate": {f"memory {steps - 1}": float(steps - 1)},
        "recall": [step / steps for step in range(steps)],
    }
    found: dict[str, Any] = {
        "best step": result.best_step, "lowest loss": result.best_validation_loss, "last loss": result.validation_loss,
        "shares of the gate": result.gate_shares, "recall": recorded,
        **{which: _step_of(saved[which], weights) if which in saved else None for which in files},
    }  # fmt: skip
    wrong = [f"{what}: {found[what]}, should be {value}" for what, value in wanted.items() if found[what] != value]
    if not wrong:
        return Finding(0, f"of {steps} scripted losses the lowest is the best, and its weights are saved", case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0].partition(":")[0]})


def _scored(number: int) -> HeldOutScore:
    """Of which the last is reported, and recall with each."""
    return HeldOutScore(SCORES[number], number / len(SCORES), {f"memory {number}": float(number)})


def _step_of(saved: dict[str, Tensor], weights: dict[int, dict[str, Tensor]]) -> int | None:
    """The step whose weights a checkpoint has."""
    same = (s for s, then in weights.items() if all(n in then and torch.equal(t, then[n]) for n, t in saved.items()))
    return next(same, None)


MEASURING = (
    Property("held_out_is_measured_whole", held_out_is_measured_whole, whole_cases),
    Property("measuring_changes_nothing", measuring_changes_nothing, once),
    Property("best_is_the_best", best_is_the_best, once),
)
