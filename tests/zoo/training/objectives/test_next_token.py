"""Training on one text: the model is told where each row of each part of a step stands in it."""

from typing import Any

from torch import Tensor

from cortexzoo.zoo.training.loop import TrainingLoop
from tests.zoo.training.tiny import At, Notebook, tiny_data, tiny_model, tiny_spec


def test_the_model_is_told_where_its_rows_stand() -> None:
    served: list[Tensor] = []
    told: list[list[int]] = []
    spec, data, model = tiny_spec(steps=3, accumulation=2), tiny_data(), tiny_model()
    placed = model.placed

    def listening(state: Any, places: Tensor) -> Any:
        told.append(places.tolist())
        return placed(state, places)

    model.placed = listening  # type: ignore[method-assign]
    watch = At("batch_ready", {1, 2, 3}, lambda _, step: served.extend(step.tokens))
    TrainingLoop(model, spec, data, recorder=Notebook(), policies=[watch]).run()
    assert len(told) == len(served) == 6
    for places, rows in zip(told, served, strict=True):
        assert [data.train[place : place + 9].tolist() for place in places] == rows.tolist()
