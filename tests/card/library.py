"""Builds and loads the library that answers for a card; it must be there before torch is imported."""

import ctypes
import importlib.util
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("card.cpp")


def torch_folder() -> Path:
    """Of the installed package, which is not imported."""
    found = importlib.util.find_spec("torch")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


def build(into: Path) -> Path:
    """The library, compiled in a few seconds."""
    torch, library = torch_folder(), into / "libcard.so"
    include = torch / "include"
    subprocess.run(
        [
            *("g++", "-O0", "-fPIC", "-shared", "-std=c++20", str(SOURCE), "-o", str(library)),
            *(f"-I{include}", f"-I{include / 'torch' / 'csrc' / 'api' / 'include'}"),
            *(f"-L{torch / 'lib'}", "-lc10", "-ltorch_cpu", f"-Wl,-rpath,{torch / 'lib'}"),
        ],
        check=True,
    )
    return library


def load(library: Path) -> None:
    """Before torch looks for a card."""
    assert "torch" not in sys.modules, "torch was imported before the card was there"
    for name in ("libtorch_global_deps.so", "libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(torch_folder() / "lib" / name), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
