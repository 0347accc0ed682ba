"""A hybrid on a memory task, both small enough for many runs."""

from typing import Any

import torch

from cortexzoo.specs.data import PydocTopics
from cortexzoo.specs.experiment import ExperimentSpec
from cortexzoo.specs.objective import DriftSpec, Recall, Stage
from cortexzoo.specs.recipe import AdamWSpec, MonitorSpec, Never, RecipeSpec
from cortexzoo.specs.suite import Check, SuiteSpec
from cortexzoo.specs.task import TaskSpec, TokenPairs
from cortexzoo.zoo.data.task_data import TaskData
from cortexzoo.zoo.training.loop import TrainingLoop
from cortexzoo.zoo.training.policies.base import Policy
from tests.zoo.models.hybrid.tiny import CHUNK, tiny_hybrid
from tests.zoo.models.hybrid.tiny import tiny_spec as tiny_variant
from tests.zoo.training.tiny import Notebook

STAGES = (Stage(gaps=(0, 1), tokens_per_step=64, samples_per_gap=4), Stage(gaps=(2,), tokens_per_step=64))


def tiny_task(**values: Any) -> TaskSpec:
    """Two pairs in a chunk of eight tokens, two questions in another."""
    pairs = TokenPairs(num_pairs=2, num_queries=2, num_keys=8, num_values=8, num_noise=8)
    defaults: dict[str, Any] = {"task": pairs, "chunk_size": CHUNK, "gaps": (1, 2), "evaluation_documents": 4}
    return TaskSpec(name="tiny-pairs", **defaults | values)


def tiny_experiment(
    objective: Recall | None = None, data: TaskSpec | None = None, seed: int = 0, **recipe: Any
) -> ExperimentSpec:
    """Eight steps of a staged curriculum."""
    values: dict[str, Any] = {
        "steps": 8,
        "batch_size": 4,
        "sequence_length": 12,
        "objective": objective or Recall(stages=STAGES, drift=DriftSpec(sequences=3)),
        "optimizer": AdamWSpec(learning_rate=0.01),
        "consolidation": Never(),
        "monitor": MonitorSpec(probe_every=2, validate_every=4, validation_sequences=4, checkpoint_every=3),
    }
    return ExperimentSpec(
        name="tiny-recall",
        variant=tiny_variant(),
        recipe=RecipeSpec(name="tiny-recall", **values | recipe),
        data=data or tiny_task(),
        suite=SuiteSpec(name="tiny", properties={"causality": Check()}),
        seed=seed,
    )


def tiny_data(data: TaskSpec | None = None, seed: int = 0) -> TaskData:
    return TaskData.from_spec(data or tiny_task(), seed, PydocTopics())


def tiny_trainer(
    experiment: ExperimentSpec | None = None, *, notebook: Notebook | None = None, policies: tuple[Policy, ...] = ()
) -> TrainingLoop:
    """On a model with awake sidecars, always the same."""
    experiment = experiment or tiny_experiment()
    assert isinstance(experiment.data, TaskSpec)
    data = tiny_data(experiment.data, experiment.seed)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = tiny_hybrid()
    return TrainingLoop(model, experiment, data, recorder=notebook or Notebook(), policies=policies)
