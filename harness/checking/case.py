"""What a property is tried on: numbers and words by name."""

from collections.abc import Mapping

Case = Mapping[str, int | float | str]
