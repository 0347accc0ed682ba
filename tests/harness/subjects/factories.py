"""A module of a file of subjects by its name, for commands that take `file.py:name`."""

from collections.abc import Callable, Mapping

from torch import nn

Factory = Callable[[], nn.Module]


def by_name(
    healthy: Mapping[str, Factory], defective: Mapping[str, tuple[Factory, object]]
) -> Callable[[str], Factory]:
    """`__getattr__` of a file: each module of its tables is a factory."""
    known = {**healthy, **{name: factory for name, (factory, _) in defective.items()}}

    def named(name: str) -> Factory:
        if name not in known:
            raise AttributeError(name)
        return known[name]

    return named
