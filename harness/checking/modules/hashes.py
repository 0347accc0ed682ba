"""Python's hash of text, which differs from process to process: as in another process, for a module's own files."""

import builtins
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

SALT = "of another process"
NAME = "hash"


def _salted(value: object) -> int:
    """As `hash`, with another seed for text: in tuples too."""
    if isinstance(value, str):
        return builtins.hash(value + SALT)
    if isinstance(value, bytes):
        return builtins.hash(value + SALT.encode())
    if type(value) is tuple:
        return builtins.hash(tuple(_salted(part) for part in value))
    return builtins.hash(value)


@contextmanager
def of_another_process(model: nn.Module) -> Iterator[None]:
    """What the files of the module's classes call `hash` gives for text what another process would give."""
    files = {type(part).__module__ for part in model.modules()}
    own = [sys.modules[name].__dict__ for name in files if name in sys.modules and name.partition(".")[0] != "torch"]
    own = [names for names in own if NAME not in names]
    for names in own:
        names[NAME] = _salted
    try:
        yield
    finally:
        for names in own:
            names.pop(NAME, None)
