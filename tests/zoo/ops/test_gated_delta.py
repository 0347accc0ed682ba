"""The chunkwise gated delta rule against its twin: values, state and gradients, at every length and at the extremes."""

import inspect
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from cortexzoo.zoo.ops import gated_delta
from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule
from cortexzoo.zoo.ops.recurrent_gated_delta import recurrent_gated_delta_rule
from tests.property.strategies import GatedDeltaCase, gated_delta_cases, seeds, splits
from tests.tolerances import (
    DECAY_GRADIENT,
    GATED_DELTA,
    GATED_DELTA_CLAMPED,
    STATE_BOUND,
    ZERO_GRADIENT,
    Tolerance,
)

Rule = Callable[..., tuple[Tensor, Tensor | None]]
NAMES = ("out", "final_state", "dq", "dk", "dv", "dg", "dbeta", "d_initial_state")
HALVES = (torch.bfloat16, torch.float16)
DECAYS_WITHIN_CLAMP = ("none", "slow", "gate", "fast")

# The usual shape, then: an odd chunk, several spans of one sequence, wide heads, twice the chunk.
SHAPES = [
    GatedDeltaCase(1, 200, 4, 64, 64, 32, "gate", 0),
    GatedDeltaCase(2, 90, 3, 16, 24, 20, "fast", 1),
    GatedDeltaCase(2, 600, 4, 16, 16, 32, "slow", 2),
    GatedDeltaCase(1, 70, 1, 128, 32, 32, "gate", 3),
    GatedDeltaCase(1, 150, 2, 32, 32, 64, "none", 4),
]


def results(rule: Rule, inputs: list[Tensor], upstream: list[Tensor], chunk_size: int = 32) -> dict[str, Tensor]:
    """Output, final state and the gradient of every input, by name."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    out, state = rule(*leaves[:5], initial_state=leaves[5], output_final_state=True, chunk_size=chunk_size)
    assert state is not None
    gradients = torch.autograd.grad((out, state), leaves, [upstream[0].to(out.dtype), upstream[1].to(state.dtype)])
    return dict(zip(NAMES, (out.detach(), state.detach(), *gradients), strict=True))


def oracle(inputs: list[Tensor], upstream: list[Tensor]) -> dict[str, Tensor]:
    """What the twin gives in float64 for the same, perhaps already rounded, inputs."""
    return results(recurrent_gated_delta_rule, [t.double() for t in inputs], [t.double() for t in upstream])


def misses(got: dict[str, Tensor], expected: dict[str, Tensor], tolerance: Tolerance, zero: float = 0.0) -> list[str]:
    """What lies outside its tolerance, with its relative error."""
    found = []
    for name, value in expected.items():
        allowed = tolerance.values if name in ("out", "final_state") else tolerance.gradients
        error = got[name].double() - value
        share, absolute = DECAY_GRADIENT.get(got[name].dtype, (0.0, 0.0))
        if name == "dg" and (error.abs() <= allowed * value.abs() + share * value.abs().max() + absolute).all():
            continue
        if not error.norm() <= allowed * value.norm() + zero:
            found.append(f"{name}: {float(error.norm() / value.norm()):.1e} > {allowed:.1e}")
    return found


@given(gated_delta_cases())
@example(GatedDeltaCase(1, 1, 1, 1, 1, 32, "gate", 0))
@example(GatedDeltaCase(2, 33, 2, 4, 3, 32, "none", 0, max_beta=2.0))
@example(GatedDeltaCase(2, 64, 2, 4, 3, 16, "cut", 0))
def test_chunks_equal_the_token_loop_in_float64(case: GatedDeltaCase) -> None:
    inputs, upstream = case.inputs(), case.upstream()
    got = results(chunk_gated_delta_rule, inputs, upstream, case.chunk_size)
    assert misses(got, oracle(inputs, upstream), GATED_DELTA[torch.float64], zero=ZERO_GRADIENT) == []


@pytest.mark.parametrize("case", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, *HALVES], ids=str)
def test_every_dtype_keeps_its_tolerance(case: GatedDeltaCase, dtype: torch.dtype) -> None:
    inputs, upstream = case.inputs(dtype), case.upstream(dtype)
    got = results(chunk_gated_delta_rule, inputs, upstream, case.chunk_size)
    assert misses(got, oracle(inputs, upstream), GATED_DELTA[dtype]) == []
    assert got["out"].dtype == dtype
    assert got["final_state"].dtype == torch.promote_types(dtype, torch.float32)


@pytest.mark.parametrize("decay", ["mixed", "cut", "reset", "wall"])
def test_decays_past_the_clamp_keep_float32_close(decay: str) -> None:
    case = GatedDeltaCase(1, 200, 4, 32, 32, 32, decay, 0)
    inputs, upstream = case.inputs(torch.float32), case.upstream(torch.float32)
    got = results(chunk_gated_delta_rule, inputs, upstream)
    assert misses(got, oracle(inputs, upstream), GATED_DELTA_CLAMPED, zero=ZERO_GRADIENT) == []
    assert got["dg"][inputs[3] < -40].eq(0).all()


def test_gradients_are_those_of_finite_differences() -> None:
    case = GatedDeltaCase(1, 7, 2, 3, 2, 4, "gate", 0)
    leaves = [tensor.requires_grad_() for tensor in case.inputs()]

    def rule(*inputs: Tensor) -> tuple[Tensor, Tensor | None]:
        return chunk_gated_delta_rule(*inputs[:5], initial_state=inputs[5], output_final_state=True, chunk_size=4)

    assert torch.autograd.gradcheck(rule, leaves)


# Each edits q, k, v, g, beta in place.
EXTREMES: dict[str, Callable[[list[Tensor]], object]] = {
    "beta is one": lambda x: x[4].fill_(1.0),
    "beta is two": lambda x: x[4].fill_(2.0),
    "beta is zero": lambda x: x[4].zero_(),
    "every row is zero": lambda x: [tensor.zero_() for tensor in x[:3]],
    "some rows are zero": lambda x: [tensor[:, ::3].zero_() for tensor in x[:3]],
    "keys are equal at full strength": lambda x: (x[1].copy_(x[1][:, :1].clone()), x[4].fill_(1.0)),
    "keys are equal, nothing decays": lambda x: (x[1].copy_(x[1][:, :1].clone()), x[4].fill_(1.0), x[3].zero_()),
    "keys are equal, beta is two": lambda x: (x[1].copy_(x[1][:, :1].clone()), x[4].fill_(2.0), x[3].zero_()),
    "everything is forgotten": lambda x: x[3].fill_(-torch.inf),
    "some tokens forget everything": lambda x: x[3][:, ::7].fill_(-torch.inf),
    "one in twenty is cut": lambda x: x[3][:, ::20].fill_(-1e4),
    "decay just past the clamp": lambda x: x[3].fill_(-40.1),
}


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("time", [1, 32, 77])
@pytest.mark.parametrize("extreme", EXTREMES)
def test_extremes_stay_finite_and_close(extreme: str, time: int, dtype: torch.dtype) -> None:
    case = GatedDeltaCase(2, time, 2, 16, 16, 32, "gate", 0)
    inputs, upstream = case.inputs(dtype), case.upstream(dtype)
    EXTREMES[extreme](inputs)
    got = results(chunk_gated_delta_rule, inputs, upstream)
    assert [name for name, tensor in got.items() if not tensor.isfinite().all()] == []
    expected = oracle(inputs, upstream)
    values = {name: expected[name] for name in ("out", "final_state")}
    close = GATED_DELTA_CLAMPED if dtype == torch.float32 else GATED_DELTA[dtype]
    assert misses(got, values, close, zero=ZERO_GRADIENT) == []


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
def test_every_length_is_finite_under_every_gate_bias(dtype: torch.dtype) -> None:
    biases = torch.tensor([-10.0, -5.0, 0.0, 5.0, 10.0])  # one for each head
    whole = GatedDeltaCase(1, 300, 5, 8, 8, 32, "none", 0).inputs(torch.float32)
    noise = torch.randn(1, 300, 5, generator=torch.Generator().manual_seed(0))
    whole[3], whole[4] = logsigmoid(noise + biases), torch.sigmoid(noise.flip(1) - biases)
    broken = []
    for time in range(1, 301):
        inputs = [tensor[:, :time].to(dtype) for tensor in whole[:5]] + [whole[5].to(dtype)]
        upstream = [torch.ones_like(inputs[2]), torch.ones_like(inputs[5])]
        got = results(chunk_gated_delta_rule, inputs, upstream)
        broken += [(time, name) for name, tensor in got.items() if not tensor.isfinite().all()]
    assert broken == []


def in_pieces(inputs: list[Tensor], upstream: list[Tensor], pieces: list[slice]) -> dict[str, Tensor]:
    """The whole sequence piece by piece, the state handed on with its gradient."""

    def rule(*tensors: Tensor, initial_state: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        state: Tensor | None = initial_state
        outs = []
        for piece in pieces:
            out, state = chunk_gated_delta_rule(*(t[:, piece] for t in tensors), initial_state=state, **options)
            outs.append(out)
        return torch.cat(outs, dim=1), state

    return results(rule, inputs, upstream)


@settings(max_examples=20)
@given(pieces=splits(300), seed=seeds, decay=st.sampled_from(DECAYS_WITHIN_CLAMP))
@example(pieces=[slice(0, 300), slice(300, 300)], seed=0, decay="gate")
@example(pieces=[slice(0, 1), slice(1, 32), slice(32, 300)], seed=0, decay="none")
def test_any_split_equals_the_whole(pieces: list[slice], seed: int, decay: str) -> None:
    case = GatedDeltaCase(1, 300, 2, 16, 16, 32, decay, seed)
    inputs, upstream = case.inputs(torch.float32), case.upstream(torch.float32)
    whole = results(chunk_gated_delta_rule, inputs, upstream)
    expected = {name: tensor.double() for name, tensor in whole.items()}
    assert misses(in_pieces(inputs, upstream, pieces), expected, GATED_DELTA[torch.float32]) == []


@pytest.mark.parametrize("decay", [*DECAYS_WITHIN_CLAMP, "cut"])
def test_one_token_at_a_time_without_gradients_equals_the_whole_in_chunks(decay: str) -> None:
    case = GatedDeltaCase(2, 70, 3, 16, 8, 32, decay, 1)
    *tensors, state = case.inputs(torch.float32)
    whole, last = chunk_gated_delta_rule(*tensors, initial_state=state, output_final_state=True)
    outs = []
    with torch.no_grad():
        for t in range(70):
            here = (tensor[:, t : t + 1] for tensor in tensors)
            out, state = chunk_gated_delta_rule(*here, initial_state=state, output_final_state=True)
            outs.append(out)
    assert state is not None and last is not None
    got, expected = {"out": torch.cat(outs, dim=1), "final_state": state}, {"out": whole, "final_state": last}
    tolerance = GATED_DELTA[torch.float32]
    assert misses(got, {name: value.double() for name, value in expected.items()}, tolerance) == []


def test_the_last_piece_alone_carries_gradients_to_the_first() -> None:
    case = GatedDeltaCase(1, 64, 2, 8, 8, 32, "slow", 0)
    q, k, v, g, beta, _ = case.inputs()
    v.requires_grad_()
    _, state = chunk_gated_delta_rule(*(t[:, :32] for t in (q, k, v, g, beta)), output_final_state=True)
    out, _ = chunk_gated_delta_rule(*(t[:, 32:] for t in (q, k, v, g, beta)), initial_state=state)
    (d_v,) = torch.autograd.grad(out.sum(), v)
    assert d_v[:, :32].norm() > 0.01 * d_v[:, 32:].norm()


@pytest.mark.parametrize(("max_beta", "decay"), [(1.0, "none"), (1.0, "slow"), (2.0, "none"), (2.0, "gate")])
def test_state_norm_is_bounded_over_65536_tokens_of_noise(max_beta: float, decay: str) -> None:
    case = GatedDeltaCase(1, 65_536, 1, 16, 16, 32, decay, 0, max_beta=max_beta)
    inputs = case.inputs(torch.float32)[:5]
    kept, strength = inputs[3].double().exp().flatten().tolist(), inputs[4].double().flatten().tolist()
    written = inputs[2].double().norm(dim=-1).flatten().tolist()
    state, bound = None, 0.0
    for start in range(0, 65_536, 4096):
        piece = slice(start, start + 4096)
        _, state = chunk_gated_delta_rule(*(t[:, piece] for t in inputs), initial_state=state, output_final_state=True)
        for keep, beta, value in zip(kept[piece], strength[piece], written[piece], strict=True):
            bound = (keep**2 * bound**2 + beta * value**2) ** 0.5 if max_beta <= 1 else keep * bound + beta * value
        assert state is not None
        assert float(state.norm()) <= bound * (1 + STATE_BOUND)


@pytest.mark.parametrize("time", [5, 32, 64])
def test_inputs_are_left_as_they_are(time: int) -> None:
    inputs = GatedDeltaCase(1, time, 1, 8, 8, 32, "gate", 0).inputs(torch.float32)
    before = [tensor.clone() for tensor in inputs]
    upstream = [torch.ones_like(inputs[2]), torch.ones_like(inputs[5])]
    leaves = [tensor.requires_grad_() for tensor in inputs]
    out, state = chunk_gated_delta_rule(*leaves[:5], initial_state=leaves[5], output_final_state=True)
    torch.autograd.grad((out, state), leaves, upstream)
    assert all(torch.equal(now, then) for now, then in zip(inputs, before, strict=True))
    assert all(tensor.eq(1).all() for tensor in upstream)


def test_strides_of_the_inputs_do_not_matter() -> None:
    case = GatedDeltaCase(2, 40, 3, 8, 8, 32, "gate", 0)
    inputs, upstream = case.inputs(), case.upstream()
    strided = [tensor.mT.contiguous().mT if tensor.dim() == 4 else tensor.flip(1).flip(1) for tensor in inputs]
    leaves = [tensor.requires_grad_() for tensor in strided]
    out, state = chunk_gated_delta_rule(*leaves[:5], initial_state=leaves[5], output_final_state=True)
    got = (out, state, *torch.autograd.grad((out, state), leaves, [upstream[0].mT.contiguous().mT, upstream[1]]))
    for tensor, expected in zip(got, results(chunk_gated_delta_rule, inputs, upstream).values(), strict=True):
        assert tensor is not None
        assert tensor.equal(expected)


def test_autocast_changes_nothing() -> None:
    case = GatedDeltaCase(1, 70, 2, 16, 16, 32, "gate", 0)
    inputs, upstream = case.inputs(torch.float32), case.upstream(torch.float32)
    plain = results(chunk_gated_delta_rule, inputs, upstream)
    with torch.autocast("cpu", torch.bfloat16):
        inside = results(chunk_gated_delta_rule, inputs, upstream)
    assert [name for name in NAMES if not inside[name].equal(plain[name])] == []


def test_the_final_state_keeps_nothing_else_alive() -> None:
    inputs = GatedDeltaCase(1, 100, 2, 8, 8, 32, "gate", 0).inputs(torch.float32)
    _, state = chunk_gated_delta_rule(*inputs[:5], output_final_state=True)
    assert state is not None
    assert state.untyped_storage().nbytes() == state.nbytes


@pytest.mark.parametrize("rule", [chunk_gated_delta_rule, recurrent_gated_delta_rule])
def test_no_token_hands_the_state_on(rule: Rule) -> None:
    inputs = [tensor[:, :0] if index < 5 else tensor for index, tensor in enumerate(SHAPES[0].inputs())]
    out, state = rule(*inputs[:5], initial_state=inputs[5], output_final_state=True)
    assert out.shape == inputs[2].shape
    assert state is not None
    assert state.equal(inputs[5])
    assert state.data_ptr() != inputs[5].data_ptr()


@pytest.mark.parametrize("rule", [chunk_gated_delta_rule, recurrent_gated_delta_rule])
def test_final_state_comes_only_when_asked_for(rule: Rule) -> None:
    assert rule(*GatedDeltaCase(1, 3, 1, 2, 2, 32, "gate", 0).inputs()[:5])[1] is None


def test_scale_is_the_callers() -> None:
    inputs = GatedDeltaCase(1, 50, 1, 4, 4, 32, "gate", 0).inputs()[:5]
    for rule in (chunk_gated_delta_rule, recurrent_gated_delta_rule):
        torch.testing.assert_close(rule(*inputs, scale=3.0)[0], 6.0 * rule(*inputs)[0])


BAD_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "chunk": ({"chunk_size": 0}, "chunk_size must be at least 1, got 0"),
    "keys": ({"k": torch.zeros(1, 3, 2, 5)}, r"q and k must both be .* got \[1, 3, 2, 4\] and \[1, 3, 2, 5\]"),
    "rank": ({"q": torch.zeros(3, 4), "k": torch.zeros(3, 4)}, "q and k must both be"),
    "values": ({"v": torch.zeros(1, 4, 2, 6)}, r"v must be \[1, 3, 2, value_dim\] to match q, got \[1, 4, 2, 6\]"),
    "decay": ({"g": torch.zeros(1, 3)}, r"g must be \[1, 3, 2\] to match q, got \[1, 3\]"),
    "strength": ({"beta": torch.zeros(1, 3, 2, 1)}, r"beta must be \[1, 3, 2\]"),
    "state": ({"initial_state": torch.zeros(1, 2, 6, 4)}, r"initial_state must be \[1, 2, 4, 6\], got \[1, 2, 6, 4\]"),
    "nothing": ({"v": torch.zeros(1, 3, 2, 0)}, "must be at least 1"),
    "integers": (
        {"v": torch.zeros(1, 3, 2, 6, dtype=torch.long)},
        "v must be a floating point tensor, got torch.int64",
    ),
}


@pytest.mark.parametrize("rule", [chunk_gated_delta_rule, recurrent_gated_delta_rule])
@pytest.mark.parametrize("bad", BAD_INPUTS)
def test_bad_input_is_refused_in_one_line(rule: Rule, bad: str) -> None:
    change, message = BAD_INPUTS[bad]
    inputs = {name: torch.zeros(1, 3, 2, dim) for name, dim in (("q", 4), ("k", 4), ("v", 6))}
    inputs |= {"g": torch.zeros(1, 3, 2), "beta": torch.zeros(1, 3, 2)}
    # The tests' own shape checker would speak first; users do not have it.
    with pytest.raises(ValueError, match=message) as caught:
        inspect.unwrap(rule)(**inputs | change)
    assert "\n" not in str(caught.value)


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A stand-in for fla-core that records how it was called and answers with the twin."""
    calls: list[dict[str, Any]] = []

    def kernel(
        q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        calls.append({"g": g, **options})
        return recurrent_gated_delta_rule(q, k, v, g, beta, **options)

    modules = {name: ModuleType(name) for name in ("fla", "fla.ops", "fla.ops.gated_delta_rule")}
    modules["fla.ops.gated_delta_rule"].chunk_gated_delta_rule = kernel  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(gated_delta, "find_spec", lambda name: name)
    gated_delta._fla_kernel.cache_clear()
    yield calls
    gated_delta._fla_kernel.cache_clear()


def test_fla_core_gets_half_precision_on_cuda(
    kernel_calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = GatedDeltaCase(1, 9, 2, 4, 4, 32, "cut", 0).inputs(torch.bfloat16)
    expected, _ = recurrent_gated_delta_rule(*inputs[:5], initial_state=inputs[5])
    monkeypatch.setattr(gated_delta, "_suits_fla", lambda q, k, v: True)
    out, state = chunk_gated_delta_rule(*inputs[:5], initial_state=inputs[5])
    assert out.equal(expected)
    assert state is None
    _probe, call = kernel_calls
    assert call["g"].dtype == call["initial_state"].dtype == torch.float32
    assert float(call["g"].min()) >= -40
    assert call["scale"] == 0.5


def test_fla_core_is_left_alone_on_a_cpu(kernel_calls: list[dict[str, Any]]) -> None:
    chunk_gated_delta_rule(*GatedDeltaCase(1, 9, 2, 4, 4, 32, "gate", 0).inputs(torch.bfloat16)[:5])
    assert kernel_calls == []


def test_a_kernel_without_a_backward_pass_is_used_where_nothing_is_differentiated(
    kernel_calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """fla-core refuses some versions of Triton on some cards, and only when gradients are asked for."""

    class Refuses(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, out: Tensor) -> Tensor:
            return out.clone()

        @staticmethod
        def backward(ctx: Any, *_: Tensor) -> Tensor:
            raise RuntimeError("this version of Triton\nis wrong here")

    module = sys.modules["fla.ops.gated_delta_rule"]
    kernel = module.chunk_gated_delta_rule
    refusing = lambda *inputs, **options: (Refuses.apply(kernel(*inputs, **options)[0]), None)  # noqa: E731
    monkeypatch.setattr(module, "chunk_gated_delta_rule", refusing)
    inputs = [tensor.requires_grad_() for tensor in GatedDeltaCase(1, 9, 2, 4, 4, 32, "cut", 0).inputs(torch.bfloat16)]
    expected = chunk_gated_delta_rule(*inputs[:5])[0]
    monkeypatch.setattr(gated_delta, "_suits_fla", lambda q, k, v: True)
    with pytest.warns(RuntimeWarning, match="not used for gradients on cpu: this version of Triton is wrong here"):
        assert chunk_gated_delta_rule(*inputs[:5])[0].equal(expected)
    asked = len(kernel_calls)
    assert chunk_gated_delta_rule(*inputs[:5])[0].equal(expected), "and it warns once"
    assert len(kernel_calls) == asked
    with torch.no_grad():
        chunk_gated_delta_rule(*inputs[:5])
    assert len(kernel_calls) == asked + 1


@pytest.mark.parametrize("backward", [False, True])
def test_without_fla_core_there_is_no_kernel(backward: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gated_delta, "find_spec", lambda name: None)
    gated_delta._fla_kernel.cache_clear()
    assert gated_delta._fla_kernel(torch.device("cpu"), backward) is None
    gated_delta._fla_kernel.cache_clear()


def test_nothing_is_kept_when_nothing_will_be_differentiated() -> None:
    inputs = [tensor.requires_grad_() for tensor in SHAPES[0].inputs()]
    with torch.no_grad():
        out, _ = chunk_gated_delta_rule(*inputs[:5])
    assert not out.requires_grad
    assert normalize(out, dim=-1).isfinite().all()
