"""How thoroughly to look: profiles by name, and the time of a check shared out among its properties."""

import math
import random
import time
from dataclasses import dataclass
from typing import Literal, get_args

ProfileName = Literal["dev", "ci", "deep"]
PROFILE_NAMES: tuple[ProfileName, ...] = get_args(ProfileName)
LEAST_SHARE = 0.5
"""Seconds that a property gets even where the time is over."""


@dataclass(frozen=True)
class Effort:
    """How hard to look: so many examples at most, for so many seconds, drawn from this seed."""

    examples: int = 0
    seconds: float = float("inf")
    seed: int = 0
    cpu: bool = False
    """Whether the seconds are of CPU time, which other programs on the machine take nothing from."""


@dataclass(frozen=True)
class Profile:
    """So many cases searched for each property besides its listed ones, within so many seconds for all of them.

    Without a limit in seconds what is tried does not depend on the machine.
    """

    name: ProfileName
    examples: int
    seconds: float
    fixed_seed: bool
    """Whether every check searches the same cases; otherwise each draws a seed, which its certificate names."""

    def effort(self, budget: float | None = None) -> Effort:
        """What a check may spend: `budget` seconds, or else the profile's own."""
        seed = 0 if self.fixed_seed else random.SystemRandom().randrange(2**31)
        return Effort(self.examples, self.seconds if budget is None else budget, seed)


PROFILES: dict[ProfileName, Profile] = {
    "dev": Profile("dev", 3, math.inf, fixed_seed=True),
    "ci": Profile("ci", 40, math.inf, fixed_seed=True),
    "deep": Profile("deep", 5000, 600.0, fixed_seed=False),
}


class Shares:
    """Gives each of some properties an equal part of the time that those before it have left."""

    def __init__(self, seconds: float, properties: int, *, cpu: bool = False) -> None:
        self._now = time.process_time if cpu else time.monotonic
        self._end, self._waiting = self._now() + seconds, properties

    def next(self) -> float:
        """Seconds for the next property."""
        share = (self._end - self._now()) / self._waiting
        self._waiting -= 1
        return max(LEAST_SHARE, share)
