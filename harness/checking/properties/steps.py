"""What a training step is: an independent loop, given the same batches, must reach the same bits."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, number, text
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.harness.checking.threads import one_thread
from cortexzoo.harness.checking.training.difference import relative
from cortexzoo.harness.checking.training.reference_clipping import REFERENCED
from cortexzoo.harness.checking.training.reference_loop import ReferenceLoop
from cortexzoo.harness.checking.training.roles import training_starts
from cortexzoo.harness.checking.training.surroundings import Generators
from cortexzoo.harness.checking.training.witness import (
    Fate,
    Record,
    Witness,
    brief,
    data_of,
    in_float32,
    trainer_of,
    trains_in_half,
)
from cortexzoo.specs import ExperimentSpec, guards, recipe
from cortexzoo.zoo.data.text import TextData
from cortexzoo.zoo.training.loop import TrainingLoop

STEPS = 6
LONGER, BRIEF = 10, 3
"""Of recipes whose clipping has a history, and of those that are there for a limit of the schedule."""
SCALES = (1.0, 6.0, 0.25, 3.0, 0.5, 9.0, 2.0)
"""Of gradients, so that norms rise and fall."""
UNUSUAL = recipe.AdamWSpec(
    learning_rate=3e-3, beta1=0.7, beta2=0.9, eps=1e-3, weight_decay=3.0,
    rate_factors=recipe.RateFactors(short_term=0.5, long_term=2.0, consolidator=3.0, memory_gates=4.0),
)  # fmt: skip
"""No two values are alike, and none is too small to be seen in a few steps."""
Changes = Mapping[str, Any]
PlacesOf = Callable[[TextData, Tensor], Sequence[int | None]]
"""Where each row [rows, T + 1] stands in the training text; None: in none."""

RECIPES: dict[str, tuple[Changes, Mapping[int, Fate]]] = {
    "own": ({}, {}),
    "cosine": (
        {"optimizer": UNUSUAL, "accumulation": 2, "schedule": recipe.Cosine(warmup_ratio=0.4, final_ratio=0.2),
         "clipping": guards.NormClipping(max_norm=0.05), "consolidation": recipe.EveryInterval(every=2)},
        {},
    ),
    "trapezoid": (
        {"optimizer": UNUSUAL, "accumulation": 2, "clipping": guards.ZClip(warmup=2, decay=0.7, z_threshold=0.5),
         "precision": "bf16",
         "schedule": recipe.Trapezoid(warmup_ratio=0.2, decay_ratio=0.47, final_ratio=0.1)},
        {3: "refuse"},
    ),
    "restarts": (
        {"optimizer": UNUSUAL, "clipping": guards.AdaGC(ratio=0.9, decay=0.6, warmup=2, warmup_max_norm=0.3),
         "schedule": recipe.CosineRestarts(period=2, multiplier=3), "consolidation": recipe.AtRandom(probability=0.5)},
        {4: "refuse"},
    ),
    "constant": (
        {"optimizer": UNUSUAL, "clipping": guards.AGC(ratio=0.02, eps=0.01),
         "schedule": recipe.Constant(warmup_ratio=0.5)},
        {1: "refuse"},
    ),
    "adaptive": (
        {"optimizer": UNUSUAL, "schedule": recipe.Constant(), "consolidation": recipe.EveryInterval(every=3),
         "clipping": guards.AdaptiveClipping(
             max_norm=2.0, percentile=40.0, window=3, min_history=2, spike_ratio=1.5, spike_divisor=3.0)},
        {2: "refuse", 6: "refuse"},
    ),
    "all warmup": ({"optimizer": UNUSUAL, "schedule": recipe.Cosine(warmup_ratio=0.95, final_ratio=0.2)}, {}),
    "no decay": ({"optimizer": UNUSUAL, "schedule": recipe.Trapezoid(warmup_ratio=0.3, decay_ratio=0.1)}, {}),
}  # fmt: skip

RECOVERY = guards.RecoveryCheckpoints(every=2, storm_limit=9)
BACK: Mapping[int, Fate] = {4: "roll_back", 6: "roll_back", 9: "roll_back"}
"""Twice to one point, with a step between that must not change it, and once to a later one."""
CLIPPINGS: dict[str, guards.ClippingSpec] = {
    "norm": guards.NormClipping(max_norm=0.05),
    "adaptive": guards.AdaptiveClipping(percentile=50.0, window=4, min_history=2, spike_ratio=1.01),
    "zclip": guards.ZClip(warmup=2, decay=0.7, z_threshold=0.5),
    "adagc": guards.AdaGC(ratio=0.9, decay=0.6, warmup=1, warmup_max_norm=0.3),
}


def step_cases(_: Subject) -> Iterable[Case]:
    """The subject's own recipe, then one for each schedule and each kind of clipping."""
    steps = dict.fromkeys(("own", "cosine", "constant"), STEPS) | dict.fromkeys(("all warmup", "no decay"), BRIEF)
    for name in RECIPES:
        yield {"recipe": name, "steps": steps.get(name, LONGER)}


@one_thread()
def steps_match_a_reference(subject: Subject, case: Case) -> Finding:
    """A few steps of training against the same steps of the independent loop.

    On one thread, where both add up in one order: AdamW makes much of the rounding of a gradient near zero.
    """
    name = text(case, "recipe")
    changes, script = RECIPES[name]
    experiment = brief(subject.experiment, number(case, "steps"), **changes)
    if name == "own" and (odd := _odd_random_numbers(experiment)):
        return Finding(math.inf, odd, case)
    return compared(experiment, script, case)


def _odd_random_numbers(experiment: ExperimentSpec) -> str | None:
    """Whether the generators of the first step ignore the seed, or training moves those of whoever started it."""
    before = torch.get_rng_state()
    first, second = (_random_state(experiment, experiment.seed + more) for more in (0, 1))
    if first.are(second):
        return "dropout draws the same random numbers with another seed"
    moved = not torch.equal(before, torch.get_rng_state())
    return "training moves the generator of the program that started it" if moved else None


def _random_state(experiment: ExperimentSpec, seed: int) -> Generators:
    witness = Witness({}, SCALES)
    trainer_of(experiment.model_copy(update={"seed": seed}), Record(), witness).run()
    return witness.served[0].random_state


def rollback_cases(_: Subject) -> Iterable[Case]:
    """Every kind of clipping that remembers, and one that does not."""
    for name in CLIPPINGS:
        yield {"clipping": name, "steps": LONGER}


@one_thread()
def rollback_restores_everything(subject: Subject, case: Case) -> Finding:
    """Three rollbacks, and the steps after them, against an independent loop that returns to copies of its own."""
    changes: Changes = {
        "optimizer": UNUSUAL, "schedule": recipe.Cosine(warmup_ratio=0.2), "recovery": RECOVERY,
        "clipping": CLIPPINGS[text(case, "clipping")], "consolidation": recipe.EveryInterval(every=3),
    }  # fmt: skip
    experiment = brief(subject.experiment, number(case, "steps"), **changes)
    return compared(experiment, BACK, case)


def compared(
    experiment: ExperimentSpec,
    script: Mapping[int, Fate],
    case: Case,
    reference: type[ReferenceLoop] = ReferenceLoop,
    places_of: PlacesOf = training_starts,
) -> Finding:
    """The training against the reference: the largest difference, relative to what training changed.

    In float32 where each gradient is clipped by itself: the reference, in plain numbers, rounds that otherwise, and
    bfloat16 makes much of the last bit of a weight. Also where gradients are in half precision, whose norm is known to
    three digits.
    """
    if isinstance(experiment.recipe.clipping, guards.AGC | guards.AdaGC) or trains_in_half(experiment):
        experiment = in_float32(experiment)
    if type(clipping := experiment.recipe.clipping) not in REFERENCED:
        raise DoesNotApply(f"no independent loop has clipping {clipping.kind}: add it to reference_clipping.py")
    record, witness = Record(), Witness(script, SCALES)
    trainer = trainer_of(experiment, record, witness)
    told = _places_told(trainer)
    trainer.model.eval()  # as whoever has looked at it may leave it
    try:
        trainer.run()
    except Exception as problem:
        return Finding(math.inf, f"training gave up ({problem})", case)
    if len(witness.served) != experiment.recipe.steps:
        return Finding(math.inf, f"{len(witness.served)} of {experiment.recipe.steps} steps were attempted", case)
    loop, data = reference(experiment, witness.served[0].random_state), data_of(experiment)
    for served in witness.served:
        places: list[Tensor] | None = None
        if isinstance(data, TextData):
            starts = [places_of(data, tokens) for tokens in served.tokens]
            if any(start is None for row in starts for start in row):
                return Finding(math.inf, f"step {served.number} trains on no window of the training part", case)
            places = [torch.tensor(row) for row in starts]
            parts, told = told[: len(starts)], told[len(starts) :]
            if places_of is training_starts and parts != starts:
                return Finding(math.inf, f"step {served.number} gives the model other places than its rows have", case)
        loop.step(served, places, script.get(served.number), witness.scale(served.number))
    wrong = _recorded(record, loop) + _counted(trainer, loop, script)
    if wrong:
        return Finding(math.inf, ", ".join(wrong[:3]), {**case, "first": wrong[0]})
    apart = _differences(trainer, loop)
    worst = max(apart, key=lambda what: apart[what])
    if not apart[worst]:
        return Finding(0, f"{len(witness.served)} steps reach the bits of an independent loop", case)
    others = sum(amount > 0 for amount in apart.values()) - 1
    reason = f"{worst} is {apart[worst]:.3g} from what an independent loop reaches, and {others} other tensors differ"
    return Finding(apart[worst], reason, {**case, "first": worst})


def _places_told(trainer: TrainingLoop) -> list[list[int | None]]:
    """Filled while training runs: the places in the text that the model is given, of each part of each step.

    A model without a memory of the text ignores them, so that its results would not show it.
    """
    told: list[list[int | None]] = []
    placed = trainer.model.placed

    def listening(state: Any, places: Tensor) -> Any:
        told.append(places.tolist())
        return placed(state, places)

    trainer.model.placed = listening  # type: ignore[method-assign]
    return told


def _recorded(record: Record, loop: ReferenceLoop) -> list[str]:
    """Metrics that are not those of the reference, the first step first."""
    wanted = {"train/loss": loop.losses, "train/gradient_norm": loop.norms, "train/learning_rate": loop.rates}
    wrong: list[tuple[int, str]] = []
    for name, values in wanted.items():
        recorded = record.with_metric(name)
        for step, value in values.items():
            if not math.isclose(recorded.get(step, math.nan), value, rel_tol=1e-5, abs_tol=1e-9):
                wrong.append((step, f"{name} of step {step} is {recorded.get(step)}, should be {value:.6g}"))
    return [text for _, text in sorted(wrong, key=lambda entry: entry[0])]


def _counted(trainer: TrainingLoop, loop: ReferenceLoop, script: Mapping[int, Fate]) -> list[str]:
    """Counters that are not those of the reference."""
    wanted = {"taken": loop.taken, "refused": len(script), "position": loop.recipe.steps}
    return [f"{n} is {getattr(trainer, n)}, should be {v}" for n, v in wanted.items() if getattr(trainer, n) != v]


def _differences(trainer: TrainingLoop, loop: ReferenceLoop) -> dict[str, float]:
    """By name: of weights relative to what training changed, of moments and memory relative to their size."""
    reached, memory = loop.model.state_dict(), loop.memory.tensors()
    weights = {n: (t, reached[n], loop.start[n]) for n, t in trainer.model.state_dict().items()}
    found = relative("weight", weights)
    pairs = zip(loop.model.named_parameters(), trainer.model.parameters(), strict=True)
    known = {moment for moments in loop.optimizer.state.values() for moment in moments}
    pairs_of = [(name, loop.optimizer.state.get(p, {}), trainer.optimizer.state.get(q, {})) for (name, p), q in pairs]
    for moment in sorted(known):
        named = {name: (b.get(moment), a[moment], None) for name, a, b in pairs_of if moment in a}
        found |= relative(f"moment {moment} of", named)
    own = trainer.memory.tensors()
    return found | relative("memory", {n: (own.get(n), t, None) for n, t in memory.items()})


STEPS_OF_TRAINING = (
    Property("steps_match_a_reference", steps_match_a_reference, step_cases),
    Property("rollback_restores_everything", rollback_restores_everything, rollback_cases),
)
