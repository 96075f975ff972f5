"""The Labelling dock: the card of the asked seed, the answers, the tissue brush."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_seedlab.core import SURE, LabelState
from napari_seedlab.ui.ahead import CutsAhead, to_come
from napari_seedlab.ui.card import ClassButton, CutsView, SavedTick
from napari_seedlab.ui.dock_frame import DockFrame
from napari_seedlab.ui.empty_states import before_seeds
from napari_seedlab.ui.evidence import EvidenceRow
from napari_seedlab.ui.few_lines import FewLines
from napari_seedlab.ui.labelling_mode import TOGGLE_KEY, key_text
from napari_seedlab.ui.layers import background_value
from napari_seedlab.ui.scheme_editor import SchemeEditor
from napari_seedlab.ui.seed_text import reason_now

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent

    from napari_seedlab.ui.app import SeedlabUi

STRATEGY_WORDS = {  # in few letters: they stand beside the number of the seed
    "default": "Suggested",
    "random": "By chance",
    "least_confidence": "Least sure",
    "margin": "Hard to tell",
    "entropy": "Least sure",
    "bald": "Models disagree",
    "k_center": "Unlike the rest",
    "badge": "Teaches most",
    "typiclust": "Typical seed",
    "margin_kmeans": "Hard to tell",
    "anomaly": "Odd seed",
    "disagreement": "Disputed",
    "neighbours": "Between classes",
    "label_errors": "Label right?",
    "check": "Honest check",
    "novelty": "Unlike the rest",
}
BRUSH_PX = 6
OLD_MS = 300  # that the picture of the seed before may stand until the next one is read
BUTTON_FRAME_PX = 12  # beside the text of a button
LINES, ROOMY_LINES = 2, 4  # of a reason: always, and where there is room


class LabellingDock(DockFrame):
    """One seed at a time: what it looks like, why it is asked, what it may be."""

    def __init__(self, ui: SeedlabUi) -> None:
        super().__init__(ui, spacing=3, n_lines=1)
        body = self.body
        self._is_hidden = False  # the picture, while several seeds are selected
        self._class_buttons: dict[int, ClassButton] = {}
        self._tissue_buttons: dict[int, QPushButton] = {}
        self._make_head(body)
        self._make_card(body)
        self._make_answers(body)
        self._make_brush(body)
        self._make_editor()
        self.rows.addStretch(1)
        ui.labelling_switched.connect(self._switched)
        ui.session_bound.connect(ui.slot(self.rebuild))
        self.rebuild()

    # -- making -------------------------------------------------------------------------------
    def _button(self, text: str, tip: str, call: Any) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        button.clicked.connect(self._ui.slot(call))
        return button

    def _make_head(self, body: QWidget) -> None:
        self.toggle = QPushButton(body)
        self.toggle.setCheckable(True)
        self.toggle.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.toggle.setToolTip("While on, digits and letters answer; off, napari has its own keys back")
        self.toggle.clicked.connect(self._ui.slot(self._toggled))
        self.tick = SavedTick(self._ui.theme, body)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.toggle, 1)
        self.buttons: dict[str, QPushButton] = {}
        for name, text, tip, call in (
            ("undo", "↶", "Undo (Ctrl+Z)", self._ui.undo),
            ("redo", "↷", "Redo (Ctrl+Shift+Z)", self._ui.redo),
        ):
            self.buttons[name] = self._button(text, tip, call)
            fix_width(self.buttons[name], 30)
            row.addWidget(self.buttons[name])
        row.addWidget(self.tick)
        self.rows.addLayout(row)

    def _make_card(self, body: QWidget) -> None:
        self.cuts = CutsView(self._ui.theme, body)
        self._ahead = CutsAhead(self._ui.background, lambda seed, cuts: self.cuts.show_cuts(cuts, seed=seed))
        self.title, self.reason = FewLines(1, body), FewLines(2, body)
        font = self.title.font()
        font.setBold(True)
        self.title.setFont(font)
        self.buttons["jump"] = self._button("J  Show", "Fly to this seed", self._ui.jump)
        fix_width(self.buttons["jump"], 76)
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.buttons["jump"])
        self.rows.addLayout(head)
        self.rows.addWidget(self.cuts)
        self.evidence = EvidenceRow(self._ui.thumbs, self._look_at, self._ui.theme, body)
        self._ui.thumbs.ready.connect(self.evidence.refresh)
        why = QHBoxLayout()
        why.setSpacing(6)
        why.addWidget(self.reason, 1)
        why.addWidget(self.evidence)
        self.classes = self._button("✎", "Classes…: add, rename, recolour or hide them", self.edit_classes)
        self.classes.setAccessibleName("Classes…")
        self.classes.setFlat(True)
        fix_width(self.classes, 26)
        why.addWidget(self.classes, 0, Qt.AlignmentFlag.AlignBottom)  # above the class buttons
        self.rows.addLayout(why)

    def _make_answers(self, body: QWidget) -> None:
        self._classes = QVBoxLayout()
        self._classes.setSpacing(3)
        self.rows.addLayout(self._classes)
        ui, grid = self._ui, QGridLayout()
        grid.setSpacing(3)
        call = ui.do
        rows = (
            ("unsure", "Unsure", "An expert should look", partial(ui.answer, "unsure")),
            ("not_whole", "Not whole", "Not one whole seed: to repair", partial(ui.answer, "not_whole")),
            ("clear", "Clear", "Take the label off", partial(ui.answer, None)),
            ("previous", "Back", "Previous suggestion", partial(call, "previous")),
            ("accept", "Accept", "Answer as predicted", partial(call, "accept")),
            ("next", "Skip", "Next suggestion, without an answer", partial(call, "skip")),
        )
        answers = {name: self._button(f"{key_text(name)}  {text}", tip, act) for name, text, tip, act in rows}
        for i, button in enumerate(answers.values()):
            grid.addWidget(button, i // 3, i % 3)
        self.buttons.update(answers)
        self.rows.addLayout(grid)

    def _make_brush(self, body: QWidget) -> None:
        self._brush_row = QHBoxLayout()
        self._brush_row.setSpacing(3)
        self._brush_title = QLabel("Paint on this slice", body)
        self._brush_size = QSpinBox(body)
        self._brush_size.setRange(1, 80)
        self._brush_size.setValue(BRUSH_PX)
        self._brush_size.setToolTip("Brush size in voxels")
        self._brush_size.setFixedWidth(92)
        self._brush_size.setPrefix("⌀ ")
        self._brush_size.valueChanged.connect(self._ui.slot(self._resize_brush))
        head = QHBoxLayout()
        head.addWidget(self._brush_title, 1)
        head.addWidget(self._brush_size)
        self.rows.addLayout(head)
        self.rows.addLayout(self._brush_row)

    def _make_editor(self) -> None:
        self.editor = SchemeEditor(self._ui, self)
        self.editor.hide()
        self.editor.done.connect(self._ui.slot(self.show_card))

    def edit_classes(self) -> None:
        """Show the page of the classes in place of the card."""
        if self._ui.session is not None:
            self.editor.rebuild()
            self._turn_to(self.editor)

    def show_card(self) -> None:
        """Show the card again."""
        self._turn_to(self.body)

    def _turn_to(self, page: QWidget) -> None:
        before = self.scroll.takeWidget()
        if before is not None:
            before.setParent(self)
            before.hide()
        self.scroll.setWidget(page)
        page.show()

    # -- from the session ---------------------------------------------------------------------
    def rebuild(self) -> None:
        """Make the buttons of the class schemes anew."""
        self.editor.rebuild()
        if self._ui.session is None:
            self.show_card()
        for layout, buttons in (
            (self._classes, self._class_buttons),
            (self._brush_row, self._tissue_buttons),
        ):
            for button in buttons.values():
                layout.removeWidget(button)
                button.setParent(None)
                button.deleteLater()
            buttons.clear()
        session = self._ui.session
        if session is not None:
            for seed_class in session.scheme.active:
                button = ClassButton(seed_class, self._ui.theme, self)
                button.clicked.connect(self._ui.slot(partial(self._ui.answer, seed_class.id)))
                self._classes.addWidget(button)
                button.show()  # now, not at the next turn: the reason has the room that is left
                self._class_buttons[seed_class.id] = button
            for tissue in session.tissues:
                self._add_tissue(tissue.id, tissue.name, tissue.name)
            none = "background, none of these tissues"
            self._add_tissue(background_value(session.tissues), "background", none)
        self.show_seed(None if session is None else session.current_seed)

    def _add_tissue(self, value: int, name: str, what: str) -> None:
        button = self._button(name, f"Paint {what}; press again to stop", partial(self._take_brush, value))
        button.setCheckable(True)
        width = button.fontMetrics().horizontalAdvance(name) + BUTTON_FRAME_PX
        self._brush_row.addWidget(button, width)  # room in proportion to the name
        button.show()
        self._tissue_buttons[value] = button

    def show_seed(self, seed: int | None) -> None:
        """Show another seed on the card."""
        session = self._ui.session
        if seed is None or session is None:
            self._ahead.forget()
            self.cuts.show_cuts(None, self._what_next())
        else:
            self._ahead.show(session, seed)
            self._ahead.read_ahead(session, to_come(session))
            if self.cuts.seed != seed:
                QTimer.singleShot(OLD_MS, self._ui.slot(self._drop_old_picture))
        self.refresh()

    def _drop_old_picture(self) -> None:
        """Where reading takes long, nobody is to take what stood there before for this seed."""
        seed = None if self._ui.session is None else self._ui.session.current_seed
        if seed is not None and self.cuts.seed != seed and not self._is_hidden:
            self.cuts.show_cuts(None, f"Reading seed {seed}…")

    def _what_next(self) -> str:
        if to_do := before_seeds(self._ui.session):
            return to_do
        done = self._all_answered()
        if done:
            return f"{done}. The Train dock lists doubtful answers; a click on any seed puts it here again."
        if self._ui.mode.is_on:
            return "The next seed is being chosen. Or click any seed."
        return f"Press “Start labelling” ({TOGGLE_KEY}): the first seed is chosen for you. Or click any seed."

    def _all_answered(self) -> str:
        """``All 60 seeds of this scan are answered``; empty while one of the shown scan is not."""
        session = self._ui.session
        table = None if session is None else session.regions(session.current_scan or 0)
        if session is None or table is None or len(session.labels) < len(table.seed):
            return ""
        seeds = table.seed.tolist()
        states = [session.label(s).state for s in seeds]
        if LabelState.NONE in states:
            return ""
        unsure = states.count(LabelState.UNSURE)
        return f"All {len(seeds):,} seeds of this scan are answered" + (
            f", {unsure:,} as unsure" if unsure else ""
        )

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Give the reason more lines where there is room for them."""
        super().resizeEvent(event)
        self._fit_reason()

    def _fit_reason(self) -> None:
        """As many lines as fit before the last button would have to be scrolled to."""
        self.rows.activate()  # else the layouts inside tell the room that they took before
        line = self.reason.fontMetrics().lineSpacing()
        others = self.body.sizeHint().height() - self.reason.sizeHint().height()
        room = self.scroll.viewport().height() - others
        self.reason.take_lines(min(max(room // line, LINES), ROOMY_LINES))

    def refresh(self) -> None:
        """Draw texts, bars, counts and the tick."""
        session = self._ui.session
        seed = None if session is None else session.current_seed
        many = 0 if session is None else len(session.selection)
        self._say_why(seed, many)
        self._tell_classes(seed if many < 2 else None)  # what holds for one does not for all of them
        if many > 1:
            self._hide_picture(f"{many:,} seeds: the gallery shows them ({key_text('gallery')})")
        elif self._is_hidden and session is not None and seed is not None:
            self._is_hidden = False
            self._ahead.show(session, seed)
        if session is None or not any(session.regions(s) is not None for s in session.scans):
            self.cuts.show_cuts(None, self._what_next())
        for name, button in self.buttons.items():
            button.setEnabled(
                session is not None and (seed is not None or many > 1 or name in ("undo", "redo", "next"))
            )
        for button in (*self._class_buttons.values(),):
            button.setEnabled(seed is not None or many > 1)
        self.toggle.setEnabled(session is not None and bool(session.scans))
        scan = None if session is None else session.scans.get(session.current_scan or 0)
        is_flat = scan is not None and scan.facts.region_shape[0] == 1
        self._brush_title.setText(f"Paint on this {'picture' if is_flat else 'slice'}")
        self._name_toggle(self._ui.mode.is_on)
        if session is not None:
            self.tick.tell(session.labelling.pending, session.labelling.failed, bool(session.labels))
        else:
            self.tick.tell(0, "", False)
        self._fit_reason()

    def _hide_picture(self, instead: str) -> None:
        self._is_hidden = True
        self._ahead.forget()
        self.cuts.show_cuts(None, instead)

    def _say_why(self, seed: int | None, many: int) -> None:
        session = self._ui.session
        asked = None if session is None or many > 1 else session.current
        self.evidence.show_evidence(session, () if asked is None else asked.evidence)
        self.reason.setEnabled(True)
        if session is None or (seed is None and many < 2):
            self.title.tell("All seeds are answered" if self._all_answered() else "No seed on the card")
            self.reason.tell("")
            return
        if many > 1:
            self.title.tell(f"{many} seeds selected")
            how = "A digit" if self._ui.mode.is_on else f"Press {TOGGLE_KEY}, then a digit"
            self.reason.tell(f"{how} answers about all of them at once.")
            return
        if asked is None:
            self.title.tell(f"Seed {seed}")
            self.reason.tell("You chose this seed.")
        else:
            words = STRATEGY_WORDS.get(asked.strategy, "Suggested")
            words = "Little doubt" if asked.reason.startswith(SURE) else words
            i, n = session.figures.check_place() if asked.strategy == "check" else (0, 0)
            self.title.tell(f"Seed {seed} · " + (f"check {i} of {n}" if n else words.lower()))
            reason, is_past = reason_now(session, asked)
            self.reason.tell(reason or words)
            self.reason.setEnabled(not is_past)  # dimmed: the bars below say what holds now

    def _tell_classes(self, seed: int | None) -> None:
        session = self._ui.session
        if session is None:
            return
        p = {} if session.predictions is None or seed is None else session.predictions.of(seed)
        label = None if seed is None else session.label(seed)
        counts = session.counts()
        for class_id, button in self._class_buttons.items():
            given = label is not None and label.state is LabelState.LABELLED and label.class_id == class_id
            button.tell(p.get(class_id), counts.get(class_id, 0), given)
        if label is not None and label.state in (LabelState.UNSURE, LabelState.NOT_WHOLE):
            self.title.tell(f"{self.title.full_text()} · {str(label.state).replace('_', ' ')}")

    # -- from the user ------------------------------------------------------------------------
    def _look_at(self, seed: int) -> None:
        self._ui.slot(self._ui.pick)(seed, "evidence")

    def _toggled(self, on: bool) -> None:
        self._ui.start_labelling(on)

    def _switched(self, on: bool) -> None:
        self.refresh()

    def _name_toggle(self, on: bool) -> None:
        self.toggle.setChecked(on)
        self.toggle.setText(f"{'Stop' if on else 'Start'} labelling  ({TOGGLE_KEY})")

    def _take_brush(self, value: int) -> None:
        on = self._ui.strokes.value != value
        if on:
            self._ui.strokes.take(value, self._brush_size.value())
        else:
            self._ui.strokes.put_away()
        for other, button in self._tissue_buttons.items():
            button.setChecked(on and other == value and self._ui.strokes.value == value)

    def _resize_brush(self, size: int) -> None:
        layer = self._ui.layers.find("strokes")
        if layer is not None:
            layer.brush_size = size


def fix_width(button: QPushButton, width: int) -> None:
    """Keep a button as narrow as its sign."""
    button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    button.setFixedWidth(width)
