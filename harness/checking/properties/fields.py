"""No value of a spec is ignored: another value changes the training."""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from torch.nn.utils import get_total_norm

from cortexzoo.harness.checking.properties.base import Case, Finding, Property, text
from cortexzoo.harness.checking.properties.trainer import everything
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.field_values import other_values, paths
from cortexzoo.harness.checking.training.witness import Record, brief, data_of, trainer_of
from cortexzoo.specs import ExperimentSpec, recipe
from cortexzoo.specs.memory import Contexts, NoLongTerm, NoShortTerm, SigmoidGate
from cortexzoo.specs.objective import Recall
from cortexzoo.specs.variant import CortexGPTSpec, Replace, VariantSpec, backbone_of
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.errors import OwnModuleError, TrainingError
from cortexzoo.zoo.models.read_text import RereadingModel
from cortexzoo.zoo.training.policies.base import Policy, Step, Trainer
from cortexzoo.zoo.training.recorder import WALL_CLOCK_METRICS

SpecT = TypeVar("SpecT", bound=BaseModel)
STEPS = 7
BATCH = 6
SMALL: Mapping[str, Any] = {
    "hidden_size": 16, "columns.num_columns": 4, "memory.short_term.capacity": 6, "memory.short_term.num_heads": 2,
    "memory.long_term.capacity": 24, "memory.long_term.top_k": 2, "memory.long_term.min_reads": 1,
    "memory.long_term.writes": 16, "memory.long_term.context": 4, "memory.long_term.list_tokens": 2,
    "memory.long_term.own_span": 4, "memory.long_term.share_width": 4, "memory.long_term.code_size": 4,
    "num_layers": 1, "num_heads": 2, "intermediate_size": 8,
}  # fmt: skip
"""Values of a variant at which a few short steps come to every limit; those that it has not are left out."""
FEW_PAIRS: Mapping[str, Any] = {"memory.long_term.capacity": 6, "memory.long_term.writes": 4}
"""Of a ring that is filled from short-term memory: a step on a task may have one row, and store six pairs."""
SOON: Mapping[str, Mapping[str, float]] = {
    "adaptive": {"max_norm": 0.8, "percentile": 40.0, "window": 3, "min_history": 2, "spike_ratio": 1.5},
    "zclip": {"warmup": 2, "decay": 0.7, "z_threshold": 0.5},
    "adagc": {"warmup": 2, "decay": 0.6, "ratio": 0.9, "warmup_max_norm": 0.3},
}
"""Values of clipping that goes by earlier norms, at which `NORMS` come to every limit."""
NORMS = (0.9, 0.3, 1.5, 0.2, 1.0, 4.0, 0.6)
"""Of the gradients of each step, where clipping goes by earlier ones: some above their usual size, some below."""
INERT: Mapping[str, str] = {
    "recipe.monitor": "when to measure; judged by intervals_are_kept and held_out_is_measured_whole",
    "recipe.spikes": "judged by guards_follow_their_rules, value by value",
    "recipe.recovery": "judged by guards_follow_their_rules and rollback_restores_everything",
    "recipe.sleep": "judged by sleep_matches_a_reference and intervals_are_kept",
    "recipe.homeostasis": "left out of a short training; judged by curves_match_a_reference",
    "recipe.objective.drift": "measures the finished run; judged by drift_is_measured",
    "recipe.objective.recompute_activations": "changes memory and time, and no number",
    "recipe.objective.stages": "a list; its documents are judged by data_is_served_once_an_epoch",
    "variant.backbone": "describes the base, which is trained apart and cached",
    "variant.memory.long_term.lists": "divides the search: the same entries are found, sooner or later",
    "variant.memory.long_term.list_tokens": "divides the search: the nearest contexts are in one list at any number",
    "variant.mixer.conv.lags_over": "shares lags out; one lag leaves nothing to share",
    "variant.slow_store.order": "of a store that is empty until a sleep; judged by slow_store_follows_its_formulas",
    "variant.slow_store.seed": "the same",
    "variant.slow_store.unknown_from": "the same",
    "variant.slow_store.gain": "the same",
}
"""Fields that may leave a short training as it is, each with the reason."""
OF_TEXTS = {"variant.memory.long_term.own_span", "variant.memory.long_term.own_weight"}
"""Documents of a task have no places in a text, and their answers alone count."""
RATE_FACTOR = "recipe.optimizer.rate_factors."


def field_cases(_: Subject) -> Iterable[Case]:
    """Recipe and variant."""
    for part in ("recipe", "variant"):
        yield {"part": part}


def every_field_counts(subject: Subject, case: Case) -> Finding:
    """A short training with each value in turn replaced by another: none may end with the same bits and records."""
    part = text(case, "part")
    experiment = _busy(subject.experiment)
    usual, moving = _course(experiment)
    dead, tried = [], 0
    for path, field, value in paths(getattr(experiment, part), part):
        if any(path == inert or path.startswith(f"{inert}.") for inert in INERT):
            continue
        if path.startswith(RATE_FACTOR) and path.removeprefix(RATE_FACTOR) not in moving:
            continue  # the variant has no such parameters, or they have no gradient
        if path in OF_TEXTS and isinstance(experiment.recipe.objective, Recall):
            continue
        if path == "recipe.sequence_length" and _reads_no_text(subject):
            continue  # of a recall task it is the length of the texts that guard a frozen base
        if _has_one_source(experiment.variant) and (
            path.startswith("variant.memory.gate.") or (path == "variant.order" and _replaces(experiment.variant))
        ):
            continue  # its share is 1 whatever the gate is, and it gives what it is given
        if path == "recipe.objective.bptt_chunks" and isinstance(subject.model, RereadingModel):
            continue  # it reads the whole text again at every piece
        if path == "recipe.precision" and _has_a_half_base(experiment.variant):
            continue  # autocast leaves a bfloat16 base as it is, and sidecars compute in float32
        courses = (_course(other)[0] != usual for other in other_values(experiment, path, field, value))
        differs = list(_up_to_the_first(courses))
        tried += bool(differs)
        if differs and not any(differs):
            dead.append(path)
    if not tried:
        return Finding(math.inf, f"no value of the {part} could be replaced by a valid one", case)
    if not dead:
        return Finding(0, f"each of {tried} values of the {part} changes the training", case)
    return Finding(len(dead), f"without effect: {', '.join(dead[:5])}", {**case, "first": dead[0]})


def _reads_no_text(subject: Subject) -> bool:
    """Whether training is on a task alone, without a base that is measured on text."""
    if not isinstance(subject.experiment.recipe.objective, Recall):
        return False
    data = data_of(subject.experiment)
    return not subject.copy().has_frozen_base or (isinstance(data, TaskData) and data.text is None)


def _has_one_source(variant: VariantSpec) -> bool:
    """Whether the gate has nothing to mix with the input: contexts do not pass it. A softmax mixes with nothing."""
    memory = variant.memory if isinstance(variant, CortexGPTSpec) else None
    return (
        memory is not None
        and isinstance(memory.gate, SigmoidGate)
        and isinstance(memory.short_term, NoShortTerm)
        and isinstance(memory.long_term, NoLongTerm | Contexts)
    )


def _has_a_half_base(variant: VariantSpec) -> bool:
    return getattr(backbone_of(variant), "dtype", "float32") == "bfloat16"


def _replaces(variant: VariantSpec) -> bool:
    """Whether what a block gives replaces what it was given."""
    return isinstance(variant, CortexGPTSpec) and isinstance(variant.join, Replace)


def _up_to_the_first(flags: Iterable[bool]) -> Iterable[bool]:
    for flag in flags:
        yield flag
        if flag:
            return


def _busy(experiment: ExperimentSpec) -> ExperimentSpec:
    """The experiment, small, with intervals and limits that a few steps reach."""
    own = experiment.recipe
    ratios = {"warmup_ratio": 0.3, "decay_ratio": 0.4, "period": 2}
    consolidation: recipe.ConsolidationSpec = recipe.EveryInterval(every=2)
    if isinstance(own.consolidation, recipe.AtRandom):
        consolidation = recipe.AtRandom(probability=0.5)
    busy = brief(
        experiment, STEPS, batch_size=BATCH, schedule=_with(own.schedule, ratios), consolidation=consolidation,
        clipping=_with(own.clipping, SOON.get(own.clipping.kind, {"max_norm": 0.05})),
    )  # fmt: skip
    content = busy.model_dump()
    for part in ("recipe", "variant"):
        content[part]["provenance"] = {}  # of values that may be gone
    few = FEW_PAIRS if content["variant"].get("memory", {}).get("long_term", {}).get("kind") == "raw_ring" else {}
    for path, value in {**SMALL, **few}.items():
        _set(content["variant"], path.split("."), value)
    piece = content["recipe"]["sequence_length"] // 2
    if content["variant"].get("chunk_size", 0) > piece and not isinstance(own.objective, Recall):
        content["variant"]["chunk_size"] = piece  # a longer one cuts no text of a few tokens
    if content["variant"].get("mixer", {}).get("num_heads") == 1:  # the decays of one head are one decay
        content["variant"]["mixer"]["num_heads"] = 2
    return ExperimentSpec.model_validate(content)


def _with(spec: SpecT, values: Mapping[str, float]) -> SpecT:
    """The spec with those of the values that it has a field for."""
    return spec.model_copy(update={n: v for n, v in values.items() if n in type(spec).model_fields})


def _set(content: dict[str, Any], steps: Sequence[str], value: Any) -> None:
    """Where the place exists and holds a number."""
    place: Any = content
    for step in steps[:-1]:
        place = place.get(step) if isinstance(place, dict) else None
    if isinstance(place, dict) and isinstance(place.get(steps[-1]), int | float):
        place[steps[-1]] = value


class _GivenNorms(Policy):
    """Gives the gradients of each step a norm of `NORMS`."""

    name = "harness_norms"

    def gradients_ready(self, trainer: Trainer, step: Step) -> None:
        gradients = [parameter.grad for parameter in trainer.trainable if parameter.grad is not None]
        norm = float(get_total_norm(gradients))
        for gradient in gradients if norm else ():
            gradient.mul_(NORMS[(step.number - 1) % len(NORMS)] / norm)


def _course(experiment: ExperimentSpec) -> tuple[str, set[str]]:
    """A sum over all that a training leaves, and the parameter groups that it moved."""
    record, digest = Record(), hashlib.sha256()
    try:
        trainer = trainer_of(experiment, record, *([_GivenNorms()] if experiment.recipe.clipping.kind in SOON else []))
        trainer.run()
    except (TrainingError, OwnModuleError, ValueError) as problem:
        return f"training gave up ({problem})", set()
    for key, tensor in everything(trainer).items():
        digest.update(key.encode() + tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    for step, values in record.steps.items():
        kept = {key: value for key, value in values.items() if key not in WALL_CLOCK_METRICS}
        digest.update(f"{step} {kept}".encode())
    digest.update(repr(record.events).encode())
    groups = trainer.model.parameter_groups().items()
    moving = {name for name, parameters in groups if any(p in trainer.optimizer.state for p in parameters)}
    return digest.hexdigest(), moving


FIELDS = (Property("every_field_counts", every_field_counts, field_cases),)
