"""Gradients of a bare module: finite at every length, dtype and scale, and present at every parameter."""

from collections.abc import Iterable

import torch
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.harness.checking.modules.subject import DTYPES, BareSubject, dtypes_offered
from cortexzoo.harness.checking.properties.base import Case, DoesNotApply, Finding, Property, finding, number, text

SCALES = {"0": 0.0, "1e-8": 1e-8, "1": 1.0, "1e4": 1e4}
UPDATES = 2
LEARNING_RATE = 1e-3


def finite_gradients_cases(subject: BareSubject) -> Iterable[Case]:
    """Every length from one on; then single calls in each dtype, of equal tokens, and of other scales."""
    plain: dict[str, int | float | str] = {"rows": 1, "dtype": "float32", "content": "1", "seed": 0}
    for length in range(1, subject.longest + 1):
        yield {"length": length, **plain}
    for content in _contents(subject):
        for dtype in dtypes_offered(subject):
            yield {"length": 2, **plain, "dtype": dtype, "content": content}


def finite_gradients_strategy(subject: BareSubject) -> st.SearchStrategy[Case]:
    """Any length, batch, dtype, content and seed."""
    return st.fixed_dictionaries(
        {
            "length": st.integers(1, subject.longest),
            "rows": st.integers(1, 3),
            "dtype": st.sampled_from(dtypes_offered(subject)),
            "content": st.sampled_from(_contents(subject)),
            "seed": st.integers(0, 999),
        }
    )


def _contents(subject: BareSubject) -> list[str]:
    return ["1", "same"] if subject.inputs.kind == "tokens" else ["1", "same", "0", "1e-8", "1e4"]


def finite_gradients(subject: BareSubject, case: Case) -> Finding:
    """One training pass: count what is not finite among output, loss and gradients."""
    model = subject.copy().train()
    length, content = number(case, "length"), text(case, "content")
    inputs = subject.inputs.draw(number(case, "rows"), length, number(case, "seed"), SCALES.get(content, 1.0))
    if content == "same":
        inputs = inputs[:, :1].expand_as(inputs).clone()
    if (name := text(case, "dtype")) != "float32":
        model = model.to(DTYPES[name])
        inputs = inputs.to(DTYPES[name]) if inputs.is_floating_point() else inputs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        output = subject.output(model, inputs)
        loss = _loss(output)
        if loss.requires_grad:
            loss.backward()
    values: dict[str, Tensor] = {"the output": output.detach()}
    values |= {f"the gradient of {n}": p.grad for n, p in model.named_parameters() if p.grad is not None}
    bad = {name: value for name, value in values.items() if not bool(value.isfinite().all())}
    if not bad:
        reason = f"output and gradients are finite at every tried length up to {subject.longest}"
        return finding("finite_gradients", 0, reason, case)
    count = sum(int((~value.isfinite()).sum()) for value in bad.values())
    first = next(iter(bad))
    kind = "NaN" if bool(bad[first].isnan().any()) else "infinite"
    of_content = {"1": "", "same": " of equal inputs"}.get(content, f" of inputs scaled by {content}")
    reason = f"{first} is {kind} at length {length}{of_content}" + ("" if name == "float32" else f" in {name}")
    return finding("finite_gradients", count, reason, {**case, "where": first})


def _loss(output: Tensor) -> Tensor:
    """A different weight for every number, of the size of a mean, so that no gradient cancels or grows with length."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(output.shape, generator=generator).to(output.dtype)
    loss: Tensor = (output * weights).sum() / output.numel() ** 0.5
    return loss


def every_parameter_learns(subject: BareSubject, case: Case) -> Finding:
    """Gradients of three passes around two updates: a zero-initialised projection hides what lies before it."""
    model = subject.copy().train()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise DoesNotApply("it has no trainable parameter")
    silent = set(trainable)
    optimizer = torch.optim.AdamW(trainable.values(), lr=LEARNING_RATE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for update in range(UPDATES + 1):
            optimizer.zero_grad()
            loss = _loss(subject.output(model, subject.draw(number(case, "rows"), number(case, "length"), update)))
            if loss.requires_grad:
                loss.backward()
            silent -= {name for name, p in trainable.items() if p.grad is not None and bool(p.grad.any())}
            optimizer.step()
    if not silent:
        return finding("every_parameter_learns", 0, f"all {len(trainable)} parameters got a gradient", case)
    shown = [name for name in trainable if name in silent]
    names = ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
    reason = f"{names}: no gradient in {UPDATES + 1} passes"
    return finding("every_parameter_learns", len(silent), reason, {**case, "first": shown[0]})


def every_parameter_learns_cases(_: object) -> Iterable[Case]:
    """One batch."""
    yield {"rows": 4, "length": 32}


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
    least = min(shares, key=lambda name: shares[name])
    told = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
    return finding("gate_balance", shares[least], f"mean shares {told}", {**case, "source": least})


GRADIENTS = (
    Property("finite_gradients", finite_gradients, finite_gradients_cases, finite_gradients_strategy),
    Property("every_parameter_learns", every_parameter_learns, every_parameter_learns_cases),
    Property("gate_balance", gate_balance, every_parameter_learns_cases),
)
