"""What holds for every test: Hypothesis profiles, checked tensor shapes, own random state, no window, no network."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

from tests.shapes import checked

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The tensors of a test are small: threads that wait for each other cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No profile has a deadline: the first call of a tensor operation is slow, and the machine may be shared.
settings.register_profile("dev", max_examples=30, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True, print_blob=True)
settings.register_profile("deep", max_examples=2000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev"))

install_import_hook("cortexzoo.zoo", f"{checked.__module__}.{checked.__name__}")


@pytest.fixture(autouse=True)
def own_random_state() -> Iterator[None]:
    """Every test starts from the same torch seed and leaves no trace, so that their order does not matter."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
