"""What a property is tried on: numbers and words by name."""

from collections.abc import Mapping

Case = Mapping[str, int | float | str]


class DoesNotApply(Exception):
    """The property does not apply to this subject; the message gives the reason."""
