"""What a module's process sees of the environment: what Python, torch and the caches need, and no secret."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import cortexzoo

NAMES = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV", "CONDA_PREFIX",
    "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONNOUSERSITE", "PYTHONDONTWRITEBYTECODE",
    "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE", "TRANSFORMERS_OFFLINE",
    "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
    "NUMBER_OF_PROCESSORS",
})  # fmt: skip
BEGINNINGS = (
    "LC_", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "CUDA_", "NVIDIA_", "ROCR_", "HIP_", "HSA_", "PYTORCH_", "TORCH_",
    "TORCHINDUCTOR_", "TRITON_", "XDG_", "LD_", "DYLD_",
)  # fmt: skip


def scrubbed(temporary: Path, given: Mapping[str, str] = os.environ, asked: Collection[str] = ()) -> dict[str, str]:
    """The variables that pass, those `asked` for too, with `temporary` for temporary files and this package's path."""
    passed = {
        name: value
        for name, value in given.items()
        if name.upper() in NAMES or name.startswith(BEGINNINGS) or name in asked
    }
    folders = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    here = str(Path(cortexzoo.__file__).parents[1])
    path = os.pathsep.join([here, *filter(None, [given.get("PYTHONPATH")])])
    return {**passed, **folders, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
