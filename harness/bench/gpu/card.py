"""The card, and the two rates that nothing on it exceeds: of matrix products, and of copies within its memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch

from cortexzoo.harness.bench.gpu.row import Row

SECTION = "card"
SIDE = 8192


@dataclass(frozen=True)
class Rates:
    """What was measured in this process."""

    products: dict[torch.dtype, float]
    """Floating-point operations a second of a square product of 8,192."""
    copy: float
    """Bytes a second, read and written counted both."""


def milliseconds(call: Callable[[], object], times: int = 20) -> float:
    """Median time on the device."""
    for _ in range(3):
        call()
    taken = []
    for _ in range(times):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        taken.append(begin.elapsed_time(end))
    return float(median(taken))


def rates() -> Rates:
    """Measures both."""
    products = {}
    for dtype in (torch.bfloat16, torch.float32):
        a, b = (torch.randn(SIDE, SIDE, device="cuda", dtype=dtype) for _ in range(2))
        products[dtype] = 2e3 * SIDE**3 / milliseconds(lambda a=a, b=b: a @ b)  # type: ignore[misc]
    source = torch.randn(2**28, device="cuda")
    target = torch.empty_like(source)
    return Rates(products, 2e3 * 2**30 / milliseconds(lambda: target.copy_(source)))


def rows(rates: Rates) -> Iterator[Row]:
    """Name, versions, rates."""
    yield Row(SECTION, "name", torch.cuda.get_device_name())
    yield Row(SECTION, "torch, CUDA", f"{torch.__version__}, {torch.version.cuda}")
    for dtype, rate in rates.products.items():
        yield Row(SECTION, f"matrix product of {SIDE:,}, {str(dtype)[6:]}", f"{rate / 1e12:.0f} TFLOP/s")
    yield Row(SECTION, "copy of 1 GiB", f"{rates.copy / 1e12:.2f} TB/s")
