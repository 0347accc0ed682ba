"""What `bench gated-delta` times: both forms, with the operations of the same algorithm."""

import shutil
from pathlib import Path

import pytest
import torch

from cortexzoo.harness.bench.ops import GatedDelta, compiled_gated_delta, gated_delta, gated_delta_inputs
from cortexzoo.zoo.ops import compiled


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORTEXZOO_CACHE", str(tmp_path))
    monkeypatch.delenv("CORTEXZOO_KERNELS", raising=False)
    compiled._kernel.cache_clear()


@pytest.mark.skipif(not any(shutil.which(name) for name in compiled.COMPILERS), reason="no C++ compiler is installed")
@pytest.mark.usefixtures("own_cache")
def test_the_compiled_form_is_a_case_of_its_own_with_equal_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    cases = {case.name: case for case in GatedDelta().cases(quick=True)}
    assert cases["compiled-forward-T512"].flops == cases["forward-T512"].flops
    assert (cases["forward-T512"].flops or 0) > 512 * 4 * 64 * 64
    monkeypatch.setenv("CORTEXZOO_KERNELS", "1")
    asked = {case.name: case.flops for case in GatedDelta().cases(quick=True)}
    assert asked == {name: case.flops for name, case in cases.items()}, (
        "a share of the matmul rate with the kernel, too"
    )
    monkeypatch.setenv("CORTEXZOO_KERNELS", "0")
    inputs = gated_delta_inputs(100)
    with torch.no_grad():
        assert torch.allclose(compiled_gated_delta(*inputs), gated_delta(*inputs), atol=1e-5)


@pytest.mark.usefixtures("own_cache")
def test_without_a_compiler_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    with pytest.warns(compiled.KernelWarning, match="no C"):
        names = [case.name for case in GatedDelta().cases(quick=True)]
    assert names == ["forward-T512", "forward-backward-T512", "forward-T2048", "forward-backward-T2048"]
