"""A figure beside the one that the harness works out again."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """A figure as it is recorded, and as it is worked out again; NaN: there is none."""

    found: float
    wanted: float
    scale: float = 0.0
    """What a difference is relative to, if it is more than what is wanted."""

    @property
    def apart(self) -> float:
        if math.isnan(self.found) or math.isnan(self.wanted):
            return 0.0 if math.isnan(self.found) and math.isnan(self.wanted) else math.inf
        return abs(self.found - self.wanted) / max(abs(self.wanted), self.scale, 1e-6)
