"""The dashboard: one column a run, looked at once a second."""

import re
from collections.abc import Sequence
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Static

from cortexzoo.harness.errors import UserError
from cortexzoo.harness.monitor.panel import panel
from cortexzoo.harness.monitor.run_view import RunView

EVERY = 1.0
"""Seconds between two looks: reading is cheap, drawing is not."""
LEAST_WIDTH = 40
PANEL_WIDTH = 44
"""Characters of a run, its border included, at least."""
FONTS = re.compile(r"@font-face\s*\{[^}]*\}\s*")


class Dashboard(App[str]):
    """Follows runs, which were looked at once, until `q`. With `snapshot` it draws once, and its result is an SVG."""

    TITLE = "cortexzoo monitor"
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "Quit")]
    CSS = """
    Screen { background: #14171c; }
    Horizontal { overflow-x: auto; }
    Static { padding: 0 1; border: round #3a4150; height: 100%; }
    """

    def __init__(self, views: Sequence[RunView], snapshot: bool = False) -> None:
        super().__init__()
        self.views = list(views)
        self._snapshot = snapshot
        self._panels: list[Static] = []

    def compose(self) -> ComposeResult:
        self._panels = [Static() for _ in self.views]
        yield Horizontal(*self._panels)

    def on_mount(self) -> None:
        self.call_after_refresh(self._draw_all)
        if not self._snapshot:
            self.set_interval(EVERY, self._follow)

    def on_resize(self) -> None:
        for widget in self._panels:  # more than fit are scrolled to
            widget.styles.width = max(PANEL_WIDTH, self.size.width // len(self._panels))
        self.call_after_refresh(self._redraw)

    def _draw_all(self) -> None:
        self._redraw()
        if self._snapshot:
            self.call_after_refresh(lambda: self.exit(without_fonts(self.export_screenshot())))

    def _follow(self) -> None:
        for view, widget in zip(self.views, self._panels, strict=True):
            try:
                changed = view.look()
            except UserError as problem:
                widget.update(str(problem))
                continue
            if changed or view.status == "running":
                self._update(view, widget)

    def _redraw(self) -> None:
        for view, widget in zip(self.views, self._panels, strict=True):
            self._update(view, widget)

    def _update(self, view: RunView, widget: Static) -> None:
        width = max(widget.size.width, LEAST_WIDTH)
        widget.update(panel(view, width, widget.size.height))


def without_fonts(svg: str) -> str:
    """Textual's pictures load their font from the network; ours use a font of the reader's machine."""
    return FONTS.sub("", svg)
