"""What a user is told about a mistake in a spec; imports nothing, so that reading a file needs no pydantic."""


class SpecError(Exception):
    """A mistake in a spec, its file or its overrides. `lines` holds one self-contained message for each mistake."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
