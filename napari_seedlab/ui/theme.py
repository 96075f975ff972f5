"""Colours of napari's theme for the widgets that paint themselves."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtGui import QColor


@dataclass(frozen=True)
class Theme:
    """Colours as ``#rrggbb``, named by what they are for."""

    background: str
    panel: str
    line: str
    dim: str
    text: str
    accent: str
    good: str = "#2fa37c"
    warning: str = "#e0a53a"
    error: str = "#e0605e"

    def color(self, name: str, alpha: int = 255) -> QColor:
        """Colour of the field `name` with opacity `alpha` of 0-255."""
        color = QColor(getattr(self, name))
        color.setAlpha(alpha)
        return color


DARK = Theme("#262930", "#31363f", "#414851", "#9aa1ab", "#f0f1f2", "#3d8fd1")
LIGHT = Theme("#efebe9", "#e2dedb", "#c9c4c0", "#6d6a67", "#3b3a39", "#2474b5")


def theme_of(name: str) -> Theme:
    """Colours beside napari's theme `name`; unknown themes count as dark."""
    return LIGHT if name == "light" else DARK
