"""Training on facts: when stages end, how many documents a step has, and what is added to the loss of their answers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.properties.base import (
    Case,
    DoesNotApply,
    Finding,
    Property,
    largest_difference,
    number,
    text,
)
from cortexzoo.harness.checking.properties.conclusions import wrong_conclusions
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.gradients_again import wrong_flow
from cortexzoo.harness.checking.training.recall_again import counted_again, of_one_answer
from cortexzoo.harness.checking.training.stages_again import Heard, stages_again
from cortexzoo.harness.checking.training.told_again import orders_of_gaps, resumed_with_fewer_stages, told_of_drift
from cortexzoo.harness.checking.training.witness import Record, brief, in_float32, trainer_of
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.hybrid import HybridSpec
from cortexzoo.specs.objective import InChunkDivergence, InChunkSamples, InChunkSpec, NoInChunkGuard, Recall, Stage
from cortexzoo.specs.task import KeyValue, TaskSpec
from cortexzoo.zoo.build import load_data
from cortexzoo.zoo.data.order import TrainingOrder
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.tasks.build import build_task
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.memory.short_term import ShortTermMemory
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.objectives.build import build_objective
from cortexzoo.zoo.training.objectives.curriculum import RIGHT
from cortexzoo.zoo.training.objectives.recall_objective import GUARDED, RecallObjective
from cortexzoo.zoo.training.policies.base import Step

TRAINS = 0.9
"""Of plain text; drift is measured on the rest."""
ROWS, PARTS, PIECES = 5, 2, 1
SPELLED = TaskSpec(
    name="spelled", task=KeyValue(num_pairs=3, key_length=1, value_length=2, num_queries=2), vocabulary="own",
    chunk_size=8, gaps=(0, 2),
)  # fmt: skip
"""With answers of two tokens, of which a predictor may know one."""
ROUNDING, LEAST = 1e-4, 0.01
"""Relative to what is wanted, or to `LEAST`: logits of a whole document and of its pieces."""
GUARDS: dict[str, InChunkSpec] = {
    "none": NoInChunkGuard(),
    "samples": InChunkSamples(weight=0.5, documents=3),
    "kl": InChunkDivergence(weight=2.0, sequences=3),
}


def recall_training_cases(subject: Subject) -> Iterable[Case]:
    """Scripts of right answers, answers counted again, what is concluded, and steps with each guard of the base."""
    for seed in range(6):
        yield {"of": "stages", "seed": seed}
    yield {"of": "answers", "seed": 0}
    yield {"of": "conclusions", "seed": 0}
    # Without a frozen base there is nothing to stay near, and no text is written in a task's own tokens.
    can_diverge = subject.model.has_frozen_base and getattr(subject.experiment.data, "vocabulary", None) != "own"
    for guard in GUARDS:
        if guard != "kl" or can_diverge:
            yield {"of": guard, "seed": 0}


def recall_is_trained_as_specified(subject: Subject, case: Case) -> Finding:
    """Stages against a second account of a script, steps against losses of the model's own logits, answers counted."""
    if not isinstance(subject.experiment.recipe.objective, Recall):
        raise DoesNotApply("the objective is not recall")
    of, seed = text(case, "of"), number(case, "seed")
    if of == "stages":
        wrong = stages_again(seed) + (
            [*orders_of_gaps(), *told_of_drift(), *resumed_with_fewer_stages()] if seed == 0 else []
        )
    elif of == "answers":
        wrong = counted_again(trainer_of(brief(subject.experiment, 1), Record()).objective.task)  # type: ignore[attr-defined]
        wrong += counted_again(build_task(SPELLED)) + of_one_answer()
    elif of == "conclusions":
        wrong = wrong_conclusions(subject.experiment)
    else:
        wrong = _steps(subject.experiment, GUARDS[of])
    if not wrong:
        return Finding(0, "stages, documents, losses and answers are those of the spec", case)
    return Finding(len(wrong), "; ".join(wrong[:3]), {**case, "first": wrong[0]})


def _of_documents(experiment: ExperimentSpec, guard: InChunkSpec) -> ExperimentSpec:
    """One step in two parts, with room for two documents of a part, read a chunk at a time.

    In float32: bfloat16 rounds sums of chunks and of whole documents differently. With a guard activations are computed
    again, where that is possible.
    """
    small = brief(in_float32(experiment), 1, accumulation=PARTS, batch_size=ROWS)
    objective = small.recipe.objective
    assert isinstance(objective, Recall)
    length = trainer_of(small, Record()).objective.task.length(PIECES)  # type: ignore[attr-defined]
    stage = Stage(gaps=(PIECES,), tokens_per_step=2 * length + length // 2)
    again = guard != NoInChunkGuard() and isinstance(small.variant, HybridSpec)
    changed = objective.model_copy(
        update={"stages": (stage,), "in_chunk": guard, "bptt_chunks": PIECES, "recompute_activations": again}
    )
    return small.model_copy(update={"recipe": small.recipe.model_copy(update={"objective": changed})})


def _steps(experiment: ExperimentSpec, guard: InChunkSpec) -> list[str]:
    record = Record()
    trainer = trainer_of(_of_documents(experiment, guard), record)
    objective, model = trainer.objective, trainer.model.eval()
    _awake(trainer.trainable)
    assert isinstance(objective, RecallObjective)
    examples = objective.examples(1)
    length = objective.task.length(PIECES)
    shape = [PARTS, 2, length + 1]
    wrong = [] if list(examples.tokens.shape) == shape else [f"a step has {list(examples.tokens.shape)}, not {shape}"]
    assert examples.scored is not None
    data = load_data(trainer.spec)
    wrong += _of_other_sizes(trainer, data, length)
    if objective.spec.recompute_activations != bool(model.recompute_activations):
        wrong.append(f"that activations are computed again is set to {model.recompute_activations}")
    if objective._guard_text is not None and isinstance(data, TaskData) and data.text is not None:
        guards, whole = len(objective._guard_text), len(data.text)
        if guards > TRAINS * whole:
            wrong.append(f"{guards:,} of the text's {whole:,} tokens guard the base, and the last tenth is held out")
    documents: list[tuple[float, float, int]] = []
    device = trainer.device
    for place, (tokens, scored) in enumerate(zip(examples.tokens.to(device), examples.scored.to(device), strict=True)):
        with torch.no_grad():
            every = torch.ones_like(scored)  # of the answers alone an untrained model has none right
            loss, output = objective.loss(model, tokens, every, model.initial_state(len(tokens)), place)
            rows = [_answers(model, row[None], mask[None]) for row, mask in zip(tokens, every, strict=True)]
            asked = [_answers(model, row[None], mask[None]) for row, mask in zip(tokens, scored, strict=True)]
            guarded = _guarded(objective, model, guard, place, trainer.recipe.sequence_length, trainer.spec.seed)
        wrong += _of_each(objective, place, rows)
        if guard == NoInChunkGuard() and not place:
            wrong += wrong_flow(objective, model, trainer.trainable, tokens, scored)
        documents += [(float(losses.mean()), float(right.mean()), len(right)) for losses, right in asked]
        total = torch.cat([losses for losses, _ in rows]).mean()
        pairs = {RIGHT: (output.readings[RIGHT], torch.cat([right for _, right in rows]).mean())}
        if guarded is not None:
            total = total + cast(Any, guard).weight * guarded
            pairs[GUARDED] = (output.readings[GUARDED], guarded)
        for name, (found, wanted) in {"the loss": (loss, total), **pairs}.items():
            if not abs(float(found) - float(wanted)) <= ROUNDING * max(LEAST, abs(float(wanted))):
                again = f"{float(found):.6g}, worked out again {float(wanted):.6g}"
                wrong.append(f"{name} of micro-batch {place + 1} is {again}")
    undropped(model)
    with torch.no_grad():
        here, there = (model.train(mode)(examples.tokens[0, :1].to(device)).logits for mode in (True, False))
    trainer.run()
    samples = [detail for _, kind, detail in record.events if kind == "sample"]
    if largest_difference(here, there) > ROUNDING:
        return wrong  # it has a way of its own to compute something else in training
    wrong += _told(samples, record.steps[1])
    found_all = [(one["loss"], one["right"], one["answer_tokens"]) for one in samples]
    if not _near(found_all, documents):
        wrong.append(f"samples are recorded as {found_all[:2]}, worked out again {documents[:2]}")
    return wrong


def _told(samples: Sequence[Mapping[str, Any]], metrics: Mapping[str, float]) -> list[str]:
    """Of each document its number, its gap, and what the memory did in the step."""
    memory = {name: value for name, value in metrics.items() if name.startswith("memory/")}
    wrong = [] if [one["document"] for one in samples] == list(range(len(samples))) else ["samples are not numbered"]
    if any(one["gap"] != PIECES for one in samples):
        wrong.append(f"samples are told with gaps {[one['gap'] for one in samples]}, have {PIECES}")
    if any({name: one.get(name) for name in memory} != memory for one in samples):
        wrong.append(f"samples are told without {sorted(memory)} of their step")
    return wrong


def _of_other_sizes(trainer: TrainingLoop, data: TextData | TaskData, length: int) -> list[str]:
    """A part has as many whole documents as its tokens have room for: at least one, and at most a batch."""
    wrong, recipe = [], trainer.spec.recipe
    for tokens, rows in ((1, 1), (length, 1), (2 * length - 1, 1), (ROWS * length, ROWS), (99 * length, ROWS)):
        stage = Stage(gaps=(PIECES,), tokens_per_step=tokens)
        asked = recipe.model_copy(update={"objective": recipe.objective.model_copy(update={"stages": (stage,)})})
        spec = trainer.spec.model_copy(update={"recipe": asked})
        found = build_objective(data, spec, trainer.model, trainer.ranks).examples(1).tokens.shape[1]
        if found != rows:
            wrong.append(f"a part of {tokens} tokens has {found} documents of {length}, not {rows}")
    return wrong


def _of_each(objective: RecallObjective, place: int, rows: Sequence[tuple[Tensor, Tensor]]) -> list[str]:
    """What is recorded of a micro-batch's documents otherwise, when all their tokens were asked for, piece by piece."""
    heard = Heard("sample")
    objective.samples.step_taken(cast(Any, heard), Step(1))
    found = [(one["loss"], one["right"], one["answer_tokens"]) for one in heard.events[-len(rows) :]]
    wanted = [(float(losses.mean()), float(right.mean()), len(right)) for losses, right in rows]
    if _near(found, wanted):
        return []
    return [f"documents of micro-batch {place + 1} are recorded as {found}, worked out again {wanted}"]


def _near(found: Sequence[tuple[float, ...]], wanted: Sequence[tuple[float, ...]]) -> bool:
    return len(found) == len(wanted) and all(
        abs(a - b) <= ROUNDING * max(LEAST, abs(b))
        for one, other in zip(found, wanted, strict=True)
        for a, b in zip(one, other, strict=True)
    )


@torch.no_grad()
def _awake(parameters: Iterable[Tensor]) -> None:
    """As training leaves them: a new sidecar adds nothing yet."""
    generator = torch.Generator().manual_seed(0)
    for parameter in parameters:
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator).to(parameter))


def undropped(model: nn.Module) -> None:
    """Training drops nothing any more."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, ShortTermMemory):
            module.dropout = 0.0


def _answers(model: Any, tokens: Tensor, scored: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each answer token of one document read at once, and whether it is the likeliest."""
    logits, targets = model(tokens[:, :-1], model.initial_state(1)).logits[scored].double(), tokens[:, 1:][scored]
    return -logits.log_softmax(-1).gather(1, targets[:, None])[:, 0], (logits.argmax(-1) == targets).double()


def _guarded(
    objective: RecallObjective, model: Any, guard: InChunkSpec, place: int, length: int, seed: int
) -> Tensor | None:
    """What a part of the step adds: answers within a chunk, or the divergence from the base on the next windows."""
    device = next(model.parameters()).device
    match guard:
        case InChunkSamples(documents=count):
            batch = objective.task.batch("train", range(place * count, (place + 1) * count), 0).to(device)
            rows = zip(batch.tokens, batch.mask, strict=True)
            return torch.cat([_answers(model, tokens[None], mask[None])[0] for tokens, mask in rows]).mean()
        case InChunkDivergence(sequences=count):
            words = objective._guard_text
            assert words is not None
            starts = TrainingOrder(len(words), length, seed).starts(place * count, count)
            windows = torch.stack([words[start : start + length] for start in starts.tolist()]).long().to(device)
            base = model(windows, model.initial_state(count), model.switches).logits.double().log_softmax(-1)
            own = model(windows, model.initial_state(count)).logits.double().log_softmax(-1)
            apart: Tensor = (base.exp() * (base - own)).sum(-1)
            return apart.mean()
    return None


RECALL_TRAINING = (
    Property("recall_is_trained_as_specified", recall_is_trained_as_specified, recall_training_cases, cost=5),
)
