"""Outputs and gradients of a bare module: finite at every length, dtype and scale, at special tokens and with pads.

Differs from a trained model (`properties/gradients.py`): it has no loss, so every output is weighted.
"""

from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from cortexzoo.harness.checking.modules.detection import DTYPES, dtypes_offered
from cortexzoo.harness.checking.modules.overflow import overflowing
from cortexzoo.harness.checking.modules.rounded_positions import HALF, RoundedPositions, is_half
from cortexzoo.harness.checking.modules.subject import BareSubject
from cortexzoo.harness.checking.modules.watching import first_fault
from cortexzoo.harness.checking.properties.base import Case, Finding, Property, number, text
from cortexzoo.harness.checking.properties.causes.explanations import not_finite
from cortexzoo.harness.checking.properties.causes.tracing import traced
from cortexzoo.harness.checking.properties.gradients import all_finite

SCALES = {"0": 0.0, "1e-8": 1e-8, "1": 1.0, "1e4": 1e4}
LOSS_SCALES = (2**-4, 2**-8, 2**-12)
"""Tried where gradients of the whole loss are beyond float16."""
LEAST_OF_HALF = 2.0**-24
"""The least number above zero of float16; a smaller gradient is lost there whatever the loss."""
DENSE = 300
"""Every length up to this is tried, after the sparse ones."""
PADDED = ("padded", "a row of pads")
SIDES = ("left", "right", "both")


def finite_gradients_cases(subject: BareSubject) -> Iterable[Case]:
    """Sparse lengths; special tokens in each dtype; pads; then every length."""
    plain: dict[str, int | float | str] = {"rows": 1, "dtype": "float32", "content": "1", "seed": 0}
    sparse = subject.lengths()[:12]
    for length in sparse[:8]:
        yield {"length": length, **plain}
    dtypes = _dtypes(subject)
    for content in contents(subject):
        for dtype in dtypes:
            if not (content == "1e4" and dtype == "float16"):  # 1e4 squared is beyond float16 for any module
                yield {"length": 2, **plain, "dtype": dtype, "content": content}
    for dtype in dtypes[1:]:
        for length in (65, 300):
            if length <= subject.longest:
                yield {"length": length, **plain, "dtype": dtype}
    if masked(subject):
        for length in [n for n in (2, 5, 17, 70) if n <= subject.longest]:
            yield {"length": length, **plain, "rows": 3, "content": "padded"}
        yield {"length": min(5, subject.longest), **plain, "rows": 3, "content": "a row of pads"}
    for length in sparse[8:]:
        yield {"length": length, **plain}
    if "float16" in dtypes:
        for length in [n for n in (1025, subject.longest) if 300 < n <= subject.longest]:
            yield {"length": length, **plain, "dtype": "float16"}
    for length in range(1, min(subject.longest, DENSE) + 1):
        if length not in sparse:
            yield {"length": length, **plain}


def finite_gradients_strategy(subject: BareSubject) -> st.SearchStrategy[Case]:
    """Any length, batch, dtype, content and seed."""
    return st.fixed_dictionaries(
        {
            "length": st.integers(1, min(subject.longest, 400)),
            "rows": st.integers(1, 3),
            "dtype": st.sampled_from([d for d in _dtypes(subject) if d != "float16"]),
            "content": st.sampled_from(contents(subject)),
            "seed": st.integers(0, 999),
        }
    )


def contents(subject: BareSubject) -> list[str]:
    """What inputs are made of: at random, all the same, scaled; beginning with or made of a special token."""
    if subject.inputs.kind == "vectors":
        return ["1", "same", "0", "1e-8", "1e4"]
    return ["1", "same", *(f"{where} {token}" for where in ("first", "last", "all") for token in subject.special)]


def masked(subject: BareSubject) -> bool:
    """Whether the module takes a padding mask."""
    return getattr(subject.original, "padding_side", None) in SIDES


def _dtypes(subject: BareSubject) -> list[str]:
    return ["float32", "autocast", *dtypes_offered(subject)]


def inputs_of(subject: BareSubject, case: Case) -> Tensor:
    """[B, T] or [B, T, D] of a case's content."""
    content, length = text(case, "content"), number(case, "length")
    inputs = subject.inputs.draw(number(case, "rows"), length, number(case, "seed"), SCALES.get(content, 1.0))
    if content == "same":
        return inputs[:, :1].expand_as(inputs).clone()
    where, _, token = content.partition(" ")
    if where in ("first", "last", "all"):
        inputs[:, {"first": slice(0, 1), "last": slice(-1, None), "all": slice(None)}[where]] = int(token)
    return inputs


def finite_gradients(subject: BareSubject, case: Case) -> Finding:
    """One training pass: count what is not finite among outputs and gradients."""
    name, content, length = text(case, "dtype"), text(case, "content"), number(case, "length")
    subject = replace(subject, dtype=DTYPES[name]) if name in DTYPES else subject
    model, inputs = subject.copy(), _wanted(subject, case)
    try:
        outputs = _pass(subject, model, inputs, case)
    except Exception:
        if name == "float32" and content != "a row of pads":
            raise
        return Finding(0, f"it does not take {content if name == 'float32' else name}", case)
    values = {"the output": outputs[0].detach()}
    values |= {f"output {n + 1}": o.detach() for n, o in enumerate(outputs) if n and n in subject.slots}
    in_range = all(map(_is_finite, values.values()))
    values |= _gradients(model, inputs)
    place = f"at length {length}{_in_words(content)}" + ("" if name == "float32" else f" in {name}")
    found = all_finite(values, place, f" and dtype ({', '.join(_dtypes(subject))})", case)
    if found.observed and name == "float16" and in_range and _a_scale_helps(subject, case):
        found = Finding(0, "outputs and gradients of a scaled loss are finite", case)
    if not found.observed and name == "float16" and (overflow := overflowing(subject, inputs)):
        reason = f"{overflow} is beyond float16 at length {length}{_in_words(content)}, and the output finite and wrong"
        return Finding(1, reason, {**case, "where": overflow})
    first_missing = HALF.get(subject.dtype) if subject.dtype is not None and is_half(subject) else None
    meant = first_missing is not None and length >= first_missing
    if meant and not found.observed and (rounded := first_fault(RoundedPositions(), subject, inputs)):
        return Finding(1, f"{rounded}: at length {length} the output is finite and wrong", {**case, "where": rounded})
    return found


def _wanted(subject: BareSubject, case: Case) -> Tensor:
    """The inputs; vectors get a gradient."""
    inputs = subject.fitted(inputs_of(subject, case))
    return inputs.requires_grad_() if inputs.is_floating_point() else inputs


def _gradients(model: nn.Module, inputs: Tensor) -> dict[str, Tensor]:
    of_input = {} if inputs.grad is None else {"the gradient of the input": inputs.grad}
    return of_input | {f"the gradient of {n}": p.grad for n, p in model.named_parameters() if p.grad is not None}


def _is_finite(value: Tensor) -> bool:
    return bool(value.to_dense().isfinite().all())


def _a_scale_helps(subject: BareSubject, case: Case) -> bool:
    """Whether a smaller loss leaves no gradient beyond float16, and none that float32 has lost below it.

    Training in float16 scales its loss down until gradients are finite (`torch.amp.GradScaler`): only what no scale
    mends is wrong.
    """
    there = _scaled(replace(subject, dtype=torch.float32), case, 1.0)
    for scale in LOSS_SCALES:
        found = _scaled(subject, case, scale)
        if all(map(_is_finite, found.values())):
            held = [
                name for name, value in there.items() if value.numel() and float(value.abs().max()) >= LEAST_OF_HALF
            ]
            return all(found[name].any() for name in held if name in found)
    return False


def _scaled(subject: BareSubject, case: Case, scale: float) -> dict[str, Tensor]:
    model, inputs = subject.copy(), _wanted(subject, case)
    _pass(subject, model, inputs, case, scale)
    return {name: gradient.to_dense() for name, gradient in _gradients(model, inputs).items()}


def _pass(subject: BareSubject, model: nn.Module, inputs: Tensor, case: Case, scale: float = 1.0) -> list[Tensor]:
    """Everything that the module returns for real tokens, after a backward pass from it, in training mode."""
    model.train()
    mask = None
    if text(case, "content") in PADDED:
        mask = pad_mask(subject, *inputs.shape[:2])
        mask[-1] &= text(case, "content") == "padded"
    autocast = text(case, "dtype") == "autocast"
    casting: Any = torch.autocast("cpu", dtype=torch.bfloat16) if autocast else nullcontext()
    with torch.random.fork_rng(devices=[]), casting:
        torch.manual_seed(0)
        found, _ = subject.call(model, inputs, subject.begin(model, len(inputs)), mask)
        outputs = [output[mask] if mask is not None and output.shape[:2] == mask.shape else output for output in found]
        losses = [scale * weighted(output) for output in outputs if output.requires_grad]
        if losses:
            torch.autograd.backward(losses)
    return outputs


def _why(subject: BareSubject, case: Case) -> Case | None:
    name = text(case, "dtype")
    subject = replace(subject, dtype=DTYPES[name]) if name in DTYPES else subject
    model = subject.copy()
    with traced(model) as trace:
        _pass(subject, model, _wanted(subject, case), case)
    return not_finite(trace)


def _in_words(content: str) -> str:
    where, _, token = content.partition(" ")
    if where in ("first", "last", "all"):
        return {"first": " beginning with", "last": " ending with", "all": " of nothing but"}[where] + f" token {token}"
    named = {"1": "", "same": " of equal inputs", "padded": " with pads", "a row of pads": " with a row of pads alone"}
    return named.get(content, f" of inputs scaled by {content}")


def pad_mask(subject: BareSubject, rows: int, length: int) -> Tensor:
    """[B, T], True at real tokens: no pads in the first row, then ever more, one real token in the last."""
    pads = torch.arange(rows) * (length - 1) // max(1, rows - 1)
    place = torch.arange(length)
    if subject.original.padding_side == "right":
        return place < (length - pads)[:, None]
    return place >= pads[:, None]


def weighted(output: Tensor) -> Tensor:
    """A different weight for every number, of the size of a mean, so that no gradient cancels or grows with length."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(output.shape, generator=generator).to(output.dtype)
    loss: Tensor = (output * weights).sum() / max(1, output.numel()) ** 0.5
    return loss


FINITENESS = (
    Property(
        "finite_gradients",
        finite_gradients,
        finite_gradients_cases,
        finite_gradients_strategy,
        explain=_why,
        shrinks=True,
    ),
)
