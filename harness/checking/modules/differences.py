"""Gradients against finite differences in float64: of each parameter in a short pass, of all at once in long ones."""

import itertools
import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.finiteness import weighted
from cortexzoo.harness.checking.modules.straight_through import StraightThrough, without_gradient_functions
from cortexzoo.harness.checking.modules.subject import BareSubject

FINE, COARSE = (1e-5, 1e-6, 1e-4), (1e-3, 1e-2, 1e-4)
"""Steps of finite differences, where all is computed in float64 and where a part is not; the nearest counts."""
WRONG_FINE, WRONG_COARSE = 2e-4, 5e-2
"""Relative difference of a directional derivative from which on a gradient is wrong."""
TINY = 1e-9
"""A step that float64 resolves and float32 does not."""
NEAR = 1e-3
"""The same for the tiny step, in which no choice among tokens changes; what agrees there is right."""
AGREE = 0.1
NOTHING = 1e-15
"""Of the largest gradient in float64: what is smaller and not zero is the rounding of one that should be zero."""
MOST_MEASURED = 40
"""Parameters whose gradients are compared with finite differences."""
SHORT, LONG = 9, (33, 65, 130, 257, 300, 513, 1025)
"""Lengths at which each parameter is measured by itself, and all of them along one direction."""
SLOW = 0.1
"""CPU seconds of a pass, from which on no longer ones are measured."""
NAMING = 10.0
"""CPU seconds in which the parameter is looked for whose gradient is wrong."""
INPUT = "the input"


def wrong_gradients(subject: BareSubject) -> dict[str, str]:
    """What has another gradient than finite differences give, by parameter, with the reason.

    Nothing of a module with a straight-through estimator or a scaled gradient, which is another on purpose.
    """
    double = subject.in_double()
    if _passes_straight(double):
        return {}
    found, whole = _each(double, min(SHORT, subject.longest))
    for length in LONG if whole and not found else ():
        if length > subject.longest:
            break
        began = time.process_time()
        if found := _together(double, length):
            break
        if time.process_time() - began > SLOW * 10:
            break
    return found


def _passes_straight(subject: BareSubject) -> bool:
    try:
        model = subject.copy()
        model.train()
        watch = StraightThrough()
        with watch:
            _loss(subject, model, subject.draw(2, min(SHORT, subject.longest), 0))
    except Exception:
        return False
    return watch.found


def _each(subject: BareSubject, length: int) -> tuple[dict[str, str], bool]:
    """Of each parameter alone in a short pass, and whether longer passes are worth it: not where nothing is measured.

    What is left after half of the time that a case has is measured together, for lack of time to measure more.
    """
    end = time.process_time() + subject.case_seconds / 2
    measured = _measured(subject, length)
    if measured is None:
        return {}, False
    model, inputs, values, gradients = measured
    largest = max((float(g.norm()) for g in gradients.values()), default=0.0)
    wrong: dict[str, str] = {}
    longest = 0.0
    for name in list(gradients)[:MOST_MEASURED]:
        size = float(gradients[name].norm())
        is_bias = gradients[name].dim() < 2 or name.endswith("bias")  # softmax cancels a bias of keys, rightly
        if 0 < size < NOTHING * largest and not is_bias:
            wrong[name] = f"{name}: its gradient of {size:.1g} is rounding alone, others have up to {largest:.1g}"
            continue
        began = time.process_time()
        if began + longest > end:
            return wrong or _together(subject, length), False
        slopes = list(_slopes(subject, model, inputs, {name: values[name]}, gradients))
        longest = max(longest, time.process_time() - began)
        if all(_apart(*slope, largest) for slope in slopes):
            by_hand, by_grad, _ = slopes[0]
            wrong[name] = f"{name}: its gradient gives {by_grad:.3g} where finite differences give {by_hand:.3g}"
    return wrong, True


def _together(subject: BareSubject, length: int) -> dict[str, str]:
    """Of all parameters along two directions; the one that is furthest off is named."""
    measured = _measured(subject, length)
    if measured is None:
        return {}
    model, inputs, values, gradients = measured
    slopes = list(_slopes(subject, model, inputs, values, gradients))
    if not slopes or not all(_apart(*slope, 0.0) for slope in slopes):
        return {}
    by_hand, by_grad, _ = slopes[0]
    told = f"gives {by_grad:.3g} where finite differences give {by_hand:.3g}, at length {length}"
    began = time.process_time()
    for name in list(gradients)[:MOST_MEASURED]:
        if time.process_time() - began > NAMING:
            return {"all": f"the gradient of all parameters together {told}"}
        alone = list(_slopes(subject, model, inputs, {name: values[name]}, gradients))
        if all(_apart(*slope, float(gradients[name].norm())) for slope in alone):
            by_hand, by_grad, _ = alone[0]
            told = f"its gradient gives {by_grad:.3g} where finite differences give {by_hand:.3g}"
            return {name: f"{name}: {told}, at length {length}"}
    return {}


def _measured(
    subject: BareSubject, length: int
) -> tuple[nn.Module, Tensor, dict[str, Tensor], dict[str, Tensor]] | None:
    """A model, inputs, and of each parameter in float64 the value and the gradient; None without exact ones."""
    try:
        model = subject.copy()
        model.train()
        inputs = subject.draw(2, length, 0)
        if inputs.is_floating_point():
            inputs.requires_grad_()
        loss = _loss(subject, model, inputs)
        with torch.random.fork_rng(devices=[]), without_gradient_functions():
            torch.manual_seed(1)  # what is computed anew must draw as the first time, wherever the generator stands
            loss.backward()
        repeated = {float(_loss(subject, model, inputs).detach()) for _ in range(2)}
    except Exception:
        return None
    if len(repeated) > 1:
        return None
    values: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if p.grad is not None}
    if inputs.grad is not None:
        values[INPUT] = inputs
    gradients = {name: value.grad.to_dense() for name, value in values.items() if value.grad is not None}
    if any(not bool(gradient.isfinite().all()) for gradient in gradients.values()):
        return None
    return model, inputs, values, {n: g for n, g in gradients.items() if values[n].dtype == torch.float64}


def _slopes(
    subject: BareSubject,
    model: nn.Module,
    inputs: Tensor,
    values: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
) -> Iterator[tuple[float, float, float]]:
    """The slope along two directions: by finite differences, and by the gradient; and what may lie between them."""
    generator = torch.Generator().manual_seed(1)
    names = [name for name in values if name in gradients]
    kept = {name: values[name].detach().clone() for name in names}

    def moved(step: float) -> float:
        with torch.no_grad():
            for name in names:
                values[name].copy_(kept[name] + step * directions[name])
            return float(_loss(subject, model, inputs))

    for _ in range(2):
        directions = {name: _direction(subject, kept[name], generator) for name in names}
        by_grad = sum(float((gradients[name] * directions[name]).sum()) for name in names)
        first = (moved(FINE[0]) - moved(-FINE[0])) / (2 * FINE[0])
        tiny = (moved(TINY) - moved(-TINY)) / (2 * TINY)
        resolved = first != 0.0 or tiny != 0.0 or by_grad == 0.0  # float32 inside sees no step so small
        fine = resolved and abs(tiny - first) <= 1e-2 * abs(first) + 1e-6
        wrong = WRONG_FINE if fine else WRONG_COARSE
        exact = abs(tiny - by_grad) <= NEAR * abs(by_grad)
        slopes = [by_grad] if exact else [first] if fine else []
        for step in FINE[1:] if fine else COARSE:
            if slopes and abs(slopes[-1] - by_grad) <= wrong * abs(by_grad):
                break
            slopes.append((moved(step) - moved(-step)) / (2 * step))
        moved(0.0)
        if not fine and not exact and not _agree(slopes):
            slopes = [by_grad]
        yield min(slopes, key=lambda slope: abs(slope - by_grad)), by_grad, wrong


def _agree(slopes: list[float]) -> bool:
    """Whether two steps give about the same slope: where none do the loss jumps, and nothing can be measured."""
    pairs = itertools.combinations(slopes, 2)
    return any(abs(one - other) <= AGREE * max(abs(one), abs(other)) for one, other in pairs)


def _direction(subject: BareSubject, value: Tensor, generator: torch.Generator) -> Tensor:
    direction = torch.randn(value.shape, generator=generator, dtype=torch.float64)
    if subject.inputs.kind == "tokens" and direction.shape[:1] == (subject.inputs.size,):
        direction[list(subject.special)] = 0.0  # an embedding gives its padding no gradient on purpose
    return direction


def _apart(by_hand: float, by_grad: float, wrong: float, largest: float) -> bool:
    return abs(by_hand - by_grad) > wrong * max(abs(by_hand), abs(by_grad)) + wrong * 1e-3 * max(1e-2, largest)


def _loss(subject: BareSubject, model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.random.fork_rng(devices=[]), without_gradient_functions():
        torch.manual_seed(0)
        found, _ = subject.call(model, inputs, subject.begin(model, len(inputs)))
        return torch.stack([weighted(found[slot]) for slot in subject.slots]).sum()
