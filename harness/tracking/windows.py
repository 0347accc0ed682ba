"""Windows of steps: the values of a few metrics gathered up, so that their spread can be tracked as well."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping

from cortexzoo.specs.metrics import GATE_SHARE

LENGTH = 50
NAMES = ("train/gradient_norm",)
PREFIXES = (GATE_SHARE,)


class Windows:
    """Gathers the finite values of gradient norms and gate shares over `length` steps."""

    length = LENGTH

    def __init__(self) -> None:
        self._values: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, step: int, values: Mapping[str, float]) -> Iterator[tuple[str, list[float]]]:
        """Take the metrics of a step; at the last step of a window give each metric with its values, and begin anew."""
        for name, value in values.items():
            if (name in NAMES or name.startswith(PREFIXES)) and math.isfinite(value):
                self._values[name].append(float(value))
        if step % self.length:
            return iter(())
        full, self._values = self._values, defaultdict(list)
        return iter(full.items())
