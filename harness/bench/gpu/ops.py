"""Ops on a card: outputs and gradients against their naive twins in float64, and times beside fla-core's kernels."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from cortexzoo.harness.bench.gpu.card import Rates, milliseconds
from cortexzoo.harness.bench.gpu.row import Row
from cortexzoo.harness.bench.held_bytes import counted_flops
from cortexzoo.zoo.ops import gated_delta
from cortexzoo.zoo.ops.recurrent_gated_delta import recurrent_gated_delta_rule
from cortexzoo.zoo.ops.sliding_window import masked_window_attention, sliding_window_attention

SECTION = "ops"
HEADS, HEAD_DIM, WINDOW = 8, 64, 128
BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""Relative error against float64: rounding of the inputs, and of sums over a chunk."""

Op = Callable[..., Tensor]


def delta_inputs(length: int, dtype: torch.dtype) -> list[Tensor]:
    """q, k with unit rows, v, a log decay that keeps most, beta in (0, 1)."""
    rng = torch.Generator("cuda").manual_seed(length)
    q, k, v = (torch.randn(2, length, HEADS, HEAD_DIM, device="cuda", generator=rng) for _ in range(3))
    g, beta = (torch.randn(2, length, HEADS, device="cuda", generator=rng) for _ in range(2))
    tensors = [normalize(q, dim=-1), normalize(k, dim=-1), v]
    return [*(tensor.to(dtype) for tensor in tensors), logsigmoid(g + 4), beta.sigmoid()]


def relative_error(out: Tensor, expected: Tensor) -> float:
    return float((out.double() - expected).norm() / expected.norm())


def outputs_and_gradients(op: Op, inputs: Sequence[Tensor]) -> list[Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    out = op(*leaves)
    weights = torch.linspace(-1, 1, out.numel(), device=out.device, dtype=out.dtype).view_as(out)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def ours(*inputs: Tensor) -> Tensor:
    """As a user calls it: fla-core's kernel where it works."""
    q, k, v, g, beta = inputs
    return gated_delta.chunk_gated_delta_rule(q, k, v, g, beta)[0]


def chunked(*inputs: Tensor) -> Tensor:
    """Our own chunked form also where fla-core's kernel would be taken."""
    kernel, gated_delta._fla_kernel = gated_delta._fla_kernel, lambda device, backward: None  # type: ignore[assignment]
    try:
        return ours(*inputs)
    finally:
        gated_delta._fla_kernel = kernel


def naive(*inputs: Tensor) -> Tensor:
    q, k, v, g, beta = inputs
    return recurrent_gated_delta_rule(q, k, v, g, beta)[0]


def window(*inputs: Tensor) -> Tensor:
    q, k, v = inputs
    return sliding_window_attention(q, k, v, WINDOW)[0]


def naive_window(*inputs: Tensor) -> Tensor:
    """Every pair of tokens, under a mask."""
    q, k, v = inputs
    return masked_window_attention(q, k, v, WINDOW)[0]


def rows(rates: Rates) -> Iterator[Row]:
    """Errors, then times."""
    yield from delta_errors()
    for dtype in (torch.float32, torch.bfloat16):
        inputs = delta_inputs(500, dtype)[:3]
        worst = max(errors(window, naive_window, inputs))
        yield Row(
            SECTION,
            f"window attention, {str(dtype)[6:]}: worst",
            f"{worst:.1e}",
            worst <= BOUNDS[dtype],
            f"{BOUNDS[dtype]:.0e}",
        )
    for length in (2048, 8192, 32768):
        yield from delta_times(length, rates)
    yield from window_times(8192, rates)


def errors(op: Op, twin: Op, inputs: Sequence[Tensor]) -> list[float]:
    """Relative, of the outputs and of each gradient."""
    exact = outputs_and_gradients(twin, [tensor.double() for tensor in inputs])
    found = outputs_and_gradients(op, inputs)
    return [relative_error(one, other) for one, other in zip(found, exact, strict=True)]


def delta_errors() -> Iterator[Row]:
    """Of the chunked form, and of fla-core's kernel as far as it works here."""
    card = torch.device("cuda", 0)
    for name, op, dtype in (("chunked", chunked, torch.float32), ("chunked", chunked, torch.bfloat16)):
        found = errors(op, naive, delta_inputs(300, dtype))
        yield Row(
            SECTION,
            f"gated delta, {name}, {str(dtype)[6:]}: outputs; worst gradient",
            f"{found[0]:.1e}; {max(found[1:]):.1e}",
            max(found) <= BOUNDS[dtype],
            f"{BOUNDS[dtype]:.0e}",
        )
    for backward, what in ((False, "outputs"), (True, "worst gradient")):
        if gated_delta._fla_kernel(card, backward) is None:
            yield Row(SECTION, f"gated delta, fla-core, bfloat16: {what}", "absent, or does not work here")
            continue
        inputs = delta_inputs(300, torch.bfloat16)
        if backward:
            worst = max(errors(ours, naive, inputs)[1:])
        else:
            with torch.no_grad():
                worst = relative_error(ours(*inputs), naive(*[tensor.double() for tensor in inputs]))
        bound = BOUNDS[torch.bfloat16]
        yield Row(SECTION, f"gated delta, fla-core, bfloat16: {what}", f"{worst:.1e}", worst <= bound, f"{bound:.0e}")


def delta_times(length: int, rates: Rates) -> Iterator[Row]:
    """Forward, and forward with backward; shares of what the card does at most."""
    inputs = delta_inputs(length, torch.bfloat16)
    moved = sum(tensor.nbytes for tensor in inputs) + inputs[2].nbytes

    def seen(ms: float, flops: int) -> str:
        products = flops / ms * 1e3 / rates.products[torch.float32]
        return f"{ms:.2f} ms ({products:.1%} of the float32 products, {moved / ms * 1e3 / rates.copy:.1%} of a copy)"

    with torch.no_grad():
        flops = counted_flops(lambda: chunked(*inputs))
        ms = milliseconds(lambda: chunked(*inputs), 5)
        beside = "no kernel of fla-core"
        if gated_delta._fla_kernel(inputs[0].device, False) is not None:
            beside = f"fla-core {milliseconds(lambda: ours(*inputs), 5):.2f} ms"
    yield Row(
        SECTION,
        f"gated delta, forward, bfloat16, 2 × {length:,} tokens, {HEADS} heads of {HEAD_DIM}",
        f"{seen(ms, flops)}; {beside}",
    )
    both = milliseconds(lambda: outputs_and_gradients(chunked, inputs), 5)
    yield Row(SECTION, f"gated delta, forward and backward, the same, {length:,} tokens", f"{both:.2f} ms")


def window_times(length: int, rates: Rates) -> Iterator[Row]:
    """Forward, bfloat16."""
    inputs = delta_inputs(length, torch.bfloat16)[:3]
    with torch.no_grad():
        flops = counted_flops(lambda: window(*inputs))
        ms = milliseconds(lambda: window(*inputs), 5)
    share = flops / ms * 1e3 / rates.products[torch.bfloat16]
    yield Row(
        SECTION,
        f"window attention, forward, bfloat16, 2 × {length:,} tokens, window {WINDOW}",
        f"{ms:.2f} ms ({share:.1%} of the bfloat16 products as counted by torch)",
    )
