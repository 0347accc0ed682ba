"""Whether compiled kernels are asked for, which is known before torch is imported."""

import os

from cortexzoo.zoo.errors import SetupError

VARIABLE = "CORTEXZOO_KERNELS"


def asked_for() -> bool:
    """Whether CORTEXZOO_KERNELS is 1. Raises `SetupError` for what is neither 0, 1 nor empty."""
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        raise SetupError(f"{VARIABLE} must be 0 or 1, got {value!r}")
    return value == "1"
