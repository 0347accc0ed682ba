"""The sidecar: equal to its token loop, whole or in pieces, finite everywhere, and at the start what its spec says."""

import time
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cortexzoo.specs.mixer import DecaySpec, MixerSpec, ShortConvSpec
from cortexzoo.zoo.models.hybrid.block import Sidecar, products
from cortexzoo.zoo.models.hybrid.block_token_loop import sidecar_token_loop
from cortexzoo.zoo.models.hybrid.delta_memory import Gates
from cortexzoo.zoo.models.hybrid.short_conv import ShortConv
from cortexzoo.zoo.models.hybrid.state import SidecarState
from cortexzoo.zoo.models.hybrid.unit import unit
from tests.tolerances import GATED_DELTA, SIDECAR_SPLIT
from tests.zoo.models.hybrid.tiny import awake_sidecar, biased_mixer, relative_error

FIELDS = ("fast_weights", "conv_state", "window_keys", "window_values")
MIXERS = {
    "plain": MixerSpec(num_heads=2, head_dim=4, window_size=6),
    "negative eigenvalues": MixerSpec(num_heads=2, head_dim=4, window_size=6, negative_eigenvalues=True),
    "write threshold": MixerSpec(
        num_heads=2, head_dim=4, window_size=6, write_threshold=0.4, negative_eigenvalues=True
    ),
    "write gate with hidden units": MixerSpec(
        num_heads=2, head_dim=4, window_size=6, write_threshold=0.1, write_width=5
    ),
    "products": MixerSpec(
        num_heads=2,
        head_dim=4,
        window_size=6,
        key_products=2,
        conv=ShortConvSpec(key_lags=(1, 2, 3), lags_over="channels"),
    ),
    "window of one, no lags": MixerSpec(
        num_heads=1, head_dim=3, window_size=1, conv=ShortConvSpec(kernel_size=1, key_lags=(0,))
    ),
}


def inputs(length: int, rows: int = 2, hidden: int = 12, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(rows, length, hidden, generator=torch.Generator().manual_seed(length), dtype=dtype)


@pytest.mark.parametrize("name", MIXERS)
def test_outputs_state_and_gradients_equal_those_of_the_token_loop(name: str) -> None:
    sidecar = awake_sidecar(MIXERS[name]).double()
    warm = sidecar(inputs(9), sidecar.initial_state(2))[1].map(Tensor.detach)
    x = inputs(21)
    results = []
    for form in (sidecar, lambda *given: sidecar_token_loop(sidecar, *given)):
        start, asked = warm.map(lambda t: t.clone().requires_grad_()), x.clone().requires_grad_()
        sidecar.zero_grad()
        out, after, _ = form(asked, start)
        ((out * out.detach().cos()).sum() + sum(getattr(after, field).square().sum() for field in FIELDS)).backward()
        gradients = [*sidecar.parameters(), asked, *(getattr(start, field) for field in FIELDS)]
        held = [tensor.grad for tensor in gradients if tensor.numel()]
        assert all(gradient is not None for gradient in held)
        results.append(
            ([out, *(getattr(after, field) for field in FIELDS)], [g.clone() for g in held if g is not None])
        )
    (values, gradients), (expected, expected_gradients) = results
    limits = GATED_DELTA[torch.float64]
    for got, wanted in zip(values, expected, strict=True):
        assert got.shape == wanted.shape
        assert relative_error(got, wanted) <= limits.values
    for got, wanted in zip(gradients, expected_gradients, strict=True):
        assert relative_error(got, wanted) <= 10 * limits.gradients


def test_readings_are_those_of_the_rows() -> None:
    sidecar = awake_sidecar().double()
    x = inputs(7, rows=3)
    with torch.no_grad():
        _, after, readings = sidecar(x, sidecar.initial_state(3))
        log_decay, beta = sidecar.memory.gates(x)
    norms = [row.norm() for row in after.fast_weights]
    assert readings["memory/state_norm"] == pytest.approx(float(sum(norms)) / 3)
    assert readings["memory/decay"] == pytest.approx(float(log_decay.exp().mean()))
    assert readings["memory/write_strength"] == pytest.approx(float(beta.mean()))


@settings(max_examples=12)  # each costs two passes over 300 tokens, piece by piece
@given(cuts=st.lists(st.integers(0, 300), max_size=6))
def test_any_split_gives_the_outputs_and_the_state_of_the_whole(cuts: list[int]) -> None:
    torch.manual_seed(0)
    sidecar = awake_sidecar()
    x = inputs(300, dtype=torch.float32)
    with torch.no_grad():
        whole, end, _ = sidecar(x, sidecar.initial_state(2))
        state, parts = sidecar.initial_state(2), []
        edges = [0, *sorted(cuts), 300]
        for first, last in pairwise(edges):
            out, state, _ = sidecar(x[:, first:last], state)
            parts.append(out)
    assert relative_error(torch.cat(parts, dim=1), whole) <= SIDECAR_SPLIT
    for field in FIELDS:
        assert relative_error(getattr(state, field), getattr(end, field)) <= SIDECAR_SPLIT


@pytest.mark.slow
def test_every_cut_in_two_gives_the_outputs_and_the_state_of_the_whole() -> None:
    sidecar = awake_sidecar()
    x = inputs(300, dtype=torch.float32)
    with torch.no_grad():
        whole, end, _ = sidecar(x, sidecar.initial_state(2))
        for cut in range(301):
            first, state, _ = sidecar(x[:, :cut], sidecar.initial_state(2))
            second, state, _ = sidecar(x[:, cut:], state)
            assert relative_error(torch.cat([first, second], dim=1), whole) <= SIDECAR_SPLIT, cut
            for field in FIELDS:
                assert relative_error(getattr(state, field), getattr(end, field)) <= SIDECAR_SPLIT, (cut, field)


DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BIASES = (-10.0, -5.0, 0.0, 5.0, 10.0)


def check_finite(lengths: range, dtype: torch.dtype, bias: float) -> None:
    sidecar = Sidecar(biased_mixer(bias), 8).to(dtype)
    torch.nn.init.normal_(sidecar.output.weight)
    for length in lengths:
        x = inputs(length, rows=1, hidden=8, dtype=dtype).requires_grad_()
        sidecar.zero_grad()
        start = sidecar.initial_state(1).map(lambda tensor: tensor.requires_grad_())
        out, state, readings = sidecar(x, start)
        (out.float().sum() + state.fast_weights.sum()).backward()
        carried = [start.fast_weights.grad, start.conv_state.grad]
        gradients = [x.grad, *carried, *(parameter.grad for parameter in sidecar.parameters())]
        finite = [out, state.fast_weights, *readings.values(), *(g for g in gradients if g is not None)]
        assert len(finite) == 2 + len(readings) + len(gradients)
        # One test for all of them, since most of the time here would go into asking one by one.
        assert torch.cat([tensor.detach().float().flatten() for tensor in finite]).isfinite().all(), length


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", BIASES)
def test_forward_and_every_gradient_are_finite(dtype: torch.dtype, bias: float) -> None:
    check_finite(range(1, 301, 23), dtype, bias)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", BIASES)
def test_forward_and_every_gradient_are_finite_at_every_length(dtype: torch.dtype, bias: float) -> None:
    check_finite(range(1, 301), dtype, bias)


@pytest.mark.parametrize("fill", [0.0, 1e-8, 1e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_constant_inputs_of_any_size_are_finite(dtype: torch.dtype, fill: float) -> None:
    sidecar = Sidecar(MixerSpec(num_heads=2, head_dim=4), 8)
    x = torch.full((1, 33, 8), fill, dtype=dtype, requires_grad=True)
    out, _, _ = sidecar(x, sidecar.initial_state(1))
    out.float().sum().backward()
    assert out.isfinite().all()
    assert x.grad is not None and x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in sidecar.parameters())


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_autocast_gives_the_same_dtypes_of_state_and_finite_gradients(precision: torch.dtype) -> None:
    sidecar = awake_sidecar()
    with torch.autocast("cpu", dtype=precision):
        out, state, _ = sidecar(inputs(40, dtype=torch.float32), sidecar.initial_state(2))
        out, state, _ = sidecar(inputs(7, dtype=torch.float32), state)
    assert {getattr(state, field).dtype for field in FIELDS} == {torch.float32}
    out.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in sidecar.parameters())


def test_at_the_start_a_token_is_stored_under_the_one_before_it_and_nothing_is_added() -> None:
    conv = ShortConvSpec(noise=0.0, key_lags=(1, 3))
    sidecar = Sidecar(MixerSpec(num_heads=2, head_dim=4, conv=conv), 12)
    assert torch.equal(sidecar.query.weight, sidecar.key.weight)
    x = inputs(10, dtype=torch.float32)
    q, k, v, _ = sidecar.queries_keys_values(x, sidecar.initial_state(2).conv_state)
    assert torch.equal(k[:, 1:, 0], q[:, :-1, 0])
    assert torch.equal(k[:, 1:, 1], q[:, :-1, 1])
    bare = Sidecar(MixerSpec(num_heads=2, head_dim=4, conv=ShortConvSpec(noise=0.0)), 12)
    bare.load_state_dict({**sidecar.state_dict(), "conv.weight": bare.conv.weight})
    assert torch.equal(k[:, 3:, 1], bare.queries_keys_values(x, bare.initial_state(2).conv_state)[0][:, :-3, 1])
    assert torch.equal(v.flatten(2), torch.nn.functional.silu(sidecar.value(x)))
    assert not sidecar(x, sidecar.initial_state(2))[0].any()


def test_biases_of_persistence_spread_from_slow_to_fast_heads() -> None:
    mixer = MixerSpec(num_heads=3, decay=DecaySpec(fastest_bias=6.0, slowest_bias=12.0))
    log_decay, beta = Sidecar(mixer, 8).memory.gates(inputs(5, hidden=8, dtype=torch.float32))
    assert torch.allclose(log_decay.exp()[0, 0], torch.tensor([12.0, 9.0, 6.0]).sigmoid())
    assert beta.min() > 0 and beta.max() < 1


def test_a_write_below_the_threshold_is_none_at_all_and_the_strongest_stays() -> None:
    x = inputs(5, hidden=8, dtype=torch.float32)
    for bias, written in ((-4.0, 0.0), (0.0, 0.4 / 0.9), (30.0, 1.0)):
        gates = Gates(MixerSpec(num_heads=1, write_threshold=0.1), 8)
        torch.nn.init.zeros_(gates.write.weight)
        torch.nn.init.constant_(gates.write.bias, bias)
        assert torch.allclose(gates(x)[1], torch.tensor(written))


def test_channels_take_turns_with_the_lags_where_asked() -> None:
    conv = ShortConvSpec(noise=0.0, key_lags=(1, 2, 0), lags_over="channels")
    conv_state = Sidecar(MixerSpec(num_heads=2, head_dim=4, conv=conv), 12).conv.weight.detach()
    assert conv_state.sum(1).eq(1).all()
    q, k, v = (part.argmax(1).tolist() for part in conv_state.chunk(3))
    assert (q, k, v) == ([0, 1, 0, 0, 1, 0, 0, 1], [1, 2, 0, 1, 2, 0, 1, 2], [0] * 8)


def test_products_square_the_share_in_which_two_keys_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    one, stranger = torch.randn(2, 2000, 64, generator=generator)
    other = torch.where(torch.rand(2000, 64, generator=generator) < 0.5, one, stranger)
    for neighbours, share in ((0, 0.5), (1, 0.25), (3, 0.25)):
        a, b = (unit(products(x, neighbours)) for x in (one, other))
        assert a.shape == (2000, 64 * max(1, neighbours))
        assert abs((a * b).sum(-1).mean().item() - share) < 0.02
    few = torch.tensor([1.0, 2.0, 0.0])
    assert torch.allclose(products(few, 1), torch.tensor([1.0, 0.0, 0.0]))
    assert products(few, 0) is few


@pytest.mark.parametrize(("off", "kept"), [("fast_weights", "fast_weights"), ("window", "window_keys")])
def test_what_is_switched_off_is_neither_read_nor_written(off: str, kept: str) -> None:
    sidecar = awake_sidecar()
    warm = sidecar(inputs(9, dtype=torch.float32), sidecar.initial_state(2))[1]
    x = inputs(5, dtype=torch.float32)
    out, after, _ = sidecar(x, warm, {off})
    assert torch.equal(getattr(after, kept), getattr(warm, kept))
    assert not torch.allclose(out, sidecar(x, warm)[0])
    emptied = SidecarState(warm.fast_weights * 0, warm.conv_state, warm.window_keys * 0, warm.window_values * 0)
    from_empty = emptied if off == "window" else SidecarState(
        emptied.fast_weights, warm.conv_state, warm.window_keys, warm.window_values
    )  # fmt: skip
    if off == "fast_weights":
        assert torch.equal(sidecar(x, from_empty, {off})[0], out)


def test_a_filter_of_any_size_is_described_at_once() -> None:
    began = time.process_time()
    with torch.device("meta"):
        described = ShortConv(MixerSpec(num_heads=1, head_dim=10**8))
    assert described.weight.shape == (3 * 10**8, 4)
    assert time.process_time() - began < 5
