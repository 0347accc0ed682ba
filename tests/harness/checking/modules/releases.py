"""What some releases of transformers cannot do."""

from importlib.metadata import version

import pytest

mamba_takes_pieces = pytest.mark.skipif(
    int(version("transformers").split(".")[0]) < 5, reason="a Mamba of transformers 4 raises for a second piece of text"
)
