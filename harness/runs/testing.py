"""Measuring a trained run on a held-out part of its text: with its memories, without each, and while it writes."""

from collections.abc import Collection
from typing import Any

from cortexzoo.harness.runs.run_folder import CHECKPOINTS, Run
from cortexzoo.specs.recipe import RecipeSpec
from cortexzoo.zoo.checkpoints import exists
from cortexzoo.zoo.data.text import HeldOutPart, TextData
from cortexzoo.zoo.models.interface import MemoryLanguageModel, MemoryState
from cortexzoo.zoo.training.evaluation import HeldOut, measure
from cortexzoo.zoo.training.objectives.base import Objective
from cortexzoo.zoo.training.objectives.next_token import NextTokenObjective


def on_the_test_part(run: Run, objective: Objective) -> dict[str, Any]:
    """For the summary, the one look at the test part: losses of the best checkpoint and of counting, nats a byte.

    None where there is no best checkpoint; nothing for data that is no text.
    """
    if not isinstance(objective, NextTokenObjective):
        return {}
    recipe, data = objective.recipe, objective.data
    counted = data.reference_losses(recipe.sequence_length, recipe.monitor.validation_sequences, "test")
    loss, disabled, per_token = None, {}, {}
    if exists(run.path / CHECKPOINTS / "best"):
        model, state = run.load_model("best")
        whole = measure_part(data, recipe, model, state, "test")
        loss = whole.loss_per_byte
        if data.byte_counts is not None:
            per_token = {"test_loss_per_token": whole.loss}
        disabled = {
            name: measure_part(data, recipe, model, state, "test", {name}).loss_per_byte for name in model.switches
        }
    return {
        "test_loss": loss,
        **per_token,
        "test_loss_disabled": disabled,
        "test_ngram_loss": counted.ngram,
        "test_ngram_order": counted.ngram_order,
    }


def measure_part(
    data: TextData,
    recipe: RecipeSpec,
    model: MemoryLanguageModel[Any],
    state: MemoryState,
    part: HeldOutPart,
    disabled: Collection[str] = (),
    consolidate_every: int | None = None,
) -> HeldOut:
    """Over the windows of a part, as many as the recipe validates on. Memory as for `measure`."""
    at_most = recipe.monitor.validation_sequences
    windows = data.windows(part, recipe.sequence_length, recipe.batch_size, at_most)
    return measure(
        model,
        windows,
        state=state,
        disabled=disabled,
        precision=recipe.precision,
        consolidate_every=consolidate_every,
        scored=data.scored_windows(part, recipe.sequence_length, recipe.batch_size, at_most),
        token_bytes=data.token_bytes(part),
    )
