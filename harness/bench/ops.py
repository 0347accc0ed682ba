"""`gated-delta` and `sliding-window`: the ops beside other implementations, on the same tensors."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize, scaled_dot_product_attention

from cortexzoo.harness.bench.benchmark import Case, timed
from cortexzoo.harness.bench.held_bytes import counted_flops, peak_bytes
from cortexzoo.zoo.ops import compiled
from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule
from cortexzoo.zoo.ops.sliding_window import sliding_window_attention

NUM_HEADS, HEAD_DIM, WINDOW_SIZE, CHUNK_SIZE = 4, 64, 128, 32

Op = Callable[..., Tensor]


class GatedDelta:
    """`chunk_gated_delta_rule`, 4 heads of 64, batch 1, float32; and its compiled kernel, where that can be built."""

    headline = "forward-T2048"

    def cases(self, quick: bool) -> Sequence[Case]:
        lengths = (512, 2048) if quick else (512, 2048, 8192)
        peer = transformers_gated_delta()
        cases = [case for time in lengths for case in both_ways(gated_delta, peer, gated_delta_inputs(time), time)]
        if compiled.is_there():
            cases += [compiled_case(peer, gated_delta_inputs(time), time) for time in lengths]
        return cases


class SlidingWindow:
    """`sliding_window_attention`, window 128, 4 heads of 64, batch 1, float32."""

    headline = "forward-T2048"

    def cases(self, quick: bool) -> Sequence[Case]:
        lengths = (512, 2048) if quick else (512, 2048, 8192)
        return [
            case
            for time in lengths
            for case in both_ways(window_attention, band_mask_attention(time), window_inputs(time), time)
        ]


def both_ways(ours: Op, peer: Op, inputs: list[Tensor], time: int) -> list[Case]:
    """Forward alone, and forward with backward."""

    def forward_backward(op: Op) -> Callable[[], object]:
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        upstream = torch.ones_like(inputs[2])
        return lambda: torch.autograd.grad(op(*leaves), leaves, upstream)

    def alone(op: Op) -> Callable[[], object]:
        return forward(op, inputs)

    return [
        Case(
            f"{way}-T{time}",
            timed(run(ours)),
            timed(run(peer)),
            series=way,
            size=time,
            flops=operations(ours, inputs) if way == "forward" else counted_flops(run(ours)),
            peak_bytes=lambda run=run: peak_bytes(run(ours)),  # type: ignore[misc]
            figures=lambda: difference(ours, peer, inputs),
        )
        for way, run in (("forward", alone), ("forward-backward", forward_backward))
    ]


def operations(op: Op, inputs: list[Tensor]) -> int:
    """Of a forward pass in PyTorch, as where gradients are asked for: inside a compiled kernel nothing is counted."""
    return counted_flops(lambda: op(inputs[0].detach().requires_grad_(), *inputs[1:]))


def forward(op: Op, inputs: list[Tensor]) -> Callable[[], Tensor]:
    """A call of the op without gradients."""

    def call() -> Tensor:
        with torch.no_grad():
            return op(*inputs)

    return call


def difference(ours: Op, other: Op, inputs: list[Tensor]) -> dict[str, float]:
    """Between the outputs, relative to those of the other."""
    expected = forward(other, inputs)()
    return {"relative_difference": float((forward(ours, inputs)() - expected).norm() / expected.norm())}


def gated_delta_inputs(time: int) -> list[Tensor]:
    """q, k with unit rows, v, a log decay that keeps most, beta in (0, 1)."""
    rng = torch.Generator().manual_seed(time)
    q, k, v = (torch.randn(1, time, NUM_HEADS, HEAD_DIM, generator=rng) for _ in range(3))
    g, beta = (torch.randn(1, time, NUM_HEADS, generator=rng) for _ in range(2))
    return [normalize(q, dim=-1), normalize(k, dim=-1), v, logsigmoid(g + 4), beta.sigmoid()]


def window_inputs(time: int) -> list[Tensor]:
    """q, k, v."""
    rng = torch.Generator().manual_seed(time)
    return [torch.randn(1, time, NUM_HEADS, HEAD_DIM, generator=rng) for _ in range(3)]


def gated_delta(*inputs: Tensor) -> Tensor:
    q, k, v, g, beta = inputs
    return chunk_gated_delta_rule(q, k, v, g, beta, chunk_size=CHUNK_SIZE)[0]


def compiled_case(peer: Op, inputs: list[Tensor], time: int) -> Case:
    """The kernel alone. Its operations are counted, and its outputs compared, as those of the form in PyTorch."""
    return Case(
        f"compiled-forward-T{time}",
        timed(forward(compiled_gated_delta, inputs)),
        timed(forward(peer, inputs)),
        series="compiled-forward",
        size=time,
        flops=operations(gated_delta, inputs),
        peak_bytes=lambda: peak_bytes(forward(compiled_gated_delta, inputs)),
        figures=lambda: difference(compiled_gated_delta, gated_delta, inputs),
    )


def compiled_gated_delta(*inputs: Tensor) -> Tensor:
    q, k, v, g, beta = inputs
    state = k.new_zeros(k.shape[0], *k.shape[2:], v.shape[-1])
    return compiled.gated_delta_forward(q, k, v, g, beta, state, k.shape[-1] ** -0.5, CHUNK_SIZE)[0]


def window_attention(*inputs: Tensor) -> Tensor:
    q, k, v = inputs
    return sliding_window_attention(q, k, v, WINDOW_SIZE)[0]


def transformers_gated_delta() -> Op:
    """The PyTorch form that transformers uses where no kernel is installed."""
    from transformers.models.qwen3_next.modeling_qwen3_next import torch_chunk_gated_delta_rule

    def peer(*inputs: Tensor) -> Tensor:
        out: Tensor = torch_chunk_gated_delta_rule(*inputs)[0]
        return out

    return peer


def band_mask_attention(time: int) -> Op:
    """Scaled dot product attention under a mask of the same window."""
    token = torch.arange(time)
    visible = (token <= token[:, None]) & (token > token[:, None] - WINDOW_SIZE)

    def peer(*inputs: Tensor) -> Tensor:
        q, k, v = (tensor.transpose(1, 2) for tensor in inputs)
        return scaled_dot_product_attention(q, k, v, attn_mask=visible).transpose(1, 2)

    return peer
