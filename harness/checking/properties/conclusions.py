"""What is asked of a model that was trained on facts once its training is over, against what should be."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, cast

import numpy as np
import torch

from cortexzoo.harness.checking.properties.trainer import of_short_gaps
from cortexzoo.harness.checking.subject import Model
from cortexzoo.harness.checking.training.witness import Record, brief, measured, trainer_of
from cortexzoo.specs import ExperimentSpec
from cortexzoo.specs.filler import MixedFiller, NoiseFiller, PairsFiller
from cortexzoo.specs.task import KeyValue, TaskSpec
from cortexzoo.zoo.data.tasks.document import Document
from cortexzoo.zoo.data.tasks.task import Task
from cortexzoo.zoo.models.hybrid.model import Hybrid
from cortexzoo.zoo.models.interface import ModelOutput
from cortexzoo.zoo.training.objectives.recall_objective import RecallObjective

CHARACTERS = 55
"""Letters, marks and capitals of spelled pairs."""
DOCUMENTS, FEWER = 8, 5
"""At the end, and when training validates."""
KNOWN_OF = 7
"""Of so many tokens the model is told all but one."""


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
    missing = [f"{name} is not reported" for name in sorted(wanted - set(found))]
    return missing or _wrong_shares(experiment)


def _wrong_shares(experiment: ExperimentSpec) -> list[str]:
    """Shares of whole answers, of a model that is told most tokens, and others without its memories."""
    spec = measured(of_short_gaps(brief(_of_words(experiment), 1), documents=DOCUMENTS), validation_sequences=FEWER)
    trainer = trainer_of(spec, Record())
    task, model = cast(RecallObjective, trainer.objective).task, trainer.model
    (gap,) = task.spec.gaps
    documents = [task.example("validation", index, gap) for index in range(DOCUMENTS)]
    near = [task.example("validation", index, 0) for index in range(FEWER)]
    lines = [document.tokens.tolist() for document in (*documents, *near)]

    def told(_model: object, given: tuple[Any, ...], output: ModelOutput[Any]) -> ModelOutput[Any]:
        logits = torch.zeros_like(output.logits)
        for row, read in enumerate(given[0].tolist()):
            line, begin = _stands(read, lines)
            for at in range(len(read) if line else 0):
                if _is_known(begin + at + 1, len(given[2] if len(given) > 2 else ())):
                    logits[row, at, line[begin + at + 1]] = 1.0
        return replace(output, logits=logits)

    hook = model.register_forward_hook(told)
    found, score = trainer.objective.conclusions(trainer), trainer.objective.held_out(trainer)
    hook.remove()
    fewer = {over: _right(some, 0) for over, some in ((0, near), (gap, documents[:FEWER]))}
    shares = {over: sum(map(sum, right)) / sum(map(len, right)) for over, right in fewer.items()}
    by_gap = {over: score.metrics.get(f"validation/recall/gap_{over}", math.nan) for over in shares}
    wrong = []
    if not all(math.isclose(by_gap[over], share) for over, share in shares.items()):
        wrong.append(f"of {FEWER} documents {by_gap} of the answers are said to be right, {shares} are")
    if not math.isclose(score.recall or 0.0, sum(shares.values()) / len(shares)):
        wrong.append(f"recall is {score.recall}, by gap it is {shares}")
    for name, without in _by_result(model).items():
        right = _right(documents, len(without))
        share = sum(map(sum, right)) / sum(map(len, right))
        if name in found and list(found[name][task.name]) != list(task.spec.gaps):
            wrong.append(f"{name} is reported over gaps {list(found[name][task.name])}, not {list(task.spec.gaps)}")
        if name in found and not math.isclose(found[name][task.name][gap], share):
            wrong.append(f"{name} is {found[name][task.name][gap]}, of the answers {share} are right")
        if name == "recall" and len(task.spec.fillers) > 1:
            by_filler = found.get("recall_by_filler", {}).get(task.name, {})
            wrong += _wrong_by_filler(by_filler.get(gap), task, documents, right)
    return wrong


def _right(documents: Sequence[Document], without: int) -> list[list[bool]]:
    """Whether each answer of each document is told as a whole."""
    return [
        [all(_is_known(int(at), without) for at in np.flatnonzero(answers == one)) for one in set(answers) - {0}]
        for answers in (document.answers for document in documents)
    ]


def _wrong_by_filler(found: Any, task: Task, documents: Sequence[Document], right: list[list[bool]]) -> list[str]:
    """Noise is capitals, and further pairs have none."""
    kinds: dict[str, list[bool]] = {"noise": [], "pairs": []}
    for document, some in zip(documents, right, strict=True):
        (begin, facts), (asked, questions) = document.placed
        spans = ((0, begin), (begin + len(facts), asked), (asked + len(questions), document.length))
        around = "".join(task.vocabulary.show(document.cut(*span)[0].tolist()) for span in spans)
        if not around:
            return []  # nothing shows which it is
        kinds["noise" if any(letter.isupper() for letter in around) else "pairs"] += some
    shares = {kind: sum(some) / len(some) for kind, some in kinds.items() if some}
    return [] if found == shares else [f"by filler {found} of the answers are right, counted again {shares}"]


def _of_words(experiment: ExperimentSpec) -> ExperimentSpec:
    """With answers of several tokens, amid noise or further pairs, where the model has tokens for them."""
    if experiment.variant.vocab_size < CHARACTERS or not isinstance(experiment.data, TaskSpec):
        return experiment
    filler = MixedFiller(of=(NoiseFiller(), PairsFiller()))
    changes = {"task": KeyValue(num_queries=2), "vocabulary": "own", "filler": filler, "document_chunks": None}
    return experiment.model_copy(update={"data": experiment.data.model_copy(update=changes)})


def _stands(read: list[int], lines: Sequence[list[int]]) -> tuple[list[int], int]:
    """The document that a piece is of, and where it begins there; none for a text that drift is measured on."""
    places = ((line, at) for line in lines for at in range(len(line) - len(read)) if line[at : at + len(read)] == read)
    return next(places, ([], 0))


def _is_known(place: int, without: int) -> bool:
    return place % (KNOWN_OF + without) != 0


def _by_result(model: Model) -> dict[str, frozenset[str]]:
    """What is left out for each figure of the result."""
    none, bounded, every = frozenset[str](), _bounded(model), frozenset(model.switches)
    return {"recall": none, "recall_memory_off": bounded, "recall_base": every}


def _controls(model: Model) -> set[frozenset[str]]:
    """Nothing is left out; what reaches back without end; and, where a base then is what training found, everything.

    The fewest memories without which a logit depends on so many tokens and no more; all, where that never is so.
    """
    every = frozenset(model.switches)
    return {frozenset[str](), _bounded(model)} | ({every} if model.has_frozen_base else set())


def _bounded(model: Model) -> frozenset[str]:
    every = frozenset(model.switches)
    groups = (frozenset(some) for count in range(len(every) + 1) for some in combinations(sorted(every), count))
    return next((some for some in groups if model.receptive_field(some) is not None), every)
