"""The compiled kernel against the twin in float64, and the rules by which it is built, kept and left alone."""

import shutil
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from torch import Tensor

from cortexzoo.zoo.errors import SetupError
from cortexzoo.zoo.ops import compiled
from cortexzoo.zoo.ops.gated_delta import chunk_gated_delta_rule
from cortexzoo.zoo.ops.recurrent_gated_delta import recurrent_gated_delta_rule
from tests.property.strategies import GatedDeltaCase, gated_delta_cases
from tests.tolerances import GATED_DELTA, GATED_DELTA_CLAMPED, ZERO_GRADIENT
from tests.zoo.ops.test_gated_delta import EXTREMES, SHAPES

pytestmark = pytest.mark.skipif(
    not any(shutil.which(name) for name in compiled.COMPILERS), reason="no C++ compiler is installed"
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the module, so that the kernel is built once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def kernels(kept: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CORTEXZOO_CACHE", str(kept))
    monkeypatch.setenv("CORTEXZOO_KERNELS", "1")
    compiled._kernel.cache_clear()
    yield
    compiled._kernel.cache_clear()


def both(inputs: list[Tensor], chunk_size: int = 32) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Outputs and final state by the kernel, and by the twin in float64."""
    assert compiled.takes(*inputs)
    with torch.no_grad():
        found = chunk_gated_delta_rule(
            *inputs[:5], initial_state=inputs[5], output_final_state=True, chunk_size=chunk_size
        )
        wide = [tensor.double() for tensor in inputs]
        expected = recurrent_gated_delta_rule(*wide[:5], initial_state=wide[5], output_final_state=True)
    assert found[1] is not None
    assert expected[1] is not None
    return (found[0], found[1]), (expected[0], expected[1])


def errors(inputs: list[Tensor], chunk_size: int = 32) -> list[float]:
    """Norms of the differences over those of the results; a result that is nearly zero counts as a norm of its own."""
    found = []
    for value, exact in zip(*both(inputs, chunk_size), strict=True):
        assert value.isfinite().all()
        least = ZERO_GRADIENT / GATED_DELTA_CLAMPED.values
        found.append(float((value - exact).norm()) / max(float(exact.norm()), least))
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gated_delta_cases())
@example(GatedDeltaCase(1, 2, 1, 1, 1, 32, "gate", 0))
@example(GatedDeltaCase(2, 33, 2, 4, 3, 32, "none", 0, max_beta=2.0))
@example(GatedDeltaCase(2, 64, 2, 17, 33, 16, "cut", 0))
@example(GatedDeltaCase(1, 90, 2, 40, 50, 64, "fast", 0))
def test_it_equals_the_token_loop(case: GatedDeltaCase) -> None:
    assert max(errors(case.inputs(torch.float32), case.chunk_size)) <= GATED_DELTA_CLAMPED.values


@pytest.mark.parametrize("case", SHAPES, ids=str)
def test_it_keeps_the_tolerance_of_float32(case: GatedDeltaCase) -> None:
    assert max(errors(case.inputs(torch.float32), case.chunk_size)) <= GATED_DELTA[torch.float32].values


@pytest.mark.parametrize("time", [2, 32, 77])
@pytest.mark.parametrize("extreme", EXTREMES)
def test_extremes_stay_finite_and_close(extreme: str, time: int) -> None:
    inputs = GatedDeltaCase(2, time, 2, 16, 16, 32, "gate", 0).inputs(torch.float32)
    EXTREMES[extreme](inputs)
    assert max(errors(inputs)) <= GATED_DELTA_CLAMPED.values


@pytest.mark.parametrize("capability", ["AVX512", "AVX2", "DEFAULT"])
def test_every_width_of_vectors_computes_the_same(
    capability: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = ("DEFAULT", "AVX2", "AVX512")
    here = torch.backends.cpu.get_cpu_capability()
    if capability != "DEFAULT" and (here not in order or order.index(capability) > order.index(here)):
        pytest.skip(f"this processor has {here}")
    monkeypatch.setenv("CORTEXZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for case in (*SHAPES, GatedDeltaCase(2, 70, 2, 5, 7, 20, "reset", 0)):
        assert max(errors(case.inputs(torch.float32), case.chunk_size)) <= GATED_DELTA_CLAMPED.values


def test_the_number_of_threads_changes_no_bit() -> None:
    inputs = SHAPES[1].inputs(torch.float32)
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3, 16):
            torch.set_num_threads(threads)
            found.append(both(inputs)[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


def test_inputs_with_any_strides_are_read_and_left_as_they_are() -> None:
    inputs = SHAPES[1].inputs(torch.float32)
    turned = [tensor.transpose(0, -1).contiguous().transpose(0, -1) for tensor in inputs]
    copies = [tensor.clone() for tensor in turned]
    straight, strided = both(inputs)[0], both(turned)[0]
    assert all(torch.equal(a, b) for a, b in zip(straight, strided, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(copies, turned, strict=True))


def test_nan_is_not_hidden() -> None:
    for index in range(6):
        inputs = SHAPES[0].inputs(torch.float32)
        inputs[index].view(-1)[7] = torch.nan
        assert not all(tensor.isfinite().all() for tensor in both(inputs)[0])


def test_it_is_left_alone_where_it_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise AssertionError("the kernel was called")

    monkeypatch.setattr(compiled, "gated_delta_forward", refuse)
    inputs = SHAPES[1].inputs(torch.float32)
    with pytest.raises(AssertionError, match="the kernel was called"):
        chunk_gated_delta_rule(*inputs[:5])
    chunk_gated_delta_rule(*(tensor.double() for tensor in inputs[:5]))
    chunk_gated_delta_rule(*(tensor.bfloat16() for tensor in inputs[:5]))
    chunk_gated_delta_rule(inputs[0].requires_grad_(), *inputs[1:5])
    monkeypatch.setenv("CORTEXZOO_KERNELS", "0")
    chunk_gated_delta_rule(*(tensor.detach() for tensor in inputs[:5]))


def test_it_is_an_operator_that_torch_can_watch() -> None:
    found = torch.library.opcheck(compiled._operator(), (*SHAPES[1].inputs(torch.float32), 0.25, 20))
    assert found
    assert set(found.values()) == {"SUCCESS"}


def build_anew(monkeypatch: pytest.MonkeyPatch, folder: Path) -> str:
    """Whether the kernel is there, with a cache of its own: the warning, or nothing."""
    monkeypatch.setenv("CORTEXZOO_CACHE", str(folder))
    compiled._kernel.cache_clear()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        there = compiled.is_there()
    assert there == (not heard)
    return "".join(str(warning.message) for warning in heard)


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        ("/nowhere/c++", "no C++ compiler was found (/nowhere/c++)"),
        ("false", "false failed: "),
    ],
)
def test_without_a_compiler_one_line_says_so(
    compiler: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", compiler)
    heard = build_anew(monkeypatch, tmp_path)
    assert heard == f"CORTEXZOO_KERNELS: {said}; the form in PyTorch is used"
    assert not compiled.takes(*SHAPES[1].inputs(torch.float32))
    assert chunk_gated_delta_rule(*SHAPES[1].inputs(torch.float32)[:5])[0].isfinite().all()


def test_a_library_that_was_changed_is_built_anew(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled.is_there()
    (built,) = (kept / "kernels").glob("gated_delta-*")
    sound = (built / compiled.LIBRARY).read_bytes()
    (built / compiled.LIBRARY).unlink()  # the file that is loaded stays as it is
    (built / compiled.LIBRARY).write_bytes(sound[:1000])
    assert not compiled.is_whole(built)
    assert build_anew(monkeypatch, kept) == ""
    assert compiled.is_whole(built)


def test_with_a_key_only_what_was_signed_is_executed(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiled.is_there()
    (built,) = (kept / "kernels").glob("gated_delta-*")
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    monkeypatch.setenv("CORTEXZOO_KEY_FILE", str(key))
    assert not compiled.is_whole(built)
    assert build_anew(monkeypatch, kept) == ""
    assert compiled.is_whole(built)


def test_a_folder_that_others_may_write_to_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels").chmod(stat.S_IRWXU | stat.S_IRWXG)
    assert build_anew(monkeypatch, tmp_path) == (
        f"CORTEXZOO_KERNELS: {tmp_path / 'kernels'} belongs to others, or others may write to it; "
        "the form in PyTorch is used"
    )


def test_another_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEXZOO_KERNELS", "yes")
    with pytest.raises(SetupError, match=r"^CORTEXZOO_KERNELS must be 0 or 1, got 'yes'$"):
        chunk_gated_delta_rule(*SHAPES[1].inputs(torch.float32)[:5])
