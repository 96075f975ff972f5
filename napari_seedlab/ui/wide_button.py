"""A button as wide as its place, which says what it does under the pointer."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable


def wide_button(text: str, tip: str, call: Callable[..., None], parent: QWidget) -> QPushButton:
    """A button that calls `call`, a guarded slot, and leaves the keyboard where it is."""
    button = QPushButton(text, parent)
    button.setToolTip(f"<p>{escape(tip)}</p>" if tip else "")
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    button.clicked.connect(call)
    return button
