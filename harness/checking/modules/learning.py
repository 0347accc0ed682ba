"""What training reaches: every parameter gets a gradient, and the gradient that finite differences give.

Differs from a trained model (`properties/gradients.py`): experts that no token chose are tried with other weights, and
gradients are compared with finite differences, since a module may compute its own.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.differences import wrong_gradients
from cortexzoo.harness.checking.modules.finiteness import weighted
from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, number
from cortexzoo.harness.checking.properties.gate import least_share
from cortexzoo.harness.checking.properties.gradients import UPDATES, no_gradient, silent_after
from cortexzoo.harness.errors import in_one_line

ROUNDS = 40
"""Passes with other weights before the silent ones, for experts that a router has not chosen yet."""
IN_VAIN = 12
"""Rounds that reach nothing new, after which the rest counts as unreachable."""


@dataclass(frozen=True)
class Reached:
    """Which parameters a pass used, and which got a gradient that is not zero."""

    used: set[str]
    moved: set[str]
    strangers: int
    """Tensors with requires_grad that are no parameter of the module."""


def every_parameter_learns_cases(subject: BareSubject) -> Iterable[Case]:
    """One batch."""
    yield {"rows": 4, "length": max(1, min(32, subject.longest // 2))}


def every_parameter_learns(subject: BareSubject, case: Case) -> Finding:
    """Gradients around two updates, with other weights where experts stay out, of two calls; finite differences."""
    model = subject.copy()
    model.train()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows, length = number(case, "rows"), number(case, "length")
    frozen = sum(1 for p in model.parameters() if not p.requires_grad)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = _pass(subject, model, rows, length, 0)
        if not trainable and not first.strangers:
            raise DoesNotApply(f"it has no trainable parameter{f' ({frozen} are frozen)' if frozen else ''}")
        if first.strangers:
            reason = f"{first.strangers} tensors with requires_grad are not parameters: no optimizer receives them"
            return Finding(first.strangers, reason, case)
        used = set(first.used)

        def moved(update: int) -> set[str]:
            reached = first if not update else _pass(subject, model, rows, length, update)
            used.update(reached.used)
            return reached.moved

        silent = silent_after(trainable, moved, UPDATES)
    if silent:
        silent = _still_silent(subject, silent, rows, length)
    if silent:

        def why(name: str) -> str:
            reason = "used, but its gradient is zero" if name in used else _unused(subject, name, rows, length)
            return f"in {UPDATES + 1} passes ({name}: {reason})"

        return no_gradient(trainable, silent, why, case)
    if problem := _of_two_calls(subject, rows, length):
        reason = f"the gradient of two calls together, whose losses are added, raises {problem}"
        return Finding(1, reason, {**case, "first": "two calls"})
    wrong = wrong_gradients(subject)
    if wrong:
        name, reason = next(iter(wrong.items()))
        return Finding(len(wrong), reason, {**case, "first": name})
    reason = f"all {len(trainable)} parameters got a gradient" + (f" ({frozen} more are frozen)" if frozen else "")
    return Finding(0, reason, case)


def _pass(subject: BareSubject, model: nn.Module, rows: int, length: int, seed: int) -> Reached:
    """Two pieces with their memory carried, where there is one, so that what writes it is reached too."""
    model.zero_grad(set_to_none=True)
    state = subject.begin(model, rows)
    losses = []
    for piece in range(2 if subject.carries_state else 1):
        inputs = subject.draw(rows, length, 2 * seed + piece)
        found, state = subject.call(model, inputs, state)
        losses += [weighted(output) for output in found if output.requires_grad]
    named = {_place(p): name for name, p in model.named_parameters(remove_duplicate=False)}
    leaves = _leaves(losses)
    strangers = sum(1 for leaf in leaves if _place(leaf) not in named)
    if losses:
        torch.autograd.backward(losses)
    moved = {n for n, p in model.named_parameters() if p.grad is not None and _is_real(p.grad)}
    return Reached({named[_place(leaf)] for leaf in leaves if _place(leaf) in named}, moved, strangers)


def _of_two_calls(subject: BareSubject, rows: int, length: int) -> str:
    """What the backward pass from two calls raises; "": nothing. Contrastive losses and R-Drop are taught so."""
    model = subject.copy()
    model.train()
    losses: list[Tensor] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for call in range(2):
            found, _ = subject.call(model, subject.draw(rows, length, call), subject.begin(model, rows))
            losses += [weighted(found[slot]) for slot in subject.slots if found[slot].requires_grad]
        try:
            torch.autograd.backward(losses)
        except Exception as problem:
            return in_one_line(problem)
    return ""


def _place(tensor: Tensor) -> Hashable:
    """What tells one tensor from another: a scripted module gives a new object for each look at a parameter."""
    return (tensor.data_ptr(), tensor.shape) if tensor.numel() else id(tensor)


def _leaves(losses: list[Tensor]) -> list[Tensor]:
    """The tensors that the graphs of the losses end in."""
    waiting = [loss.grad_fn for loss in losses if loss.grad_fn is not None]
    seen: set[object] = set(waiting)
    found: dict[Hashable, Tensor] = {}
    while waiting:
        node = waiting.pop()
        if (variable := getattr(node, "variable", None)) is not None:
            found[_place(variable)] = variable
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return list(found.values())


def _is_real(gradient: Tensor) -> bool:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool((values.nan_to_num(0.0, 0.0, 0.0) != 0).any())


def _still_silent(subject: BareSubject, silent: set[str], rows: int, length: int) -> set[str]:
    """What stays silent with more tokens and other weights elsewhere: experts that no token chose are not dead."""
    model = subject.copy()
    model.train()
    kept = {name: p.detach().clone() for name, p in model.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    rows, vain = 2 * rows, 0
    length = max(1, min(2 * length, subject.longest // 2))
    for round_ in range(ROUNDS):
        with torch.no_grad():
            for name, p in model.named_parameters():
                if name not in silent and p.is_floating_point():
                    noise = torch.randn(p.shape, generator=generator).to(p.dtype)
                    p.copy_(kept[name] + noise * max(float(kept[name].float().std(correction=0)), 0.02))
                else:
                    p.copy_(kept[name])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(round_)
            reached = _pass(subject, model, rows, length, round_)
        vain = vain + 1 if not silent & reached.moved else 0
        silent = silent - reached.moved
        if not silent or vain >= IN_VAIN:
            break
    return silent


@torch.no_grad()
def _unused(subject: BareSubject, name: str, rows: int, length: int) -> str:
    """Why no graph of gradients ends in a parameter: nothing reads it, or only what passes no gradient."""
    models = [subject.copy() for _ in range(2)]
    value = dict(models[1].named_parameters())[name]
    value.add_(10 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)).to(value.dtype))
    before, after = (subject.output(model, subject.draw(rows, length)) for model in models)
    return "no forward pass uses it" if torch.equal(before, after) else "it moves the output, but passes no gradient"


def gate_balance(subject: BareSubject, case: Case) -> Finding:
    """The smallest mean share that the module reports after a call."""
    model = subject.copy()
    readings = getattr(model, "gate_readings", None)
    if not callable(readings):
        raise DoesNotApply("it reports no gate: offer gate_readings() -> {source: share} after a call")
    with torch.no_grad():
        subject.output(model, subject.draw(number(case, "rows"), number(case, "length")))
        shares = {str(name): float(torch.as_tensor(value).float().mean()) for name, value in readings().items()}
    if len(shares) < 2:
        raise DoesNotApply(f"gate_readings() names {len(shares)} sources: two are needed for a balance")
    return least_share(shares, case)


LEARNING = (
    Property("every_parameter_learns", every_parameter_learns, every_parameter_learns_cases),
    Property("gate_balance", gate_balance, every_parameter_learns_cases),
)
