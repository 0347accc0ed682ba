"""What is valid in a spec and probably unintended: warnings, one line each."""

from typing import TYPE_CHECKING

from cortexzoo.specs.base import Spec
from cortexzoo.specs.objective import Continual, NextToken, Recall
from cortexzoo.specs.recipe import EveryInterval, Never, RecipeSpec

if TYPE_CHECKING:
    from cortexzoo.specs.experiment import ExperimentSpec


def doubts(spec: Spec) -> list[str]:
    """Of an experiment, or of a recipe alone; none of anything else."""
    if isinstance(spec, RecipeSpec):
        return (
            _of_consolidation(spec, "")
            if isinstance(spec.objective, NextToken | Continual)
            else _of_objective(spec, "")
        )
    if getattr(spec, "kind", None) != "experiment":
        return []
    from cortexzoo.specs.experiment import ExperimentSpec  # a recipe alone is checked without loading variants

    assert isinstance(spec, ExperimentSpec)
    return _of_experiment(spec)


def _of_experiment(experiment: "ExperimentSpec") -> list[str]:
    from cortexzoo.specs.memory import Contexts, NoLongTerm
    from cortexzoo.specs.variant import CortexGPTSpec

    variant, recipe = experiment.variant, experiment.recipe
    found = _of_objective(recipe, "recipe.") + _of_weights(experiment)
    if not isinstance(variant, CortexGPTSpec):
        return found
    if not isinstance(variant.memory.long_term, NoLongTerm):
        found += _of_consolidation(recipe, "recipe.")
    if isinstance(recipe.objective, Continual) and isinstance(variant.memory.long_term, Contexts):
        found += _of_room(recipe, variant.memory.long_term.capacity)
    if isinstance(recipe.objective, Recall):
        found += _of_texts(variant.memory.long_term)
    return found


def _of_texts(long_term: Spec) -> list[str]:
    """What long-term memory reads of a text, and not of documents with answers."""
    defaults = {name: field.default for name, field in type(long_term).model_fields.items()}
    return [
        f"variant.memory.long_term.{name} is {value} and changes nothing: recipe.objective is recall, which trains on "
        "the answers of documents alone"
        for name in ("own_span", "own_weight")
        if (value := getattr(long_term, name, None)) is not None and value != defaults[name]
    ]


def _of_weights(experiment: "ExperimentSpec") -> list[str]:
    from cortexzoo.specs.tuned import AllWeights, TunedSpec

    variant = experiment.variant
    dtype = getattr(variant.backbone, "dtype", "float32") if isinstance(variant, TunedSpec) else "float32"
    if dtype == "float32" or not isinstance(variant.method, AllWeights):  # type: ignore[union-attr]
        return []
    return [
        f"variant.backbone.dtype is {dtype} and every weight is trained: updates below 1/256 of a weight are lost; "
        "float32 keeps them"
    ]


def _of_room(recipe: RecipeSpec, capacity: int) -> list[str]:
    """A diary drops its oldest entries, and with them what came before the text that is learned now."""
    entries = recipe.steps * recipe.batch_size * recipe.accumulation * (recipe.sequence_length + 1)  # and a boundary
    if not isinstance(recipe.consolidation, Never) and not _of_consolidation(recipe, "") and capacity < entries:
        return [
            f"variant.memory.long_term.capacity is {capacity} and training makes {entries} entries: "
            "long-term memory drops the earlier text while the later one is learned"
        ]
    return []


def _of_objective(recipe: RecipeSpec, where: str) -> list[str]:
    if isinstance(recipe.objective, Recall) and recipe.objective.bptt_chunks == 1:
        return [f"{where}objective.bptt_chunks is 1: no gradient reaches the writes of earlier chunks"]
    return []


def _of_consolidation(recipe: RecipeSpec, where: str) -> list[str]:
    consolidation = recipe.consolidation
    if isinstance(consolidation, EveryInterval) and consolidation.every >= recipe.steps:
        return [
            f"{where}consolidation.every is {consolidation.every} and {where}steps {recipe.steps}: "
            "long-term memory stays empty until the end of training"
        ]
    return []
