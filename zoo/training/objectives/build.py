"""From an experiment's data and recipe to its objective."""

from typing import Any

from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.objective import Continual, NextToken, Recall
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.errors import DataError
from cortexzoo.zoo.models.interface import MemoryLanguageModel
from cortexzoo.zoo.training.objectives.base import Objective
from cortexzoo.zoo.training.objectives.continual import ContinualObjective, earlier_text
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective
from cortexzoo.zoo.training.ranks import Ranks


def build_objective(
    data: TextData | TaskData, spec: ExperimentSpec, model: MemoryLanguageModel[Any], ranks: Ranks
) -> Objective:
    """Raises `DataError` when data, recipe and model do not suit each other."""
    match spec.recipe.objective, data:
        case NextToken(), TextData():
            return NextTokenObjective(data, spec.recipe, spec.seed, model, ranks)
        case Continual() as asked, TextData():
            earlier = earlier_text(asked, spec.data)
            return ContinualObjective(earlier, data, asked, spec.recipe, spec.seed, model, ranks)
        case Recall() as asked, TaskData():
            return RecallObjective(data, asked, spec.recipe, spec.seed, model, ranks)
    raise DataError(f"recipe.objective.kind {spec.recipe.objective.kind} does not suit data of {type(data).__name__}")
