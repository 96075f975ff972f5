"""What ties a viewer to a session: layers, docks, keys, and the signals between them."""

from __future__ import annotations

import gc
import logging
import sys
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from psygnal.qt import start_emitting_from_queue
from qtpy.QtCore import QEvent, QObject, QTimer, Signal
from qtpy.QtWidgets import QApplication, QDockWidget, QWidget

from napari_seedlab.core import SeedlabError, one_line
from napari_seedlab.ui import reading
from napari_seedlab.ui.background import Background
from napari_seedlab.ui.camera import Camera
from napari_seedlab.ui.canvas import CanvasClicks, CanvasText
from napari_seedlab.ui.colouring import MODES, SeedColours, colour_seeds, modes_of, most_telling
from napari_seedlab.ui.labelling_mode import LabellingMode
from napari_seedlab.ui.layer_list import keep_thumbnails
from napari_seedlab.ui.layers import SeedlabLayers
from napari_seedlab.ui.listening import Listener
from napari_seedlab.ui.seed_text import overwritten
from napari_seedlab.ui.strokes import StrokeTool
from napari_seedlab.ui.theme import theme_of
from napari_seedlab.ui.thumbs import ThumbCache

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari

    from napari_seedlab.session.desk import Task
    from napari_seedlab.session.session import Session

logger = logging.getLogger(__name__)
QUEUE_MS = 10  # how often answers from other threads are looked for; 0 would burn a core
FADE_MS = 8000  # a line that asks for nothing goes away by itself
REDRAW_MS = 15  # changes that come together are drawn once
EDITS = {  # what was taken back or done again, where it is no answer
    "merge": "the merging of seeds",
    "split": "the splitting of a seed",
    "delete": "the deletion of seeds",
    "stroke": "a stroke",
    "table": "a seed table",
}


class SeedlabUi(QObject):
    """Everything Seedlab shows in one viewer.

    Parameters
    ----------
    viewer : napari.Viewer
    session : Session, optional
        The open project; None shows what to do first.
    """

    said = Signal(str, str)  # text, kind
    session_bound = Signal()
    labelling_switched = Signal(bool)

    def __init__(self, viewer: napari.Viewer, session: Session | None = None) -> None:
        window = viewer.window._qt_window
        super().__init__(window)
        keep_thumbnails()
        self.viewer = viewer
        self.session: Session | None = None
        self.theme = theme_of(viewer.theme)
        self.colour_by = MODES[0]
        self._mode_was_chosen = False
        self.docks: dict[str, QWidget] = {}
        self._closed = self._had_project = False
        self.card_seed: int | None = None  # the seed that the user sees on the card
        self._caught_nothing_at: int | None = None  # the card's seed when a lasso was drawn around no seed
        self._message: tuple[str, str] = ("", "info")
        self.background = Background(self.report)
        self.thumbs = ThumbCache(lambda: self.session, self)
        self.layers = SeedlabLayers(viewer)
        self.camera = Camera(viewer)
        self.strokes = StrokeTool(self)
        self.listener = Listener(self)
        self._colours: SeedColours | None = None
        self._redraw = QTimer(self)
        self._redraw.setSingleShot(True)
        self._redraw.setInterval(REDRAW_MS)
        self._redraw.timeout.connect(self.slot(self.recolour))
        self._fade = QTimer(self)
        self._fade.setSingleShot(True)
        self._fade.setInterval(FADE_MS)
        self._fade.timeout.connect(self._forget_message)
        self.mode = self._make_mode(window)
        self.clicks = CanvasClicks(self)
        self.canvas_text = CanvasText(self)
        viewer.dims.events.current_step.connect(self._dims_changed)
        window.destroyed.connect(self.close)
        window.installEventFilter(self)
        QApplication.instance().aboutToQuit.connect(self.close)
        start_emitting_from_queue(msec=QUEUE_MS)
        if session is not None:
            self.bind(session)

    # -- errors -------------------------------------------------------------------------------
    def slot(self, call: Callable[..., object]) -> Callable[..., None]:
        """`call` with its errors shown instead of raised: an exception that reaches PyQt ends the process."""

        @wraps(call)
        def guarded(*args: object) -> None:
            try:
                call(*args[: _n_arguments(call)])
            except Exception as error:  # the boundary to Qt
                self.report(error)

        return guarded

    def report(self, error: BaseException) -> None:
        """Show an error in the status card."""
        if isinstance(error, SeedlabError):
            self.say(str(error), "warning" if type(error).__name__ == "NotReady" else "error")
            return
        logger.error("in the window", exc_info=error)
        self.say(one_line(f"{type(error).__name__}: {error}"), "error")

    def say(self, text: str, kind: str = "info") -> None:
        """Show a line in the status cards."""
        self._message = (text, kind)
        self.said.emit(text, kind)
        if kind in ("info", "success") and text and not self._closed:
            self._fade.start()

    def _forget_message(self) -> None:
        if self._message[1] in ("info", "success"):
            self.say("")

    @property
    def last_message(self) -> tuple[str, str]:
        """(text, kind) of the newest line."""
        return self._message

    # -- the session --------------------------------------------------------------------------
    def bind(self, session: Session | None) -> None:
        """Show another project; the one before is closed.

        What napari and Qt have loaded by now stays for good: it is kept out of full garbage collections,
        which hold every thread for 0.2 s otherwise. A project that was shown before is let go of first.
        """
        self.listener.disconnect()
        before, self.session = self.session, session
        if before is not None and before is not session:
            before.close(finish_in_background=True)
        self.strokes.release()
        self.layers.clear()
        self._colours = None
        self.listener.mapped = set()
        self.thumbs.changed()
        if session is not None:
            gc.freeze()
            self.background.submit("warm", reading.warm_layers, self._keep_loaded)
            self.listener.connect(session)
            self.mode.set_classes({c.key: c.id for c in session.scheme.active})
            for note in session.notes:
                self.say(note, "warning")
            if session.read_only:
                self.say(f"{session.name} is open read-only: {session.holder} writes it.", "warning")
        else:
            self.mode.switch(False)
        self.session_bound.emit()
        self.canvas_text.write()
        if session is not None:
            session.follow_up = True
            session.encoders.renew()
            self.listener.scan_switched(session.current_scan)
            self.listener.current_moved(session.current_seed)

    def _keep_loaded(self, _: None) -> None:
        if self._had_project:  # nothing that was frozen with it would ever be freed
            gc.unfreeze()
            gc.collect()
        self._had_project = True
        gc.freeze()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Notice that the window was closed, unless somebody kept it open."""
        if event is not None and event.type() == QEvent.Type.Close:
            QTimer.singleShot(0, self._close_if_hidden)
        return False

    def _close_if_hidden(self) -> None:
        window = getattr(self.viewer.window, "_qt_window", None)
        if window is None or not window.isVisible():
            self.close()

    def close(self, *_: object) -> None:
        """Let go of the viewer and of the session; called when the window goes."""
        if self._closed:
            return
        self._closed = True
        _OPEN.pop(id(self.viewer), None)
        self.listener.disconnect()
        self.background.close()
        self.thumbs.close()
        for part in (self._redraw.stop, self.camera.close, self.mode.close, self.strokes.release):
            try:
                part()
            except RuntimeError:  # Qt deleted it with the window
                logger.debug("a part of the window went first")
        session, self.session = self.session, None
        if session is not None:
            session.close(finish_in_background=True)

    # -- docks --------------------------------------------------------------------------------
    def add_dock(self, name: str, dock: QWidget) -> None:
        """Keep a dock up to date until it is destroyed."""
        self.docks[name] = dock
        dock.destroyed.connect(partial(_dock_gone, self.docks, name, id(dock)))

    def tell(self, name: str, method: str, *args: object) -> None:
        """Call a method of a dock, where that dock is open."""
        dock = self.docks.get(name)
        if dock is not None:
            getattr(dock, method)(*args)

    # -- drawing ------------------------------------------------------------------------------
    def recolour_soon(self) -> None:
        """Draw colours anew, once for all changes of this moment."""
        if not self._redraw.isActive() and not self._closed:
            self._redraw.start()

    def recolour(self) -> None:
        """Draw who has which colour, in the viewer and on the map."""
        session = self.session
        if session is None:
            return
        if self.camera.is_flying:  # colours can wait until it is there
            self.recolour_soon()
            return
        if not self._mode_was_chosen or self.colour_by not in modes_of(session):  # as of another project
            self._mode_was_chosen, self.colour_by = False, most_telling(session)
        colours = colour_seeds(session, self.colour_by)
        labels = colours if self.colour_by == "label" else colour_seeds(session, "label")
        outlines = colour_seeds(session, "prediction") if self.colour_by == "label" else colours
        self.layers.recolour(outlines, labels)
        self.tell("map", "recolour", colours)
        self.tell("gallery", "refresh")
        self.tell_card()
        self.tell("inspect", "refresh")

    def mark(self) -> None:
        """Ring the current and the selected seeds."""
        session = self.session
        if session is not None:
            will_slice = self.camera.will_step  # the layers are drawn anew by then
            self.layers.focus(session.current_seed, session.selection, refresh=not will_slice)
            for name in ("map", "gallery"):
                self.tell(name, "mark", session.current_seed, session.selection)

    def tell_card(self, *_: object) -> None:
        """Let what stands about one seed be drawn anew."""
        self.tell("labelling", "refresh")
        self.tell("train", "judge")

    def tell_blocked(self) -> None:
        """Let the docks say what blocks them."""
        self.tell("train", "refresh")
        self.tell("project", "refresh")

    def set_colour_by(self, mode: str) -> None:
        """Colour outlines and map by another fact."""
        self.colour_by, self._mode_was_chosen = mode, True
        self.recolour()

    # -- what the user does -------------------------------------------------------------------
    def pick(self, seed: int | None, origin: str) -> None:
        """Select one seed and put it on the card; None selects nothing."""
        session = self.session
        if session is None:
            return
        self._caught_nothing_at = None
        session.select(() if seed is None else (seed,), origin)
        if seed is not None:
            self.listener.flight_to = seed if origin in ("map", "gallery") else None
            self.listener.in_view = seed if origin == "canvas" else None  # the camera stays where it is
            session.look_at(seed)

    def select(self, seeds: frozenset[int], origin: str) -> None:
        """Select many seeds."""
        self._caught_nothing_at = None
        if self.session is not None:
            self.session.select(seeds, origin)

    def caught_nothing(self) -> None:
        """A lasso held no seed: the next answer may be meant for those it should have caught."""
        self._caught_nothing_at = self.card_seed

    def _means_the_card(self) -> bool:
        """Whether an answer is about the seed on the card; asks once after a lasso that caught nothing."""
        missed, self._caught_nothing_at = self._caught_nothing_at, None
        if missed is None or missed != self.card_seed:
            return True
        self.say(f"No seed was inside the lasso. Press again to answer about seed {missed} on the card.")
        return False

    def answer(self, said: int | str | None) -> None:
        """Answer about the selected seeds where there are several, else about the seed on the card."""
        session, gallery = self.session, self._gallery_with_keys()
        if session is None:
            return
        if gallery is not None:
            gallery.answer(said)
            return
        chosen = session.selection
        if len(chosen) > 1:
            changed = overwritten(session, said, chosen)
            session.answer(said, sorted(chosen))
            done = changed or f"{len(chosen)} seeds answered at once"
            self.say(f"{done}; Ctrl+Z takes {'it' if changed else 'all'} back.", "success")
            session.select((), "answer")
            return
        if not self._means_the_card():
            return
        session.select((), "answer")
        if self.card_seed is None and session.current_seed is not None:
            self.say("The next seed has come this moment: answer about it now.")
        elif self.card_seed in (None, session.current_seed):
            session.answer(said)
        else:  # the card is about to change: the key is about the seed that it shows
            session.answer(said, (self.card_seed,))

    def accept(self) -> None:
        """Answer as predicted, in the gallery about all selected seeds."""
        gallery = self._gallery_with_keys()
        if gallery is not None:
            gallery.accept()
        elif self._means_the_card():
            self.do("accept")

    def _gallery_with_keys(self) -> Any:
        dock = self.docks.get("gallery")
        return dock if getattr(dock, "has_keys", False) else None

    def toggle_gallery(self) -> None:
        """Show the gallery and give it the keyboard, or hide it."""
        dock: Any = self.docks.get("gallery")
        if dock is None:
            self.say("Open the Gallery from the menu first.", "info")
        elif dock.isVisible():
            outer = _outer_dock(dock)
            if outer is not None:
                outer.hide()
            self.viewer.window._qt_viewer.canvas.native.setFocus()
        else:
            self.raise_dock("gallery")
            dock.find_room()
            dock.grid.setFocus()

    def scheme_changed(self) -> None:
        """Follow another class scheme: keys, buttons, bins and colours."""
        if self.session is not None:
            self.mode.set_classes({c.key: c.id for c in self.session.scheme.active})
            for name in ("labelling", "gallery"):
                self.tell(name, "rebuild")
            self.recolour_soon()
            self.canvas_text.write()

    def answer_hovered(self, class_id: int) -> None:
        """Answer about the seed under the cursor."""
        session, places = self.session, (self.docks.get(name) for name in ("map", "gallery"))
        over = (getattr(dock, "hovered_seed", None) for dock in places)
        seed = next((s for s in over if s is not None), None)
        if seed is None:
            seed = self.layers.seed_at(self.viewer.cursor.position)
        if session is not None and seed is not None:
            session.answer(class_id, (seed,))

    def chosen(self) -> frozenset[int]:
        """The selected seeds, or the one on the card."""
        session = self.session
        if session is None:
            return frozenset()
        return session.selection or frozenset(s for s in (session.current_seed,) if s is not None)

    def repair(self, what: str) -> None:
        """Merge, split in two, or delete the chosen regions."""
        session, seeds = self.session, sorted(self.chosen())
        if session is None or not seeds:
            return
        if what == "split":
            self.clicks.ask_for_halves(seeds[0])
            return
        if what == "merge":
            session.merge(seeds)
        else:
            session.delete(seeds)
        session.select((), "repair")

    def preview_automatic(self, recipe: dict[str, Any]) -> None:
        """Preview the threshold that a split would find."""
        shown = self.layers.shown
        if shown is None:
            return
        find = partial(reading.automatic_threshold, shown.image, shown.scan, recipe)
        self.background.submit("threshold", find, self.layers.preview)

    def raise_dock(self, name: str) -> None:
        """Bring a dock to the front."""
        dock = _outer_dock(self.docks.get(name))
        if dock is not None:
            dock.show()
            dock.raise_()

    def undo(self) -> None:
        """Take the newest edit back."""
        if (session := self.session) is not None:
            self._tell_of(session, session.undo(), "Taken back")

    def redo(self) -> None:
        """Do it once more."""
        if (session := self.session) is not None:
            self._tell_of(session, session.redo(), "Done again")

    def _tell_of(self, session: Session, edit: Task, done: str) -> None:
        """Say whose labels an undo or redo changed: the card may be hidden."""

        def tell(values: dict[str, Any]) -> None:
            if values["event"] is None:
                return
            seeds = values["seeds"]
            what = f"the labels of {len(seeds):,} seeds" if seeds else "an edit that changed no label"
            what = f"the label of seed {seeds[0]}" if len(seeds) == 1 else what
            session.message.emit("info", f"{done}: {EDITS.get(values['what'], what)}.")

        edit.then(tell)

    def jump(self) -> None:
        """Fly to the seed on the card, into its scan where another one is shown."""
        session, shown = self.session, self.layers.shown
        seed = None if session is None else session.current_seed
        if session is None or seed is None:
            return
        place = session.place_of(seed)
        if place is None:
            return
        scan, row = place
        table = session.regions(scan)
        if shown is None or shown.scan.id != scan:
            self.listener.flight_to = seed
            session.show_scan(scan)
        elif table is not None:
            self.camera.fly_to(shown.scan, table, row)

    def toggle_heatmap(self) -> None:
        """Show or hide the heatmap."""
        if self.layers.find("heat") is None:
            self.say("No heatmap yet: press Find odd ones in the Train dock.", "info")
        self.layers.toggle("heat")

    def toggle_predictions(self) -> None:
        """Colour the outlines by prediction, or leave them grey."""
        self.layers.show_predictions(not self.layers.predictions_on)

    def start_labelling(self, on: bool) -> None:
        """Switch labelling on or off; on draws suggestions where there are none and flies to the first."""
        self.mode.switch(on)
        if on and self.mode.is_on:  # it may have been on, and the keyboard at the button that was pressed
            self.viewer.window._qt_viewer.canvas.native.setFocus()

    # -- labelling mode, canvas ---------------------------------------------------------------
    def _make_mode(self, window: QWidget) -> LabellingMode:
        actions: dict[str, Callable[[], object]] = {
            "not_whole": partial(self.answer, "not_whole"),
            "clear": partial(self.answer, None),
            "unsure": partial(self.answer, "unsure"),
            "next": partial(self.do, "skip"),
            "previous": partial(self.do, "previous"),
            "accept": self.accept,
            "undo": self.undo,
            "redo": self.redo,
            "heatmap": self.toggle_heatmap,
            "jump": self.jump,
            "predictions": self.toggle_predictions,
            "spectrum": partial(self.raise_dock, "inspect"),
            "gallery": self.toggle_gallery,
        }
        mode = LabellingMode(
            window, self._zones, {name: self.slot(call) for name, call in actions.items()},
            self.slot(self.answer), self.slot(self.answer_hovered), self._undo_zones,
        )  # fmt: skip
        self.viewer.layers.selection.events.active.connect(mode.listen_anew)
        mode.changed.connect(self.slot(self._mode_changed))
        return mode

    def do(self, action: str) -> None:
        """Call an action of the session that needs no argument."""
        if self.session is None:
            self.say("Open a project first.", "warning")
            return
        getattr(self.session, action)()

    def split(self) -> None:
        """Split the shown scan with what the Project dock says."""
        session, dock = self.session, self.docks.get("project")
        if session is None:
            self.say("Open a project first.", "warning")
            return
        session.split(recipe={} if dock is None else dock.recipe())

    def _undo_zones(self) -> list[QWidget]:
        """Where undo counts while labelling is off: nowhere on a layer on which napari takes strokes back."""
        from napari.layers import Labels

        layer = self.viewer.layers.selection.active
        is_naparis = isinstance(layer, Labels) and "seedlab" not in layer.metadata
        return [] if is_naparis else [self.viewer.window._qt_viewer, *self.docks.values()]

    def _zones(self) -> list[QWidget]:
        zones = ("map", "labelling", "inspect", "gallery")
        docks = [dock for name, dock in self.docks.items() if name in zones]
        return [self.viewer.window._qt_viewer, *docks]

    def _mode_changed(self, on: bool) -> None:
        session = self.session
        if on and session is None:
            self.mode.switch(False)
            self.say("Open a project first.", "warning")
            return
        if on and session is not None:
            self.viewer.window._qt_viewer.canvas.native.setFocus()
            if session.current_seed is None:
                if session.queue:
                    session.skip()
                elif session.regions(session.current_scan or 0) is not None:
                    session.draw()
                else:
                    self.say(session.blocked_because, "warning")
            else:
                self.jump()
        if on:
            self.raise_dock("labelling")
        self.canvas_text.write()
        self.labelling_switched.emit(on)

    def _dims_changed(self, _event: object = None) -> None:
        self.slot(self.slice_moved)()

    def slice_moved(self) -> None:
        """Follow the slider."""
        if self._closed:
            return
        self.canvas_text.write()
        if self.strokes.value:
            self.strokes.load()


def _outer_dock(dock: QWidget | None) -> QDockWidget | None:
    """The frame that napari put around one of our docks."""
    while dock is not None and not isinstance(dock, QDockWidget):
        dock = dock.parentWidget()
    return dock


def _dock_gone(docks: dict[str, QWidget], name: str, ident: int, *_: object) -> None:
    """Forget a dock that Qt deleted; its owner may have gone before it."""
    if id(docks.get(name)) == ident:
        del docks[name]


_OPEN: dict[int, SeedlabUi] = {}


def ui_for(viewer: napari.Viewer) -> SeedlabUi:
    """The one owner of Seedlab in a viewer, made at the first call; napari's public proxy is unwrapped."""
    viewer = getattr(viewer, "__wrapped__", viewer)
    if id(viewer) not in _OPEN:
        _OPEN[id(viewer)] = SeedlabUi(viewer)
    return _OPEN[id(viewer)]


def _n_arguments(call: Callable[..., object]) -> int:
    """Positional arguments that `call` takes: Qt sends more than a slot may want."""
    import inspect

    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(call).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return sys.maxsize
    return sum(p.kind in kinds for p in parameters)
