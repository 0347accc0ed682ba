"""The request for a check of a module."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cortexzoo.harness.checking.effort import PROFILES, ProfileName
from cortexzoo.harness.checking.modules.hugging_face import Pretrained
from cortexzoo.harness.checking.modules.loading import Reference
from cortexzoo.specs import SuiteSpec
from cortexzoo.specs.properties import PropertyName

SHORTEST_LIMIT, LONGEST_LIMIT = 3.0, 60.0
"""Bounds of the seconds that one case may compute, or idle, before it counts as hanging: a quarter of the budget."""


@dataclass(frozen=True)
class Request:
    """A module and how to check it. None for a size: find out."""

    reference: Reference | Pretrained
    suite: SuiteSpec
    vocab_size: int | None = None
    width: int | None = None
    max_length: int = 2048
    seconds: float = 60.0
    seed: int = 0
    examples: int = PROFILES["ci"].examples
    profile: ProfileName = "ci"
    environment: tuple[str, ...] = ()
    """Variables that the module's process sees besides the usual ones."""

    @property
    def case_limit(self) -> float:
        """Seconds that one case may compute, or idle."""
        return min(max(self.seconds / 4, SHORTEST_LIMIT), LONGEST_LIMIT)

    def as_json(self, properties: Sequence[PropertyName], seconds: float) -> dict[str, Any]:
        """The request for some of the properties."""
        return {
            "path": str(self.reference.path),
            "name": self.reference.name,
            "suite": self.suite.canonical_json(),
            "vocab_size": self.vocab_size,
            "width": self.width,
            "max_length": self.max_length,
            "seconds": seconds,
            "seed": self.seed,
            "examples": self.examples,
            "properties": list(properties),
            "environment": list(self.environment),
            "case_limit": self.case_limit,
        }
