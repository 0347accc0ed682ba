"""Trained on a memory task: gradients cross the chunks, the memory answers, and drift is reported as it is."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, number, once
from cortexzoo.harness.checking.properties.hybrid import base_logits, hybrid_of
from cortexzoo.harness.checking.properties.isolation import embedded_vectors
from cortexzoo.harness.checking.properties.trainer import Log, short, trainer_of
from cortexzoo.harness.checking.subject import Model, Subject
from cortexzoo.harness.checking.training.surroundings import region
from cortexzoo.specs.objective import Recall
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.tasks.document import Ints
from cortexzoo.zoo.data.tasks.recall_measure import chance_levels, recall_at
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.training.objectives.recall_objective import MEMORY

GAP = "curriculum/gap"
DOCUMENTS = 8
APART = 0.1
"""Share of the answers by which the memory must beat its controls."""
LOGITS_AT_ONCE = 2**25
"""Of one call: a base's own vocabulary may have 50,000 tokens."""
ROWS = 2
DRIFT_STEPS, DRIFT_WINDOWS = 4, 9
"""An epoch: two gaps with two documents each."""
SMALL = 1e-2
"""A divergence below this many nats is compared with this: float32 is no more precise."""


def task_of(subject: Subject) -> Task:
    """Raises `DoesNotApply` when the model was trained on text."""
    if subject.task is None or not isinstance(subject.experiment.recipe.objective, Recall):
        raise DoesNotApply("the data is a text, without facts and answers")
    return subject.task


def gap_cases(subject: Subject) -> Iterable[Case]:
    """The smallest gap of the recipe that parts facts and questions by a chunk."""
    task = task_of(subject)
    gaps = sorted(gap for gap in trained_gaps(subject) if task.gap_tokens(gap) >= task.chunk_size)
    if not gaps:
        raise DoesNotApply("no gap that it is trained on is as long as a chunk")
    yield {"gap": gaps[0]}


def trained_gaps(subject: Subject) -> set[int]:
    """All gaps of the recipe."""
    objective = subject.experiment.recipe.objective
    return {gap for stage in objective.stages for gap in stage.gaps} if isinstance(objective, Recall) else set()


def gradients_reach_the_facts(subject: Subject, case: Case) -> Finding:
    """Differentiate the objective's own loss of some documents by their facts, chunks before the questions."""
    task, gap = task_of(subject), number(case, "gap")
    model = subject.copy().train()
    if not model.state_carries_gradient:
        raise DoesNotApply("its memory carries no gradient from call to call")
    objective = trainer_of(short(subject.experiment), Log()).objective
    batch = task.batch("train", range(ROWS), gap)
    with torch.random.fork_rng(devices=[]), embedded_vectors(model) as embedded:
        torch.manual_seed(0)
        loss, _ = objective.loss(model, batch.tokens, batch.mask, model.initial_state(ROWS), 0)
        loss.backward()
    calls = [torch.zeros_like(vectors) if vectors.grad is None else vectors.grad for vectors in embedded]
    gradient = torch.cat([call.reshape(ROWS, -1, call.shape[-1]) for call in calls], dim=1)
    unreached = 0
    for row in range(ROWS):
        start, facts = task.example("train", row, gap).placed[0]
        unreached += not bool(gradient[row, start : start + len(facts)].any())
    reason = f"{unreached} of {ROWS} documents have no gradient at their facts, {task.gap_tokens(gap)} tokens away"
    return Finding(unreached, reason, case)


def reached_gaps(subject: Subject) -> set[int]:
    """The gaps that training came to. Raises `DoesNotApply` where there are none."""
    seen = {int(line[GAP]) for line in subject.metrics if GAP in line}
    if not seen:
        raise DoesNotApply("training ended before its first step")
    return seen


def recall_beats_controls(subject: Subject, case: Case) -> Finding:
    """Whole answers right at the longest gap that training came to; minus those of a control that comes near."""
    task, model = task_of(subject), subject.copy()
    gap, off = max(reached_gaps(subject)), {MEMORY} if MEMORY in model.switches else set(model.switches)
    recalled = answered(model, task, gap)
    controls = {"chance": chance_levels([task])[task.name]}
    if off:
        controls["memory off"] = answered(model, task, gap, off)
    best = max(controls, key=lambda name: controls[name])
    over = f"over a gap of {task.gap_tokens(gap)} tokens"
    reason = f"{recalled:.1%} of the answers right {over}, {best} {controls[best]:.1%}"
    beaten = recalled - controls[best] >= APART
    return Finding(recalled if beaten else recalled - controls[best], reason, {**case, "gap": gap})


def answered(model: Model, task: Task, gap: int, disabled: Collection[str] = (), documents: int = DOCUMENTS) -> float:
    """The share of whole answers that are right, over some documents that nothing was trained on."""

    def predict(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        output = model(tokens, state, disabled)
        return output.logits, output.state

    at_once = max(1, LOGITS_AT_ONCE // (documents * task.chunk_size * model.vocab_size))
    size, receptive_field = at_once * task.chunk_size, model.receptive_field(disabled)
    return recall_at(
        task, predict, gap, documents=documents, chunk_size=size, receptive_field=receptive_field
    ).accuracy.exact


class DriftLog(Log):
    """Records the reported drift."""

    def __init__(self) -> None:
        super().__init__()
        self.reported: list[Mapping[str, object]] = []

    def event(self, step: int, kind: str, detail: Mapping[str, object]) -> None:
        """Keep drift."""
        if kind == "drift":
            self.reported.append(detail)


def drift_is_measured(subject: Subject, case: Case) -> Finding:
    """Train an epoch of a few steps: the reports before and after it, against values computed one by one."""
    if not hybrid_of(subject).has_frozen_base:
        raise DoesNotApply("the base learns too: there is nothing to drift from")
    task_of(subject)
    experiment, log = short(subject.experiment), DriftLog()
    objective = experiment.recipe.objective
    assert isinstance(objective, Recall)
    objective = objective.model_copy(update={"drift": objective.drift.model_copy(update={"sequences": DRIFT_WINDOWS})})
    recipe = experiment.recipe.model_copy(update={"steps": DRIFT_STEPS, "objective": objective})
    experiment = experiment.model_copy(update={"recipe": recipe})
    trainer, data = trainer_of(experiment, log), load_data(experiment)
    assert isinstance(data, TaskData) and isinstance(trainer.model, Hybrid)
    if data.text is None:
        raise DoesNotApply("its vocabulary cannot spell a text to measure drift on")
    texts = _windows(data.held_out_tokens(), objective.drift.sequences, recipe.sequence_length).to(trainer.device)
    cast = region(trainer.device, trainer.precision)
    before = _drift(trainer.model, texts, cast)
    trainer.run()
    after = _drift(trainer.model, texts, cast)
    if len(log.reported) < 2:
        return Finding(math.inf, f"drift was reported {len(log.reported)} times, not twice", case)
    apart = {
        f"{name} {when}": abs(float(str(reported[name])) - value) / max(abs(value), SMALL)
        for when, reported, values in (
            ("before training", log.reported[0], before),
            ("after it", log.reported[-1], after),
        )
        for name, value in values.items()
    }
    worst = max(apart, key=lambda name: apart[name])
    reason = f"{worst} is reported with a relative error of {apart[worst]:.2g}"
    return Finding(apart[worst], reason, {**case, "what": worst})


def _windows(text: Ints, count: int, length: int) -> Tensor:
    """So many of the windows that stand one behind the other, evenly spread; each with its last target."""
    every = (len(text) - 1) // length
    chosen = range(every) if every <= count else [int((i + 0.5) * every / count) for i in range(count)]
    return torch.stack([torch.from_numpy(text[at * length : (at + 1) * length + 1]) for at in chosen])


@torch.no_grad()
def _drift(model: Hybrid, texts: Tensor, cast: torch.autocast) -> dict[str, float]:
    """The required content of a drift event, in double precision."""
    model.eval()
    chunk, inputs, targets = model.spec.chunk_size, texts[:, :-1], texts[:, 1:]
    with cast:
        logits = base_logits(model.base, inputs, chunk), model(inputs).logits
    base, ours = (each.double().log_softmax(-1) for each in logits)
    model.train()
    losses = [-float(scores.gather(-1, targets[..., None]).mean()) for scores in (ours, base)]
    divergence = float((base.exp() * (base - ours)).sum(-1).mean())
    return {"perplexity": math.exp(losses[0]), "base_perplexity": math.exp(losses[1]), "hidden_kl": divergence}


RECALL = (
    Property("gradients_reach_the_facts", gradients_reach_the_facts, gap_cases),
    Property("recall_beats_controls", recall_beats_controls, once),
    Property("drift_is_measured", drift_is_measured, once),
)
