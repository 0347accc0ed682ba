"""The gated delta rule's forward pass as a compiled kernel, where the user asks for it with CORTEXZOO_KERNELS=1.

The kernel is `gated_delta.cpp`, built on first use by the C++ compiler at hand and kept in the cache folder under the
sum of its source, the compiler and the processor's vector instructions. It alone is executed from that folder, so it is
used only with its sum, and where nobody but the user can write.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cortexzoo.zoo import keyed
from cortexzoo.zoo.cache import cache_folder
from cortexzoo.zoo.ops.kernel_choice import VARIABLE, asked_for

SOURCE = Path(__file__).with_name("gated_delta.cpp")
COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-pthread")
VECTORS = {"AVX512": ("-mavx512f", "-mfma"), "AVX2": ("-mavx2", "-mfma")}
"""Flags for what `torch.backends.cpu.get_cpu_capability` names; none for others."""
LIBRARY, NOTE = "kernel.so", "sum.json"
BUILD_SECONDS = 120
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class KernelWarning(RuntimeWarning):
    """A kernel that was asked for and is not used, and why."""


class _Unusable(Exception):
    """Why there is no kernel."""


def is_there() -> bool:
    """Whether the kernel can be used here; if not, a warning says why."""
    return _kernel() is not None


def takes(*tensors: Tensor | None) -> bool:
    """Whether the kernel was asked for, is there, and computes these: plain float32 tensors on the CPU."""
    plain = all(t is None or (type(t) is Tensor and t.dtype == torch.float32 and t.is_cpu) for t in tensors)
    return plain and asked_for() and not torch.compiler.is_compiling() and is_there()


def gated_delta_forward(
    q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor, scale: float, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """Outputs and final state, for tensors that `takes` accepts; nothing can be differentiated through it."""
    out, final_state = _operator()(q, k, v, g, beta, state, scale, chunk_size)
    return out, final_state


@cache
def _operator() -> Any:
    """The kernel as an operator of torch, so that modes which watch or count operations see it."""

    @torch.library.custom_op("cortexzoo::gated_delta_forward", mutates_args=())
    def operator(
        q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, state: Tensor, scale: float, chunk_size: int
    ) -> tuple[Tensor, Tensor]:
        kernel = _kernel()
        assert kernel is not None
        batch, time, heads, key_dim = k.shape
        out, final_state = torch.empty_like(v, memory_format=torch.contiguous_format), state.contiguous().clone()
        inputs = [tensor.contiguous() for tensor in (q, k, v, g, beta)]
        places = [tensor.data_ptr() for tensor in (*inputs, out, final_state)]
        sizes = (batch, time, heads, key_dim, v.shape[-1], chunk_size)
        if kernel(*places, *sizes, scale, torch.get_num_threads()) != 0:
            raise MemoryError("the kernel of the gated delta rule got no memory")
        return out, final_state

    @operator.register_fake
    def _(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
        return torch.empty_like(v, memory_format=torch.contiguous_format), torch.empty_like(rest[2])

    return operator


@cache
def _kernel() -> Any:
    """The C function, or None, with a warning, where it cannot be built or used."""
    try:
        library = ctypes.CDLL(str(_built(cache_folder() / "kernels")))
        function = library.gated_delta_forward
    except (OSError, AttributeError, _Unusable) as problem:
        warnings.warn(f"{VARIABLE}: {problem}; the form in PyTorch is used", KernelWarning, stacklevel=3)
        return None
    function.argtypes = [ctypes.c_void_p] * 7 + [ctypes.c_int64] * 6 + [ctypes.c_float, ctypes.c_int64]
    function.restype = ctypes.c_int
    return function


def is_whole(kept: Path) -> bool:
    """Whether a folder has a library with the sum of its note. One that has not is built anew."""
    try:
        content = json.loads((kept / NOTE).read_bytes())
        digest = hashlib.sha256((kept / LIBRARY).read_bytes()).hexdigest()
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("sha256") == digest and keyed.mistake("kernel", content) is None


def _built(folder: Path) -> Path:
    """The shared library, from the cache or built now."""
    if sys.platform == "win32":
        raise _Unusable("kernels are not built on Windows")
    command = [*_compiler(), *FLAGS, *VECTORS.get(torch.backends.cpu.get_cpu_capability(), ())]
    parts = [*command, _output([*_compiler(), "--version"]), SOURCE.read_text(encoding="utf-8")]
    kept = folder / f"gated_delta-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _require_own(folder)
    if not is_whole(kept):
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", ignore_cleanup_errors=True) as partial:
            fresh = Path(partial) / kept.name
            fresh.mkdir()
            _output([*command, str(SOURCE), "-o", str(fresh / LIBRARY)])
            digest = hashlib.sha256((fresh / LIBRARY).read_bytes()).hexdigest()
            (fresh / NOTE).write_text(json.dumps(keyed.signed("kernel", {"sha256": digest})), encoding="utf-8")
            shutil.rmtree(kept, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process was quicker
                fresh.rename(kept)
    for path in (kept, kept / LIBRARY):
        _require_own(path)
    return kept / LIBRARY


def _compiler() -> list[str]:
    named = shlex.split(os.environ.get("CXX", ""))
    for choice in [named] if named else [[name] for name in COMPILERS]:
        if shutil.which(choice[0]):
            return choice
    raise _Unusable(f"no C++ compiler was found ({named[0] if named else ', '.join(COMPILERS)})")


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=BUILD_SECONDS)
    except subprocess.TimeoutExpired as problem:
        raise _Unusable(f"{command[0]} took more than {BUILD_SECONDS} s") from problem
    if done.returncode != 0:
        first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
        raise _Unusable(f"{command[0]} failed: {first}")
    return done.stdout


def _require_own(path: Path) -> None:
    """Whoever can write there could run code as the user."""
    found = path.stat()
    if found.st_uid != os.getuid() or found.st_mode & OTHERS_MAY_WRITE:
        raise _Unusable(f"{path} belongs to others, or others may write to it")
