"""The gated delta rule, attention over a window and columns against their formulas: values, states and gradients."""

import math
import warnings
from collections.abc import Callable, Iterable, Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.harness.checking.operators_again import columns_again, gated_delta_again, window_again
from cortexzoo.harness.checking.properties.base import (
    Case,
    Finding,
    Property,
    largest_difference,
    number,
    scale_of,
    text,
)
from cortexzoo.harness.checking.subject import Subject
from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule
from cortexzoo.zoo.ops.masked_columns import masked_columns, naive_masked_columns
from cortexzoo.zoo.ops.recurrent_gated_delta import recurrent_gated_delta_rule
from cortexzoo.zoo.ops.sliding_window import WindowState, masked_window_attention, sliding_window_attention

ROWS, HEADS, KEY, VALUE = 2, 3, 4, 5
Form = Callable[..., tuple[Tensor, Tensor | WindowState | None]]
COLUMNS = ("columns", "plain columns")
FORMS = ("chunks", "tokens", "blocks", "mask", *COLUMNS)
SIZES = ((1, 32), (2, 1), (5, 3), (7, 5), (19, 20), (40, 16), (41, 40))
"""Tokens, and those of a chunk or of a window: chunks of powers of two, of other numbers, and with a rest.

Of columns: rows, and the hidden units of each column."""
WIDE = 1 << 17
"""Hidden units of which only a few rows are worked on at once."""
Outcome = tuple[Tensor, Sequence[Tensor]]
"""Outputs, and what is handed on."""


def _form(name: str) -> Form:
    match name:
        case "chunks":
            return chunk_gated_delta_rule
        case "tokens":
            return recurrent_gated_delta_rule
        case "blocks":
            return sliding_window_attention
    return masked_window_attention


def operator_cases(_: Subject) -> Iterable[Case]:
    """Each form with and without a beginning and a scale, for the sizes in turn."""
    for form in FORMS:
        for place, (tokens, size) in enumerate(SIZES):
            yield {
                "form": form,
                "tokens": tokens,
                "size": size,
                "begun": place % 2 == 1,
                "scaled": place % 3 == 1,
                "seed": 0,
            }
    yield {"form": "columns", "tokens": 13, "size": WIDE, "begun": False, "scaled": False, "seed": 0}


def operator_strategy(_: Subject) -> st.SearchStrategy[Case]:
    """Any sizes."""
    return st.fixed_dictionaries(
        {
            "form": st.sampled_from(FORMS),
            "tokens": st.integers(1, 40),
            "size": st.integers(1, 48),
            "begun": st.booleans(),
            "scaled": st.booleans(),
            "seed": st.integers(0, 99),
        }
    )


def operators_match_formulas(_: Subject, case: Case) -> Finding:
    """Random tensors in float64: outputs and what is handed on, without gradients too, and the gradient of each input.

    Every difference is in terms of the largest value of its kind.
    """
    form, tokens, size = text(case, "form"), number(case, "tokens"), number(case, "size")
    random = torch.Generator().manual_seed(number(case, "seed"))
    scale = 0.7 if case["scaled"] is True else None
    if form in ("chunks", "tokens"):
        given, asked, wanted = _gated_delta(_form(form), tokens, size, scale, random, begun=case["begun"] is True)
    elif form in COLUMNS:
        given, asked, wanted = _columns(form, tokens, size, random)
    else:
        given, asked, wanted = _window(_form(form), tokens, size, scale, random, begun=case["begun"] is True)
    how = _how(form, tokens, size)
    (other, others) = wanted()
    try:
        out, handed_on = _without_warning(asked)
        with torch.no_grad():
            quick, rest = _without_warning(asked)
    except Warning as warning:
        return Finding(math.inf, f"torch warns, for {how}: {warning}", case)
    pairs = {"the output": (out, other)}
    pairs |= {f"what is handed on ({n})": pair for n, pair in enumerate(zip(handed_on, others, strict=True))}
    weights = [torch.randn(each.shape, generator=random).double() for each in (other, *others)]
    one, two = (_gradients(given, parts, weights) for parts in ((out, *handed_on), (other, *others)))
    pairs |= {f"the gradient of input {n}": pair for n, pair in enumerate(zip(one, two, strict=True))}
    pairs |= {"the output without gradients": (quick, other)}
    pairs |= {f"what is handed on without gradients ({n})": p for n, p in enumerate(zip(rest, others, strict=True))}
    apart = {name: _apart(found, expected) for name, (found, expected) in pairs.items()}
    worst = max(apart, key=lambda name: apart[name])
    return Finding(apart[worst], f"{worst} is {apart[worst]:.2g} from what the formula gives: {how}", case)


def _how(form: str, tokens: int, size: int) -> str:
    of = "columns of" if form in COLUMNS else "chunks of" if form in ("chunks", "tokens") else "a window of"
    return f"{tokens} tokens, {of} {size}, by {form}"


def _without_warning(asked: Callable[[], Outcome]) -> Outcome:
    """As asked; raises a warning, as torch's of a result that is given a tensor of another size."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return asked()


def _apart(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return math.inf
    return largest_difference(found, expected) / scale_of(expected.detach()) if expected.numel() else 0.0


def _gradients(given: Sequence[Tensor], parts: Sequence[Tensor], weights: Sequence[Tensor]) -> Sequence[Tensor]:
    loss = sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True))
    return torch.autograd.grad(loss, given, materialize_grads=True, allow_unused=True)  # type: ignore[arg-type]


Both = tuple[Sequence[Tensor], Callable[[], Outcome], Callable[[], Outcome]]


def _gated_delta(
    form: Form, tokens: int, size: int, scale: float | None, random: torch.Generator, *,
    begun: bool,
) -> Both:  # fmt: skip
    """Unit keys, strengths up to 2, and decays from next to nothing to next to all."""
    q, k = (torch.randn(ROWS, tokens, HEADS, KEY, generator=random).double() for _ in range(2))
    k = k / k.norm(dim=-1, keepdim=True)
    v = torch.randn(ROWS, tokens, HEADS, VALUE, generator=random).double()
    g = -(10 * torch.rand(ROWS, tokens, HEADS, generator=random) - 8).exp().double()
    beta = 2 * torch.rand(ROWS, tokens, HEADS, generator=random).double()
    given = [each.requires_grad_() for each in (q, k, v, g, beta)]
    state = None
    if begun:
        state = torch.randn(ROWS, HEADS, KEY, VALUE, generator=random).double().requires_grad_()
        given.append(state)

    def asked() -> Outcome:
        options = {"scale": scale, "initial_state": state, "output_final_state": True, "chunk_size": size}
        out, last = form(*given[:5], **options)
        assert isinstance(last, Tensor)
        return out, [last]

    def wanted() -> Outcome:
        out, last = gated_delta_again(q, k, v, g, beta, scale, state)
        return out, [last]

    return given, asked, wanted


def _window(
    form: Form, tokens: int, size: int, scale: float | None, random: torch.Generator, *,
    begun: bool,
) -> Both:  # fmt: skip
    """As many tokens before as a window carries, or a few less; blocks of 8."""
    carried = max(0, size - 1 - size // 3) if begun else 0
    q = torch.randn(ROWS, tokens, HEADS, KEY, generator=random).double()
    k = torch.randn(ROWS, tokens + carried, HEADS, KEY, generator=random).double()
    v = torch.randn(ROWS, tokens + carried, HEADS, VALUE, generator=random).double()
    given = [each.requires_grad_() for each in (q, k, v)]

    def asked() -> Outcome:
        state = WindowState(k[:, :carried], v[:, :carried]) if begun else None
        options = {"scale": scale, "initial_state": state, "output_final_state": True, "block_size": 8}
        out, last = form(q, k[:, carried:], v[:, carried:], size, **options)
        assert isinstance(last, WindowState)
        return out, [last.keys, last.values]

    def wanted() -> Outcome:
        before = (k[:, :carried], v[:, :carried]) if begun else None
        out, last = window_again(q, k[:, carried:], v[:, carried:], size, scale, before)
        return out, last

    return given, asked, wanted


def _columns(form: str, rows: int, units: int, random: torch.Generator) -> Both:
    """Some columns have no share of a row."""
    width, out = (1, 1) if units >= WIDE else (KEY, VALUE)
    x, weight = torch.randn(rows, width, generator=random), torch.randn(width, HEADS * units, generator=random)
    mask = torch.rand(rows, HEADS, generator=random) * (torch.rand(rows, HEADS, generator=random) > 0.3)
    bias, output = torch.randn(HEADS * units, generator=random), torch.randn(HEADS * units, out, generator=random)
    given = [each.double().requires_grad_() for each in (x, mask, weight, bias, output)]
    asked = masked_columns if form == "columns" else naive_masked_columns
    return given, lambda: (asked(*given), []), lambda: (columns_again(*given), [])


OPERATORS = (
    Property(
        "operators_match_formulas",
        operators_match_formulas,
        operator_cases,
        strategy=operator_strategy,
        cost=8,
        shrinks=True,
    ),
)
