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
from cortexzoo.specs import recipe
from cortexzoo.specs.plasticity import UsageTargets
from cortexzoo.zoo.models.cortexgpt import CortexGPT, CortexGPTState
from cortexzoo.zoo.training.loop import TrainingLoop

PARTS = 2
TARGETS = UsageTargets(columns=0.9, sources=0.8, rate=0.5, every=3)
"""So that nothing is used enough, and only the last of three steps opens it."""
REFUSED: Mapping[int, Fate] = {1: "refuse"}
"""Steps are counted whether they are taken or not."""
LEAST = 1e-12
"""Usage below this counts as this."""


def opened(subject: Subject) -> dict[str, Pair]:
    """Three steps with homeostasis and three without: the biases differ by what too little use asks for.

    What is used is that of the last part of the last step, with a long-term memory that has what was read before.
    """
    record, seen = Record(), list[Tensor]()
    plain = brief(
        subject.experiment, TARGETS.every, batch_size=1, accumulation=PARTS, precision="fp32",
        consolidation=recipe.EveryInterval(every=TARGETS.every - 1),
    )  # fmt: skip
    trainer = trainer_of(plain, Record(), Witness(REFUSED))
    other = trainer_of(_with_homeostasis(plain), record, Witness(REFUSED))
    append(trainer, [Look(lambda _, step: seen.append(step.tokens[-1][:, :-1]))])
    trainer.run()
    other.run()
    if min(trainer.taken, other.taken) < TARGETS.every - len(REFUSED):
        return {}
    model = trainer.model
    assert isinstance(model, CortexGPT)
    tokens = seen[-1]
    columns, sources = _usage(model, tokens, trainer)
    pairs: dict[str, Pair] = {}
    for name, used, target, temperature in (
        ("columns.score", columns, TARGETS.columns, _temperature(model.columns.spec.sparsity)),
        ("memory.gate.linear", sources, TARGETS.sources, _temperature(model.memory.gate.spec)),
    ):
        old, new = (cast(Tensor, m.get_submodule(name).bias).tolist() for m in (model, other.model))
        for place, share in enumerate(used):
            moved = temperature * TARGETS.rate * math.log(target / max(share, LEAST)) if share < target else 0.0
            scale = max(abs(old[place]), abs(moved))
            pairs[f"the bias {place} of {name}"] = Pair(new[place], old[place] + moved, scale)
    recorded = record.steps[TARGETS.every]
    told = {
        "least_column": min(columns),
        "columns_below": float(sum(share < TARGETS.columns for share in columns)),
        "sources_below": float(sum(share < TARGETS.sources for share in sources)),
    }
    names = {name: f"homeostasis/{name}" for name in told}
    return pairs | {names[name]: Pair(recorded.get(names[name], math.nan), value) for name, value in told.items()}


def _with_homeostasis(experiment: Any) -> Any:
    recipe = experiment.recipe.model_copy(update={"homeostasis": TARGETS})
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
