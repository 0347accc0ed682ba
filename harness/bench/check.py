"""`check`: how long properties take on the shipped experiment before training. There is nothing to put beside it."""

from collections.abc import Sequence

import torch

from cortexzoo.harness.bench.benchmark import Case, timed
from cortexzoo.harness.checking.judge import judge
from cortexzoo.harness.checking.properties import REGISTRY
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.specs import load_experiment
from cortexzoo.specs.properties import PropertyName
from cortexzoo.specs.suite import Check
from cortexzoo.zoo.build import build_model, load_data
from cortexzoo.zoo.data.text import TextData

NAMES: tuple[PropertyName, ...] = (
    "causality",
    "batch_isolation",
    "chunk_invariance",
    "finite_gradients",
    "save_and_load",
    "repeatability",
)


class CheckProperties:
    """Listed cases alone, without a search, of `cortexgpt-stable`."""

    headline = ""

    def cases(self, quick: bool) -> Sequence[Case]:
        experiment = load_experiment("cortexgpt-stable")
        data = load_data(experiment)
        assert isinstance(data, TextData)
        model = build_model(experiment.variant, 0).eval()
        text = torch.from_numpy(data.validation[:].astype("int64"))
        subject = Subject(experiment, model, model.initial_state(experiment.recipe.batch_size), text)
        return [
            Case(name, timed(lambda name=name: judge(REGISTRY[name], Check(), subject)))  # type: ignore[misc]
            for name in (NAMES[:2] if quick else NAMES)
        ]
