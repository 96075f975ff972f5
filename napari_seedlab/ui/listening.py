"""What happens in the window when the session tells that something changed."""

from __future__ import annotations

from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from napari_seedlab.ui import projects, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_seedlab.core import JobStatus
    from napari_seedlab.session.session import Session
    from napari_seedlab.ui.app import SeedlabUi


class Listener:
    """Connects the signals of the shown session to layers and docks, on the window's thread.

    Attributes
    ----------
    flight_to, in_view : int or None
        Seed that the camera shall fly to although labelling is off; seed that it need not fly to.
    mapped : set of str
        Pools whose map was asked for since the project was shown.
    """

    def __init__(self, ui: SeedlabUi) -> None:
        self._ui = ui
        self.flight_to: int | None = None
        self.in_view: int | None = None
        self.mapped: set[str] = set()
        self._connections: list[tuple[Any, Callable[..., None]]] = []

    def connect(self, session: Session) -> None:
        """Hear what a session tells, from now on."""
        pairs: tuple[tuple[Any, Callable[..., object]], ...] = (
            (session.scans_changed, self.scans_came),
            (session.current_scan_changed, self.scan_switched),
            (session.regions_changed, self.regions_came),
            (session.labels_changed, self.labels_changed),
            (session.predictions_changed, self._ui.recolour_soon),
            (session.anomaly_changed, self.anomaly_came),
            (session.layout_changed, self.layout_came),
            (session.clusters_changed, self.clusters_came),
            (session.scheme_changed, self._ui.scheme_changed),
            (session.thumbnails_changed, self._ui.thumbs.changed),
            (session.current_changed, self.current_moved),
            (session.selection_changed, self.selected),
            (session.pending_changed, self._ui.tell_card),
            (session.queue_changed, self._ui.tell_card),
            (session.saved, self._ui.tell_card),
            (session.metadata.changed, self._ui.recolour_soon),
            (session.origin.changed, partial(self._ui.tell, "project", "refresh")),
            (session.models_changed, partial(self._ui.tell, "train", "show_models")),
            (session.encoders_changed, partial(self._ui.tell, "train", "show_encoders")),
            (session.figures_changed, partial(self._ui.tell, "train", "show_figures")),
            (session.strokes_changed, self.strokes_changed),
            (session.slice_predicted, self.slice_predicted),
            (session.job_changed, self.job_changed),
            (session.message, lambda level, text: self._ui.say(text, level)),
        )
        for signal, handler in pairs:
            slot = self._ui.slot(self._while_shown(session, handler))
            signal.connect(slot, thread="main", check_nargs=False)
            self._connections.append((signal, slot))

    def _while_shown(self, session: Session, handler: Callable[..., object]) -> Callable[..., None]:
        """`handler`, deaf once another project is shown: what other threads told before may come late."""

        @wraps(handler)
        def heard(*args: object) -> None:
            if self._ui.session is session:
                handler(*args)

        return heard

    def disconnect(self) -> None:
        """Hear nothing more."""
        for signal, slot in self._connections:
            signal.disconnect(slot, missing_ok=True)
        self._connections.clear()

    # -- signals of the session ---------------------------------------------------------------
    def scans_came(self) -> None:
        """Name the scans; show the first one where none is shown."""
        self._ui.tell("project", "show_scans")
        self._ui.tell("map", "say_empty")
        session = self._ui.session
        if session is not None and session.current_scan is not None and self._ui.layers.shown is None:
            self.scan_switched(session.current_scan)
        self._ui.tell_blocked()

    def scan_switched(self, scan: int | None) -> None:
        """Read another scan."""
        session = self._ui.session
        self._ui.tell("project", "show_scans")
        if session is None or scan is None:
            return
        self._ui.strokes.release()
        self._ui.background.submit("scan", partial(reading.read_scan, session, scan), self.scan_opened)
        self._ui.canvas_text.write()

    def scan_opened(self, opened: reading.OpenedScan) -> None:
        """Show a scan that was read."""
        session = self._ui.session
        if session is None or getattr(self._ui.viewer.window, "_qt_window", None) is None:
            return
        self._ui.camera.close()  # a flight through the scan before
        self._ui.layers.show(opened, session.regions(opened.scan.id))
        self.anomaly_came()
        self.layout_came()
        self._ui.tell("project", "show_scans")
        self._ui.slice_moved()
        self.current_moved(session.current_seed)
        projects.map_what_was_split(session, opened.scan.id, self.mapped)

    def regions_came(self, scan: int) -> None:
        """Read the regions of a scan that was split or repaired."""
        session, shown = self._ui.session, self._ui.layers.shown
        self._ui.recolour_soon()
        self._ui.tell("project", "show_scans")
        self._ui.tell("map", "say_empty")
        self._ui.tell_blocked()
        if session is None or shown is None or shown.scan.id != scan:
            return
        read = partial(reading.read_regions, session, scan)
        self._ui.background.submit("regions", read, partial(self.regions_opened, scan))

    def regions_opened(self, scan: int, regions: Any) -> None:
        """Show regions that were read."""
        session, shown = self._ui.session, self._ui.layers.shown
        if session is not None and shown is not None and shown.scan.id == scan:
            self._ui.tell("project", "stop_preview")
            self._ui.layers.show_regions(regions, session.regions(scan))

    def labels_changed(self, _seeds: Iterable[int]) -> None:
        """Draw the answers."""
        if "Ctrl+Z takes" in self._ui.last_message[0]:
            self._ui.say("")  # it takes back these, no more those that it was said of
        self._ui.recolour_soon()
        self._ui.tell_card()
        self._ui.tell("train", "tell_blocked")
        self._ui.tell("project", "refresh")

    def anomaly_came(self) -> None:
        """Show scores and heatmap."""
        session, shown = self._ui.session, self._ui.layers.shown
        self._ui.recolour_soon()
        self._ui.tell("train", "refresh")
        if session is None or shown is None:
            return
        found = session.anomaly
        source = None if found is None else found.heat.get(shown.scan.id)
        if found is None or source is None:
            self._ui.layers.show_heat(None, (0, 1))
            return
        draw = partial(self._ui.layers.show_heat, scale=found.scale)
        self._ui.background.submit("heat", partial(reading.in_memory, source), draw)

    def layout_came(self) -> None:
        """Show the map."""
        self._ui.tell("map", "show_layout")
        self._ui.tell("train", "refresh")  # where there is a map the seeds are described
        self._ui.tell("gallery", "reorder")
        self._ui.recolour_soon()

    def clusters_came(self) -> None:
        """Show other clusters on the same map."""
        self._ui.tell("gallery", "clusters_changed")
        self._ui.recolour_soon()

    def current_moved(self, seed: int | None) -> None:
        """Put a seed on the card and fly to it where that is wanted."""
        session = self._ui.session
        if session is None or seed != session.current_seed:
            return
        self._ui.card_seed = seed
        wanted = self._ui.mode.is_on or seed == self.flight_to
        if seed is not None and wanted and seed != self.in_view:
            self._ui.jump()
        self._ui.mark()
        self._ui.tell("labelling", "show_seed", seed)
        self._ui.tell("inspect", "show_seed", seed)
        self.flight_to = self.in_view = None

    def selected(self, seeds: frozenset[int], origin: str) -> None:
        """Ring the selected seeds."""
        self._ui.tell("gallery", "selected", seeds, origin)
        self._ui.mark()
        self._ui.tell_card()
        self._ui.tell("project", "show_selection")

    def strokes_changed(self, scan: int, *_: object) -> None:
        """Load strokes that were taken back."""
        if scan < 0:  # something was taken back: a stroke of our own is on the layer already
            self._ui.strokes.load()

    def slice_predicted(self, scan: int, axis: int, index: int, classes: Any) -> None:
        """Show the tissues of a slice."""
        session, shown = self._ui.session, self._ui.layers.shown
        if session is not None and shown is not None and shown.scan.id == scan:
            self._ui.layers.show_tissue(axis, index, classes, session.tissues)
            if self._ui.last_message[1] == "info":
                self._ui.say("")

    def job_changed(self, status: JobStatus) -> None:
        """Show the progress of a job."""
        self._ui.tell("train", "show_job", status)
        self._ui.tell("gallery", "show_job", status)
        self._ui.tell("project", "show_job", status)
        self._ui.tell("map", "show_job", status)
        if self._ui.layers.shown is None:
            self._ui.canvas_text.write()
