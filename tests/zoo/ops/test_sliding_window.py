"""Blockwise window attention against its band mask: values, gradients, and any split with its state carried."""

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.zoo.ops.sliding_window import WindowState, masked_window_attention, sliding_window_attention
from tests.property.strategies import WindowCase, seeds, splits, window_cases
from tests.tolerances import WINDOW, Tolerance

Attention = Callable[..., tuple[Tensor, WindowState | None]]
NAMES = ("out", "keys", "values", "dq", "dk", "dv", "d_carried_keys", "d_carried_values")
BOTH = pytest.mark.parametrize("attention", [sliding_window_attention, masked_window_attention])


def results(attention: Attention, case: WindowCase, inputs: list[Tensor], upstream: Tensor) -> dict[str, Tensor]:
    """Output, carried state and the gradient of every input, by name."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out, state = attention(
        *leaves[:3],
        case.window_size,
        initial_state=WindowState(*leaves[3:]),
        output_final_state=True,
        block_size=case.block_size,
    )
    assert state is not None
    # The carried state takes part, so that its gradient is seen as well.
    total = (out * upstream).sum() + sum(tensor.square().sum() for tensor in state)
    gradients = torch.autograd.grad(total, leaves)
    return dict(zip(NAMES, (out.detach(), *(t.detach() for t in state), *gradients), strict=True))


def misses(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: Tolerance, zero: float = 0.0) -> list[str]:
    found = []
    for name, value in expected.items():
        allowed = tolerance.gradients if name.startswith("d") else tolerance.values
        error = (got[name].double() - value).norm()
        if got[name].shape != value.shape or not error <= allowed * value.norm() + zero:
            found.append(f"{name}: {float(error / value.norm()):.1e} > {allowed:.1e}")
    return found


@given(window_cases())
@example(WindowCase(1, 1, 1, 1, 1, 1, 64, 0, 0))
@example(WindowCase(2, 64, 2, 4, 4, 65, 64, 64, 0))
@example(WindowCase(2, 400, 4, 2, 2, 70, 16, 30, 0))  # several spans
@example(WindowCase(2, 300, 16, 2, 2, 150, 64, 10, 0))  # a window over several spans, little of it carried
def test_blocks_equal_the_band_mask_in_float64(case: WindowCase) -> None:
    inputs, upstream = case.inputs(), case.upstream()
    got = results(sliding_window_attention, case, inputs, upstream)
    # A window of one token has a gradient of exactly 0 for its query and key.
    assert misses(got, results(masked_window_attention, case, inputs, upstream), WINDOW[torch.float64], 1e-14) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("window_size", [16, 64, 65, 128])
def test_every_dtype_keeps_its_tolerance(window_size: int, dtype: torch.dtype) -> None:
    case = WindowCase(1, 300, 2, 32, 32, window_size, 64, window_size // 2, 0)
    inputs, upstream = case.inputs(dtype), case.upstream(dtype)
    got = results(sliding_window_attention, case, inputs, upstream)
    assert got["out"].dtype == got["keys"].dtype == dtype
    wide = results(masked_window_attention, case, [t.double() for t in inputs], upstream.double())
    assert misses(got, wide, WINDOW[dtype]) == []


def test_gradients_are_those_of_finite_differences() -> None:
    case = WindowCase(1, 7, 1, 2, 2, 4, 3, 2, 0)
    leaves = [tensor.requires_grad_() for tensor in case.inputs()]

    def attention(*inputs: Tensor) -> Tensor:
        return sliding_window_attention(*inputs[:3], 4, initial_state=WindowState(*inputs[3:]), block_size=3)[0]

    assert torch.autograd.gradcheck(attention, leaves)


@pytest.mark.parametrize("block_size", [4, 64])
def test_a_token_sees_exactly_its_window(block_size: int) -> None:
    window, time = 5, 23
    rows = torch.zeros(time, 1, 1, 1)
    # Equal scores: every visible token gets the same weight, and the values tell which ones those are.
    values = torch.eye(time)[None, :, None, :]
    out, _ = sliding_window_attention(
        rows.view(1, time, 1, 1), rows.view(1, time, 1, 1), values, window, block_size=block_size
    )
    seen = out[0, :, 0] > 0
    expected = [[query - window < key <= query for key in range(time)] for query in range(time)]
    assert seen.tolist() == expected


@pytest.mark.parametrize("window_size", [1, 5, 64, 400])
@settings(max_examples=10)
@given(pieces=splits(300), seed=seeds, carried=st.booleans())
@example(pieces=[slice(0, 1), slice(1, 2), slice(2, 2), slice(2, 300)], seed=0, carried=False)
def test_any_split_equals_the_whole(window_size: int, pieces: list[slice], seed: int, carried: bool) -> None:
    case = WindowCase(1, 300, 2, 8, 8, window_size, 64, window_size // 2 if carried else 0, seed)
    inputs, upstream = case.inputs(torch.float32), case.upstream(torch.float32)

    def in_pieces(
        q: Tensor, k: Tensor, v: Tensor, window_size: int, initial_state: WindowState, **options: Any
    ) -> tuple[Tensor, WindowState | None]:
        state: WindowState | None = initial_state
        outs = []
        for piece in pieces:
            rows = (tensor[:, piece] for tensor in (q, k, v))
            out, state = sliding_window_attention(*rows, window_size, initial_state=state, **options)
            assert state is not None
            assert state.keys.shape[1] < window_size
            outs.append(out)
        return torch.cat(outs, dim=1), state

    whole = results(sliding_window_attention, case, inputs, upstream)
    expected = {name: tensor.double() for name, tensor in whole.items()}
    # A window of one token has a gradient of exactly 0 for its query and key.
    got = results(in_pieces, case, inputs, upstream)
    assert misses(got, expected, WINDOW[torch.float32], 1e-6 if window_size == 1 else 0.0) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_length_is_finite(dtype: torch.dtype) -> None:
    whole = WindowCase(1, 300, 2, 4, 4, 16, 64, 0, 0).inputs(dtype)[:3]
    broken = []
    for time in range(1, 301):
        leaves = [tensor[:, :time].clone().requires_grad_() for tensor in whole]
        out, _ = sliding_window_attention(*leaves, 16)
        gradients = torch.autograd.grad(out.sum(), leaves)
        if not all(tensor.isfinite().all() for tensor in (out, *gradients)):
            broken.append(time)
    assert broken == []


def test_autocast_changes_nothing() -> None:
    q, k, v, _, _ = WindowCase(1, 70, 2, 8, 8, 16, 64, 0, 0).inputs(torch.float32)
    plain, _ = sliding_window_attention(q, k, v, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = sliding_window_attention(q, k, v, 16)
    assert inside.equal(plain)


@BOTH
def test_the_state_is_a_value_of_its_own(attention: Attention) -> None:
    q, k, v, keys, values = WindowCase(1, 10, 1, 2, 2, 6, 64, 5, 0).inputs()
    before = keys.clone()
    _, state = attention(q, k, v, 6, initial_state=WindowState(keys, values), output_final_state=True)
    assert state is not None
    assert state.keys.untyped_storage().nbytes() == state.keys.nbytes
    kept = state.keys.clone()
    k.zero_()
    assert state.keys.equal(kept)
    assert keys.equal(before)
    assert attention(q, k, v, 6)[1] is None


@BOTH
def test_no_token_hands_the_state_on(attention: Attention) -> None:
    q, k, v, keys, values = WindowCase(1, 4, 1, 2, 3, 6, 64, 5, 0).inputs()
    none = (tensor[:, :0] for tensor in (q, k, v))
    out, state = attention(*none, 6, initial_state=WindowState(keys, values), output_final_state=True)
    assert out.shape == (1, 0, 1, 3)
    assert state is not None
    assert state.keys.equal(keys)
    assert state.values.equal(values)


ROW = torch.zeros(1, 3, 2, 4)
BAD_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "window": ({"window_size": 0}, "window_size must be at least 1, got 0"),
    "block": ({"block_size": 0}, "block_size must be at least 1, got 0"),
    "keys": ({"k": ROW[:, :2]}, "q and k must both be"),
    "values": ({"v": ROW[:, :, :1]}, r"v must be \[1, 3, 2, value_dim\]"),
    "batch": ({"initial_state": WindowState(ROW.repeat(2, 1, 1, 1), ROW)}, r"carried keys must be \[1, tokens, 2, 4\]"),
    "tokens": ({"initial_state": WindowState(ROW, ROW[:, :2])}, "as many tokens in keys as in values"),
    "too many": ({"initial_state": WindowState(ROW, ROW), "window_size": 3}, "carries at most 2 tokens, got 3"),
    "integers": ({"q": ROW.long()}, "q must be a floating point tensor"),
}


@BOTH
@pytest.mark.parametrize("bad", BAD_INPUTS)
def test_bad_input_is_refused_in_one_line(attention: Attention, bad: str) -> None:
    change, message = BAD_INPUTS[bad]
    inputs: dict[str, Any] = {"q": ROW, "k": ROW, "v": ROW, "window_size": 8}
    # The tests' own shape checker would speak first; users do not have it.
    with pytest.raises(ValueError, match=message) as caught:
        inspect.unwrap(attention)(**inputs | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("window_size", [1, 2, 5, 64])
def test_one_token_at_a_time_without_gradients_equals_the_whole(window_size: int, dtype: torch.dtype) -> None:
    case = WindowCase(2, 70, 3, 8, 4, window_size, 64, 0, 3)
    q, k, v = case.inputs(dtype)[:3]
    whole, last = masked_window_attention(q, k, v, window_size, output_final_state=True)
    state, outs = None, []
    with torch.no_grad():
        for t in range(q.shape[1]):
            here = slice(t, t + 1)
            out, state = sliding_window_attention(
                q[:, here], k[:, here], v[:, here], window_size, initial_state=state, output_final_state=True
            )
            outs.append(out)
    assert state is not None and last is not None
    got = {"out": torch.cat(outs, dim=1), "keys": state.keys, "values": state.values}
    expected = {"out": whole.double(), "keys": last.keys.double(), "values": last.values.double()}
    assert misses(got, expected, WINDOW[dtype], 1e-12) == []
    assert outs[0].dtype == dtype


def test_a_window_far_beyond_the_text_costs_what_the_text_costs() -> None:
    case = WindowCase(1, 150, 2, 8, 8, 10**9, 16, 40, 2)
    inputs, upstream = case.inputs(), case.upstream()
    got = results(sliding_window_attention, case, inputs, upstream)
    assert misses(got, results(masked_window_attention, case, inputs, upstream), WINDOW[torch.float64], 1e-14) == []
