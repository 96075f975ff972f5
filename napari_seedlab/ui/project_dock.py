"""The Project dock: project, scans, split, repair, export."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QWidget,
)

from napari_seedlab.ui.dock_frame import DockFrame
from napari_seedlab.ui.drops import FolderDrops
from napari_seedlab.ui.few_lines import FewLines
from napari_seedlab.ui.job_row import JobRow
from napari_seedlab.ui.origin_row import OriginRow, what_to_say
from napari_seedlab.ui.projects import (
    SUFFIX,
    forget_missing,
    loose_samples,
    make_project,
    open_project,
    remember,
)
from napari_seedlab.ui.status import StatusCard

if TYPE_CHECKING:
    from napari_seedlab.core import JobStatus, Scan
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi

SLIDER_STEPS = 1000
SPLIT_TIP = "Find every seed; touching ones are parted"
SHEET_TIP = "Each picture of this sheet is one seed already"
WORK = {"import", "split", "embed", "map", "export", "predict", "origin", "table"}


class ProjectDock(DockFrame):
    """Where one begins: project, scan, split; and where one ends: export."""

    def __init__(self, ui: SeedlabUi) -> None:
        super().__init__(ui)
        body = self.body
        self._make_project(body)
        self.guide = StatusCard(ui.theme)
        self.job = JobRow(WORK, ui.slot(self._cancel), self.guide, body)
        self.rows.addWidget(self.job)
        self.from_sample = self._button(
            "Make a project from this sample", "Its scan, with seeds to split and to label", self._ask_sample
        )
        self.rows.addWidget(self.from_sample)
        self._make_scans(body)
        self._make_split(body)
        self._make_repair(body)
        self.rows.addStretch(1)
        ui.session_bound.connect(ui.slot(self.rebuild))
        for change in (ui.viewer.layers.events.inserted, ui.viewer.layers.events.removed):
            change.connect(self._layers_changed)
        self.rebuild()

    # -- making -------------------------------------------------------------------------------
    def _button(self, text: str, tip: str, call: Any) -> QPushButton:
        button = QPushButton(text, self)
        button.setToolTip(tip)
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        button.clicked.connect(self._ui.slot(call))
        return button

    def _heading(self, text: str, beside: QWidget | None = None) -> None:
        label = QLabel(text, self.body)
        font = label.font()
        font.setBold(True)
        label.setFont(font)
        row = QHBoxLayout()
        row.addWidget(label, 1)
        if beside is not None:
            row.addWidget(beside)
        self.rows.addLayout(row)

    def _make_project(self, body: QWidget) -> None:
        self.name = QLabel(body)
        self.name.setTextFormat(Qt.TextFormat.PlainText)
        self.name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        font = self.name.font()
        font.setBold(True)
        font.setPointSizeF(font.pointSizeF() + 2)
        self.name.setFont(font)
        self.new = self._button("New…", "Make a project folder", self._ask_new)
        self.open = self._button("Open…", "Open a project folder (NAME.seedlab)", self._ask_open)
        self.recent = QPushButton("Recent", body)
        self.recent.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.recent.setMenu(QMenu(self.recent))
        self.recent.menu().aboutToShow.connect(self._ui.slot(self._list_recent))
        row = QHBoxLayout()
        for widget in (self.new, self.open, self.recent):
            row.addWidget(widget)
        self.origin = OriginRow(self._ui, body)
        head = QHBoxLayout()
        head.addWidget(self.name, 1)
        head.addWidget(self.origin)
        self.rows.addLayout(head)
        self.rows.addLayout(row)

    def _make_scans(self, body: QWidget) -> None:
        self._heading("Scans")
        self.scans = QComboBox(body)
        self.scans.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # keys go on to answer
        self.scans.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.scans.setToolTip("The scan that the viewer shows")
        self.scans.activated.connect(self._ui.slot(self._scan_chosen))
        self.add_scan = self._button("Open scan…", "CT stack, hyperspectral cube or image", self._ask_scan)
        self.add_scan.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self.add_folder = self._button(
            "Open folder of seed images…", "One picture per seed: PNG, JPEG, BMP or TIFF", self._ask_folder
        )
        self.drops = FolderDrops(self._ui, self.open_folder, self)
        self.facts = FewLines(1, body)
        self.facts.setEnabled(False)
        row = QHBoxLayout()
        row.addWidget(self.scans, 1)
        row.addWidget(self.add_scan)
        self.rows.addLayout(row)
        self.rows.addWidget(self.facts)
        self.rows.addWidget(self.add_folder)

    def _make_split(self, body: QWidget) -> None:
        self.add_table = self._button(
            "Add seed table…", "CSV with a row per seed: lot, treatment, weight, …", self._ask_table
        )
        self.add_table.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self._heading("Seeds", self.add_table)
        self.split = self._button("Split into seeds", SPLIT_TIP, self._ui.split)
        self.automatic = QCheckBox("Automatic", body)
        self.automatic.setChecked(True)
        self.automatic.setToolTip("The grey value that parts seed from air is found from the histogram")
        self.automatic.toggled.connect(self._ui.slot(self._threshold_moved))
        self.dark = QCheckBox("Dark", body)
        self.dark.setToolTip("Seeds are darker than what is around them, as pores are")
        self.dark.toggled.connect(self._ui.slot(self._threshold_moved))
        self.preview = QCheckBox("Preview", body)
        self.preview.setToolTip("Show what the threshold takes for seed")
        self.preview.toggled.connect(self._ui.slot(self._threshold_moved))
        self.slider = QSlider(Qt.Orientation.Horizontal, body)
        self.slider.setRange(0, SLIDER_STEPS)
        self.slider.setValue(SLIDER_STEPS // 3)
        self.slider.valueChanged.connect(self._ui.slot(self._threshold_moved))
        self.grey = QLabel(body)
        self.grey.setMinimumWidth(48)
        self.grey.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.more = self._button("Settings", "Smoothing and sizes of the split", self._settings_wanted)
        self.more.setCheckable(True)
        self.more.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        begin, checks, slide = QHBoxLayout(), QHBoxLayout(), QHBoxLayout()
        begin.addWidget(self.split, 1)
        begin.addWidget(self.more)
        checks.addWidget(self.automatic, 1)
        checks.addWidget(self.dark)
        checks.addWidget(self.preview)
        slide.addWidget(self.slider, 1)
        slide.addWidget(self.grey)
        self.rows.addLayout(begin)
        self.rows.addLayout(checks)
        self.rows.addLayout(slide)
        self.settings = self._make_recipe(body)
        self.settings.hide()
        self.rows.addWidget(self.settings)

    def _settings_wanted(self, wanted: bool) -> None:
        self.settings.setVisible(wanted)

    def _make_recipe(self, body: QWidget) -> QWidget:
        self.sigma, self.radius, self.minimum = QDoubleSpinBox(body), QDoubleSpinBox(body), QSpinBox(body)
        self.sigma.setRange(0, 5)
        self.sigma.setSingleStep(0.5)
        self.radius.setRange(0, 500)
        self.radius.setSpecialValueText("auto")
        self.minimum.setRange(0, 10_000_000)
        self.minimum.setSpecialValueText("auto")
        rows = (
            ("Smoothing (voxels)", self.sigma, "Blur before the threshold; more for noisy scans"),
            ("Seed radius (voxels)", self.radius, "Larger parts fewer seeds, smaller parts more"),
            ("Smallest seed (voxels)", self.minimum, "Smaller pieces are dropped"),
        )
        settings = QWidget(body)
        grid = QGridLayout(settings)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        for i, (name, box, tip) in enumerate(rows):
            box.setToolTip(tip)
            box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            label = QLabel(name, body)
            label.setToolTip(tip)
            grid.addWidget(label, i, 0)
            grid.addWidget(box, i, 1)
        return settings

    def _make_repair(self, body: QWidget) -> None:
        self._heading("Repair and export")
        ui = self._ui
        self.merge = self._button("Merge", "Make the selected seeds one", partial(self._repair, "merge"))
        self.part = self._button(
            "Split in two", "Then click one point in each half", partial(self._repair, "split")
        )
        self.remove = self._button(
            "Delete", "The selected regions are no seeds", partial(self._repair, "delete")
        )
        self.export = self._button(
            "Export…", "Labels, predictions and measures as tables and arrays", self._ask_export
        )
        row = QHBoxLayout()
        for button in (self.merge, self.part, self.remove, self.export):
            button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
            row.addWidget(button)
        self.rows.addLayout(row)
        ui.labelling_switched.connect(self.show_selection)

    # -- from the session ---------------------------------------------------------------------
    def rebuild(self) -> None:
        """Show another project."""
        session = self._ui.session
        self.name.setText("No project open" if session is None else session.name)
        self.name.setToolTip("" if session is None else str(session.path))
        if session is not None:
            remember(session.path)
        self.job.forget()
        self.show_scans()

    def show_scans(self) -> None:
        """List the scans; the current one is chosen."""
        session = self._ui.session
        scans: list[Scan] = [] if session is None else sorted(session.scans.values(), key=lambda s: s.id)
        listed = [(self.scans.itemData(i), self.scans.itemText(i)) for i in range(self.scans.count())]
        wanted = [(s.id, s.facts.name) for s in scans]
        if listed != wanted:
            self.scans.clear()
            for ident, name in wanted:
                self.scans.addItem(name, ident)
        current = None if session is None else session.current_scan
        if current is not None:
            self.scans.setCurrentIndex(max(self.scans.findData(current), 0))
        self.facts.tell("" if session is None or current is None else facts_line(session, current))
        self._threshold_moved()
        self.refresh()

    def refresh(self) -> None:
        """Say what to do next; enable what can be done."""
        session = self._ui.session
        kind, text = next_step(self._ui)
        self.guide.say(text, kind)
        self.origin.refresh()
        self.from_sample.setVisible(session is None and bool(loose_samples(self._ui)))
        has_scan = session is not None and session.current_scan is not None
        writable = session is not None and not session.read_only
        is_sheet = session is not None and session.current_scan in session.sheets
        parts = (self.split, self.automatic, self.dark, self.preview, self.more)
        for widget in (*parts, self.sigma, self.radius, self.minimum):
            widget.setEnabled(has_scan and writable and not is_sheet)
        self.split.setToolTip(SHEET_TIP if is_sheet else SPLIT_TIP)
        self.slider.setEnabled(self.split.isEnabled() and not self.automatic.isChecked())
        self.add_scan.setEnabled(writable)
        self.add_folder.setEnabled(writable)
        self.add_table.setEnabled(writable and bool(session is not None and session.seeds))
        self.scans.setEnabled(bool(session is not None and session.scans))
        self.export.setEnabled(session is not None and bool(session.seeds))
        self.show_selection()

    def show_selection(self, *_: object) -> None:
        """Enable the repairs that fit the selection."""
        session = self._ui.session
        n = 0 if session is None else len(self._ui.chosen())
        writable = session is not None and not session.read_only
        self.merge.setEnabled(writable and n > 1)
        self.part.setEnabled(writable and n == 1)
        self.remove.setEnabled(writable and n > 0)

    def show_job(self, status: JobStatus) -> None:
        """Show the progress of imports, splits and exports."""
        if self.job.show_job(status) and status.state.is_final:
            self.refresh()

    def stop_preview(self) -> None:
        """Take the threshold preview away: the seeds are there."""
        self.preview.setChecked(False)

    def _layers_changed(self, *_: object) -> None:
        with suppress(RuntimeError):  # Qt deleted the dock before the layers went
            if self._ui.session is None:
                self.refresh()

    # -- the threshold ------------------------------------------------------------------------
    def threshold(self) -> float | None:
        """Grey value of the slider; None while it is found automatically."""
        return None if self.automatic.isChecked() else self._slider_grey()

    def _slider_grey(self) -> float:
        low, high = self._ui.layers.grey_range()
        return low + (high - low) * float(self.slider.value()) / SLIDER_STEPS

    def _threshold_moved(self, *_: object) -> None:
        manual = not self.automatic.isChecked()
        self.slider.setEnabled(manual and self.split.isEnabled())
        self.grey.setText(f"{self._slider_grey():.4g}" if manual and self._ui.layers.shown else "auto")
        self._ui.layers.dark_seeds = self.dark.isChecked()
        if self.preview.isChecked() and not manual:
            self._ui.preview_automatic(self.recipe())
        else:
            self._ui.layers.preview(self._slider_grey() if self.preview.isChecked() else None)

    def recipe(self) -> dict[str, Any]:
        """What the fields say, in the words of a split recipe."""
        recipe: dict[str, Any] = {"sigma_px": float(self.sigma.value())}
        if self.dark.isChecked():
            recipe["dark_objects"] = True
        if (threshold := self.threshold()) is not None:
            recipe["threshold"] = threshold
        if self.radius.value():
            recipe["seed_radius"] = float(self.radius.value())
        if self.minimum.value():
            recipe["min_voxels"] = int(self.minimum.value())
        return recipe

    # -- from the user ------------------------------------------------------------------------
    def _scan_chosen(self, index: int) -> None:
        if self._ui.session is not None and index >= 0:
            self._ui.session.show_scan(int(self.scans.itemData(index)))

    def _repair(self, what: str) -> None:
        self._ui.repair(what)

    def _cancel(self, job_id: str) -> None:
        if self._ui.session is not None:
            self._ui.session.cancel(job_id)

    def _ask_new(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "New project", "seeds.seedlab", "Seedlab project (*.seedlab)"
        )
        if path:
            make_project(self._ui, path)

    def _ask_sample(self) -> None:
        sample = next(reversed(loose_samples(self._ui)), "")
        name = f"{sample}{SUFFIX}"
        path, _ = QFileDialog.getSaveFileName(self, "New project", name, f"Seedlab project (*{SUFFIX})")
        if path and sample:
            make_project(self._ui, path, sample)

    def _ask_open(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a project folder (NAME.seedlab)")
        if path:
            open_project(self._ui, path)

    def _ask_scan(self) -> None:
        pattern = "Scans (*.tif *.tiff *.hdr *.npy *.mat *.png *.jpg *.jpeg *.bmp);;All files (*)"
        path, _ = QFileDialog.getOpenFileName(self, "Open scan", "", pattern)
        session = self._ui.session
        if path and session is not None:
            session.import_scan(path).then(lambda added: session.show_scan(added["scan"]))

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Open a folder of pictures with one seed each")
        if path:
            self.open_folder(path)

    def open_folder(self, path: str) -> None:
        """Import a folder of pictures with one seed each, then show it."""
        session = self._ui.session
        if session is not None:
            session.import_folder(path).then(lambda added: session.show_scan(added["scan"]))

    def _ask_table(self) -> None:
        pattern = "Tables (*.csv *.tsv *.txt);;All files (*)"
        path, _ = QFileDialog.getOpenFileName(self, "Add a table about seeds", "", pattern)
        if path and self._ui.session is not None:
            self._ui.session.metadata.add_table(path)

    def _ask_export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Export into a new folder", "seedlab-export")
        if path and self._ui.session is not None:
            self._ui.session.export(path)

    def _list_recent(self) -> None:
        menu = self.recent.menu()
        menu.clear()
        for path in forget_missing():
            menu.addAction(path, self._ui.slot(partial(open_project, self._ui, path)))
        if menu.isEmpty():
            menu.addAction("none yet").setEnabled(False)


def facts_line(session: Session, scan: int) -> str:
    """What a scan is, in one line: pictures of single seeds, or shape, type and voxel size of an array."""
    facts = session.scans[scan].facts
    if (sheet := session.sheets.get(scan)) is not None:
        return f"{sheet.sheet.n:,} pictures of one seed each" + (" · in colour" if facts.is_colour else "")
    if facts.is_colour:
        return f"{facts.shape[2]} × {facts.shape[1]} pixels · in colour"
    parts = [" × ".join(map(str, facts.shape)), facts.dtype]
    if facts.voxel_size_um is not None:
        edges = facts.voxel_size_um[1:] if facts.wavelengths_nm else facts.voxel_size_um
        same = len({round(e, 6) for e in edges}) == 1
        parts.append(f"{edges[0]:g} µm" if same else " × ".join(f"{e:g}" for e in edges) + " µm")
    if facts.wavelengths_nm:
        parts.append(f"{facts.wavelengths_nm[0]:.0f}–{facts.wavelengths_nm[-1]:.0f} nm")
    return " · ".join(parts)


def next_step(ui: SeedlabUi) -> tuple[str, str]:
    """(kind, text) of what to do next."""
    session = ui.session
    if session is None and loose_samples(ui):
        return "info", "This sample is in no project yet. Make one to split and label its seeds."
    if session is None:
        return "info", "Make a new project or open one, or try File › Open Sample › Seedlab."
    if session.read_only:
        return "warning", f"Open read-only: {session.holder or 'another window'} writes this project."
    if not session.scans:
        return "info", "Open a scan: a CT stack, a hyperspectral cube or an image."
    table = session.regions(session.current_scan or 0)
    if table is None:
        return "info", "Next: split this scan into seeds."
    if (told := what_to_say(session)) is not None:
        return told
    seeds = "1 seed" if len(table) == 1 else f"{len(table):,} seeds"
    if session.blocked_because:
        return "info", f"{seeds}. Next: find odd ones (Train), or start labelling (K)."
    return "success", f"{seeds}, {sum(session.counts().values())} labelled. Ready to train."
