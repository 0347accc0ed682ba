"""What is asked of a model that was trained on facts once its training is over, against what should be."""

from itertools import combinations

import torch

from cortexzoo.harness.checking.properties.trainer import of_short_gaps
from cortexzoo.harness.checking.subject import Model
from cortexzoo.harness.checking.training.witness import Record, brief, trainer_of
from cortexzoo.specs import ExperimentSpec
from cortexzoo.zoo.models.hybrid.model import Hybrid


def wrong_conclusions(experiment: ExperimentSpec) -> list[str]:
    """What is asked at the end: with the memory, without it, and of the base alone, where training leaves it alone.

    The base alone is the model whose sidecars add nothing.
    """
    trainer = trainer_of(of_short_gaps(brief(experiment, 1), documents=2), Record())
    model, disabled = trainer.model, set[frozenset[str]]()
    hook = model.register_forward_pre_hook(
        lambda _module, given: disabled.add(frozenset(given[2] if len(given) > 2 else ()))
    )
    found = trainer.objective.conclusions(trainer)
    hook.remove()
    if disabled != (controls := _controls(model)):
        asked, due = (sorted(map(sorted, each)) for each in (disabled, controls))
        return [f"answers are asked for without {asked}, {due} should be left out"]
    wanted = {"recall", "chance"} | ({"recall_memory_off"} if model.switches else set())
    if isinstance(model, Hybrid):
        own = {parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        if not own & set(model.base.network.parameters()):
            wanted.add("recall_base")
        with torch.no_grad():
            for layer in model.sidecars:
                model.sidecar(layer).output.weight.zero_()
        alone = trainer.objective.conclusions(trainer)["recall"]
        if found.get("recall_base", alone) != alone:
            return [f"the base alone answers {found['recall_base']}, a model whose sidecars add nothing {alone}"]
    return [f"{name} is not reported" for name in sorted(wanted - set(found))]


def _controls(model: Model) -> set[frozenset[str]]:
    """Nothing is left out; what reaches back without end; and, where a base then is what training found, everything.

    The fewest memories without which a logit depends on so many tokens and no more; all, where that never is so.
    """
    every = frozenset(model.switches)
    groups = (frozenset(some) for count in range(len(every) + 1) for some in combinations(sorted(every), count))
    bounded = next((some for some in groups if model.receptive_field(some) is not None), every)
    return {frozenset[str](), bounded} | ({every} if model.has_frozen_base else set())
