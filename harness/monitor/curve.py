"""A curve of bounded size: however long a run gets, drawing it costs the same."""

from collections.abc import Iterable

MOST_POINTS = 512


class Thinned:
    """Steps and values; when there are too many, neighbours are joined to the larger of the two, so spikes stay."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self._every = 1
        self._waiting: list[tuple[int, float]] = []

    def add(self, step: int, value: float) -> None:
        """The next point; steps ascend."""
        self._waiting.append((step, value))
        if len(self._waiting) == self._every:
            self.points.append(_largest(self._waiting))
            self._waiting = []
        if len(self.points) >= MOST_POINTS:
            self.points = [_largest(self.points[i : i + 2]) for i in range(0, len(self.points), 2)]
            self._every *= 2


def _largest(points: Iterable[tuple[int, float]]) -> tuple[int, float]:
    """A value that is not a number counts as largest: it must be seen."""
    return max(points, key=lambda point: (point[1] != point[1], point[1]))
