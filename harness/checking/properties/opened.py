"""What homeostasis adds to the biases of columns and of the gate, from usage by the written-out form."""

import copy
import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.figures import Pair
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.training.witness import Fate, Look, Record, Witness, append, brief, trainer_of
from cortexzoo.harness.checking.written_out import written_out_cortexgpt
from cortexzoo.specs import ExperimentSpec, recipe
from cortexzoo.specs.plasticity import UsageTargets
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.training.loop import TrainingLoop

PARTS = 2
TARGETS = UsageTargets(columns=0.9, sources=0.8, rate=0.5, every=3)
"""So that nothing is used enough, and only the last of three steps opens it. Then some is, and stays as it is."""
REFUSED: Mapping[int, Fate] = {1: "refuse"}
"""Steps are counted whether they are taken or not."""
APART = 1e-3
LEAST = 1e-12
"""Usage below this counts as this."""


def opened(subject: Subject) -> dict[str, Pair]:
    """Three steps with homeostasis and three without: the biases differ by what too little use asks for.

    What is used is that of the last part of the last step, with a long-term memory that has what was read before.
    """
    seen = list[Tensor]()
    plain = brief(
        subject.experiment, TARGETS.every, batch_size=1, accumulation=PARTS, precision="fp32",
        consolidation=recipe.EveryInterval(every=TARGETS.every - 1),
    )  # fmt: skip
    trainer = trainer_of(plain, Record(), Witness(REFUSED))
    append(trainer, [Look(lambda _, step: seen.append(step.tokens[-1][:, :-1]))])
    trainer.run()
    model = trainer.model
    assert isinstance(model, CortexGPT)
    if trainer.taken < TARGETS.every - len(REFUSED):
        return {}
    columns, sources = _usage(model, seen[-1], trainer)
    between = TARGETS.model_copy(update={"columns": _in_between(columns), "sources": _in_between(sources)})
    return {
        name: pair
        for what, targets in (("", TARGETS), (", where some are used enough", between))
        for name, pair in _opened(plain, model, targets, (columns, sources), what).items()
    }


def _in_between(used: list[float]) -> float:
    """A target that some of these reach and others do not; all reach it where they are next to equal."""
    some = sorted(share for share in used if not math.isnan(share))
    apart = some[-1] - some[0] > APART * some[-1]
    return (some[0] + some[-1]) / 2 if apart else some[0] / 2


def _opened(
    plain: ExperimentSpec, model: CortexGPT, targets: UsageTargets, usage: tuple[list[float], list[float]], what: str
) -> dict[str, Pair]:
    """The biases of the same steps with homeostasis, beside those without; and what is told."""
    record, (columns, sources) = Record(), usage
    other = trainer_of(_with_homeostasis(plain, targets), record, Witness(REFUSED))
    other.run()
    pairs: dict[str, Pair] = {}
    for name, used, target, temperature in (
        ("columns.score", columns, targets.columns, _temperature(model.columns.spec.sparsity)),
        ("memory.gate.linear", sources, targets.sources, _temperature(model.memory.gate.spec)),
    ):
        old, new = (cast(Tensor, m.get_submodule(name).bias).tolist() for m in (model, other.model))
        for place, share in enumerate(used):
            moved = temperature * targets.rate * math.log(target / max(share, LEAST)) if share < target else 0.0
            scale = max(abs(old[place]), abs(moved))
            pairs[f"the bias {place} of {name}{what}"] = Pair(new[place], old[place] + moved, scale)
    recorded = record.steps[targets.every]
    told = {
        "least_column": min(columns),
        "columns_below": float(sum(share < targets.columns for share in columns)),
        "sources_below": float(sum(share < targets.sources for share in sources)),
    }
    for name, value in told.items():
        pairs[f"homeostasis/{name}{what}"] = Pair(recorded.get(f"homeostasis/{name}", math.nan), value)
    return pairs


def _with_homeostasis(experiment: ExperimentSpec, targets: UsageTargets) -> ExperimentSpec:
    recipe = experiment.recipe.model_copy(update={"homeostasis": targets})
    return experiment.model_copy(update={"recipe": recipe})


@torch.no_grad()
def _usage(model: CortexGPT, tokens: Tensor, trainer: TrainingLoop) -> tuple[list[float], list[float]]:
    """Mean mask of each column and mean share of each source of the gate, by the written-out form; NaN: it is empty."""
    memory = trainer.memory
    assert isinstance(memory, CortexGPTState)
    state = model.between_batches(memory, len(tokens))
    # The written-out form computes on the CPU.
    state = CortexGPTState.from_tensors({name: tensor.cpu() for name, tensor in state.tensors().items()})
    scores: list[Tensor] = []
    judged = copy.deepcopy(model).cpu().eval()
    hook = judged.columns.score.register_forward_hook(lambda _module, _inputs, scored: scores.append(scored))
    try:
        readings = written_out_cortexgpt(judged, tokens.cpu(), state).readings
    finally:
        hook.remove()
    soft: Any = model.columns.spec.sparsity
    opened = torch.sigmoid(scores[0].double() / soft.temperature)
    masks = torch.sigmoid(soft.sharpness * (opened - soft.threshold))
    names = ("current", "short_term", "long_term")[: model.memory.gate.sources]
    return masks.mean(0).tolist(), [readings.get(f"memory/gate_share/{name}", math.nan) for name in names]


def _temperature(spec: Any) -> float:
    return float(getattr(spec, "temperature", 1.0))
