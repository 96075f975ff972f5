"""The Figures page of the Train dock: how good the live model is, and how sure that is."""

from __future__ import annotations

from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_seedlab.session.figures import N_CHECK
from napari_seedlab.ui.confusion import ConfusionMatrix
from napari_seedlab.ui.curves import CalibrationSection, GrowthSection, RejectSection
from napari_seedlab.ui.section import Section, dim, dot, wrapped
from napari_seedlab.ui.wide_button import wide_button

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_seedlab.core import ClassScheme
    from napari_seedlab.session.figures import Report
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi

N_ROWS = 8  # most-wrong answers on the page
OPEN_PROJECT = "Open a project in the Project dock."
COUNT = "Press “Count now”."


class FiguresPage(QWidget):
    """Everything is computed in a job; the page shows the newest result.

    Parameters
    ----------
    ui : SeedlabUi
    parent : QWidget
    """

    def __init__(self, ui: SeedlabUi, parent: QWidget) -> None:
        super().__init__(parent)
        self._ui = ui
        self._shown: Report | None = None
        self._is_counting = False
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(4)
        self.headline, self.spent = wrapped(self), wrapped(self)
        rows.addWidget(self.headline)
        self._make_buttons()
        below = QHBoxLayout()
        below.addWidget(self.spent, 1)
        below.addWidget(self.count)
        rows.addLayout(below)
        rows.addWidget(self.check)
        self.growth = GrowthSection(ui.theme, self)
        self.matrix_section = Section("Mistaken for what?", ui.theme, self)
        self._fill_matrix_section()
        slot = ui.slot
        self.reject = RejectSection(slot(self._choose_p0), slot(self._label_unsure), ui.theme, self)
        self.calibration = CalibrationSection(ui.theme, self)
        self.wrong = Section("Most wrong answers", ui.theme, self)
        self.wrong.setToolTip("Wrong labels, or hard seeds: a click shows the seed, a class key corrects it")
        self.scans = Section("Do the scans differ?", ui.theme, self)
        self.scans_text = wrapped(self)
        self.scans.content.addWidget(self.scans_text)
        self.sections = (
            self.growth, self.matrix_section, self.reject, self.calibration, self.wrong, self.scans,
        )  # fmt: skip
        for section in self.sections:
            rows.addWidget(section)
        rows.addStretch(1)
        self.refresh()

    def _make_buttons(self) -> None:
        slot = self._ui.slot
        self.check = wide_button(
            f"Spend {N_CHECK} clicks on an honest check",
            "Asks about seeds drawn by chance within each predicted class: only such answers tell how good "
            "the model is on all seeds",
            slot(self._check),
            self,
        )
        tip = "Compute these figures anew from all answers"
        self.count = wide_button("Count now", tip, slot(self._count), self)
        self.count.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def _fill_matrix_section(self) -> None:
        self.recall = wrapped(self)
        self.matrix = ConfusionMatrix(self._ui.theme, self)
        self.matrix.clicked.connect(self._ui.slot(self._select))
        self.all_seeds = QCheckBox("estimated for all seeds", self)
        self.all_seeds.setToolTip("Else the answers are counted, among which hard seeds are too many")
        self.all_seeds.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.all_seeds.toggled.connect(self._ui.slot(self._show_matrix))
        for widget in (self.matrix, self.all_seeds, self.recall):
            self.matrix_section.content.addWidget(widget)

    # -- from the session ---------------------------------------------------------------------
    def show_figures(self) -> None:
        """New figures came."""
        self._is_counting = False
        self.refresh()

    def refresh(self) -> None:
        """Show the newest figures, or what to do for some."""
        session = self._ui.session
        report = None if session is None else session.figures.of()
        lacking = OPEN_PROJECT if session is None else session.figures.lacks()
        can_ask = session is not None and not lacking and not session.read_only
        can_ask = can_ask and session is not None and session.figures.has_open()
        self.check.setEnabled(can_ask)
        self.reject.unsure.setEnabled(can_ask)
        self.count.setEnabled(session is not None and not lacking)
        if session is None or report is None:
            self._shown = None
            self._show_nothing(lacking)
            return
        self._tell_spent(session, report)
        if report is not self._shown:
            self._shown = report
            self._show_report(session, report)

    def _show_nothing(self, lacking: str) -> None:
        what = "Counting…" if self._is_counting else lacking or COUNT
        self.headline.setText(dim(what, self._ui.theme))
        self.spent.setText("")
        for section in self.sections:
            section.hide()

    def _tell_spent(self, session: Session, report: Report) -> None:
        values = report.values
        new = session.figures.n_new()
        text = f"{values['n_labels']} labels · {spent_text(float(values['seconds']))} of answering"
        if self._is_counting:
            text += " · counting…"
        elif new > 0:
            text += f" · {new} newer {'label is' if new == 1 else 'labels are'} not counted yet"
        self.spent.setText(dim(text, self._ui.theme))

    def _show_report(self, session: Session, report: Report) -> None:
        values = report.values
        self.headline.setText(headline(values))
        for section in self.sections:
            section.show()
        self.growth.show_growth(values)
        self.all_seeds.setEnabled(values["confusion_pool"] is not None)
        self._show_matrix()
        self.recall.setText(recall_text(values, session.scheme))
        self.matrix_section.fill()
        self.reject.show_curve(report, session.figures.p0())
        self.calibration.show_calibration(values)
        self._show_wrong(session, values)
        self._show_scans(values)

    def _show_matrix(self) -> None:
        session, report = self._ui.session, self._shown
        if session is None or report is None:
            return
        pooled = report.values["confusion_pool"] if self.all_seeds.isChecked() else None
        known = {c.id: c for c in session.scheme}
        classes = [known.get(c) for c in report.class_ids]
        names = ["?" if c is None else c.name for c in classes]
        colors = [self._ui.theme.dim if c is None else c.color for c in classes]
        self.matrix.show_counts(names, colors, pooled or report.values["confusion"])

    def _show_wrong(self, session: Session, values: Mapping[str, Any]) -> None:
        while (item := self.wrong.content.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.deleteLater()
        found = values["most_wrong"]
        for entry in found[:N_ROWS]:
            link = QLabel(wrong_text(entry, session.scheme, self._ui.theme.accent), self)
            link.setToolTip(f"The model gives the answer a chance of {100 * entry['p']:.0f} %")
            link.setTextFormat(Qt.TextFormat.RichText)
            link.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            link.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            link.linkActivated.connect(self._ui.slot(partial(self._look_at, int(entry["seed"]))))
            self.wrong.content.addWidget(link)
        if found:
            self.wrong.fill(f"{len(found)} of {values['n_labels']}")
        else:
            self.wrong.lack("No answer contradicts what the other answers teach.")

    def _show_scans(self, values: Mapping[str, Any]) -> None:
        text = scans_text(values)
        if text:
            self.scans_text.setText(dim(text, self._ui.theme))
            self.scans.fill()
        else:
            self.scans.lack("Only one scan of this kind has seeds.")

    # -- from the user ------------------------------------------------------------------------
    def _check(self) -> None:
        if self._ui.session is not None:
            self._ui.session.figures.check()
            self._ui.start_labelling(True)
            self._ui.raise_dock("labelling")  # the card counts down

    def _count(self) -> None:
        if self._ui.session is not None:
            self._ui.session.figures.ask()
            self._is_counting = True
            self.refresh()

    def _select(self, said: int, told: int) -> None:
        if self._shown is None:
            return
        if seeds := self._shown.cell(said, told):
            self._ui.select(seeds, "figures")
        else:
            self._ui.say("No answer lies in this cell.")

    def _look_at(self, seed: int) -> None:
        self._ui.pick(seed, "figures")

    def _choose_p0(self) -> None:
        if self._ui.session is not None and self._shown is not None:
            self._ui.session.figures.choose_p0(self.reject.p0)

    def _label_unsure(self) -> None:
        if self._ui.session is not None:
            self._ui.session.figures.label_unsure()
            self._ui.start_labelling(True)


def headline(values: Mapping[str, Any]) -> str:
    """Rich text of the one figure that counts."""
    accuracy, n = values["accuracy"], values["n_random"]
    if not values["is_better_than_guessing"]:
        return "<b>No better than guessing yet.</b><br>Label on, or choose another encoder."
    if accuracy["text"].startswith("too few"):
        return f"<b>How good is it?</b> {accuracy['text'].capitalize()} answers about seeds drawn by chance."
    share, _, spread = accuracy["text"].partition(" % (")
    left_out = str(values.get("untold", {}).get("text", ""))
    whom = "the seeds that can be told" if left_out else "all seeds"
    how = f"{spread.rstrip(')')} with 95 % certainty, by {n} answers drawn by chance."
    if values.get("is_counted"):
        how = f"Counted over all {accuracy['n']:,}, each by a model that was not told its answer."
    return f"<b>Right about {share} % of {whom}</b><br>{how}" + (
        f"<br>{left_out[:1].upper()}{left_out[1:]}." if left_out else ""
    )


def spent_text(seconds: float) -> str:
    """Such as ``6 min 20 s``.

    >>> spent_text(380)
    '6 min 20 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def recall_text(values: Mapping[str, Any], scheme: ClassScheme) -> str:
    """Rich text: how many seeds of each class are found, each in its colour."""
    known = {c.id: c for c in scheme}
    lines = [
        f"{dot(known[r['class_id']].color)} {escape(known[r['class_id']].name)} found: {r['text']}"
        for r in values["recall"]
        if r["class_id"] in known
    ]
    return "<br>".join(lines)


def wrong_text(entry: Mapping[str, Any], scheme: ClassScheme, color: str) -> str:
    """Rich text of one answer that the model contradicts; the seed is a link."""
    known = {c.id: c.name for c in scheme}
    said, told = (escape(known.get(entry[k], "?")) for k in ("said", "predicted"))
    return f'<a href="#" style="color:{color}">Seed {entry["seed"]}</a> said {said}, looks {told}'


def scans_text(values: Mapping[str, Any]) -> str:
    """What differs between scans, in words; empty where there is one scan only."""
    folds, text = values["folds"], str(values["gauge"]["text"])
    if folds["held_out"] is not None:
        text += (
            f" On a {folds['by']} without any label it is right about {100 * folds['held_out']:.0f} % of "
            f"each class, on others about {100 * folds['random']:.0f} %."
        )
    return text.strip()
