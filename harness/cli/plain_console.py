"""A terminal that texts cannot give orders to."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from cortexzoo.specs.plain_text import plain


class PlainConsole(Console):
    """A console whose texts reach the terminal without control characters of their own; its colours stay."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As of any console, every text with escapes in place of what a terminal would obey."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))
