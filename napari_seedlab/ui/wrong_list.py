"""Answers that a model finds wrong, the worst first: a click opens the seed, a class key corrects it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QSizePolicy, QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_seedlab.core import ClassScheme, Label
    from napari_seedlab.session.net_checks import WrongAnswer

N_ROWS = 5  # that are seen at once; the others scroll


class WrongList(QListWidget):
    """One row for each answer: seed, what was said, what the model says, its loss.

    Parameters
    ----------
    look_at : callable
        Told the seed of a row that was clicked.
    parent : QWidget, optional
    """

    def __init__(self, look_at: Callable[[int], object], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._look_at = look_at
        self._shown: list[tuple[WrongAnswer, str]] = []
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.itemClicked.connect(self._clicked)

    def show_answers(
        self, answers: Sequence[WrongAnswer], scheme: ClassScheme, labels: dict[int, Label]
    ) -> None:
        """Show these answers; those that were changed since are marked as done."""
        names = {c.id: c.name for c in scheme}
        texts = [f"{'✓ ' if _is_done(a, labels) else ''}{row_text(a, names)}" for a in answers]
        if list(zip(answers, texts, strict=True)) == self._shown:
            return
        self._shown, scrolled = list(zip(answers, texts, strict=True)), self.verticalScrollBar().value()
        self.clear()
        for a, text in self._shown:
            item = QListWidgetItem(text, self)
            item.setData(Qt.ItemDataRole.UserRole, a.seed)
            item.setToolTip(
                f"<p>Seed {a.seed}: the network, which did not see this answer, gives it a chance of "
                f"{a.p:.0%}. Click to look at it; a class key corrects it.</p>"
            )
        rows = min(max(self.count(), 1), N_ROWS)
        height = self.sizeHintForRow(0) if self.count() else self.fontMetrics().lineSpacing()
        self.setFixedHeight(rows * height + 2 * self.frameWidth() + 2)
        self.verticalScrollBar().setValue(scrolled)

    def _clicked(self, item: QListWidgetItem) -> None:
        self._look_at(int(item.data(Qt.ItemDataRole.UserRole)))


def _is_done(answer: WrongAnswer, labels: dict[int, Label]) -> bool:
    """Whether the answer was changed or taken back since."""
    now = labels.get(answer.seed)
    return now is None or now.class_id != answer.said


def row_text(answer: WrongAnswer, names: dict[int, str]) -> str:
    """Such as ``12 · 2.71 · said normal, looks dead``."""
    said, told = (names.get(c, "?") for c in (answer.said, answer.predicted))
    looks = f"said {said}, looks {told}" if said != told else f"said {said}, hard"
    return f"{answer.seed} · {answer.loss:.2f} · {looks}"
