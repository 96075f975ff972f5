"""The pictures of seeds that gallery and map share: given at once, or read beside the event loop."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QImage

from napari_seedlab.core import SeedlabError
from napari_seedlab.imaging.thumbnails import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from napari_seedlab.session.session import Session
    from napari_seedlab.session.thumbnails import ThumbTable

logger = logging.getLogger(__name__)
MOST_BYTES = 256 * 2**20  # of thumbnails held: all of 50,000 seeds
THUMB_BYTES, FEW_BYTES = 3 * 40 * 40, 64 * 2**20
MOST_IMAGES = 2048  # that Qt holds beside them, 19 KiB at most each
N_WANTED = 512  # pages waited for; the newest count
N_READERS = 2
Place = tuple[int, int]  # number of a table, page of it


class ThumbCache(QObject):
    """Thumbnails by seed, those asked for last kept in memory.

    Pages are read by threads of its own, newest wish first, so that what is in sight comes before what
    was scrolled past; when nobody waits it reads on, so that later nobody has to.

    Parameters
    ----------
    session : callable
        Gives the session that is shown, or None.
    """

    ready = Signal()  # some that were not there can be had now
    _came = Signal()

    def __init__(self, session: Callable[[], Session | None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._lock = threading.Condition()
        self._tables: list[ThumbTable] = []
        self._pages: OrderedDict[Place, npt.NDArray[np.uint8]] = OrderedDict()
        self._n_bytes = 0
        self._wanted: OrderedDict[Place, None] = OrderedDict()
        self._ahead: list[Place] = []
        self._bad: set[Place] = set()
        self._images: OrderedDict[tuple[int, bool], QImage] = OrderedDict()
        self._told = self._closed = False
        self._reading: set[Place] = set()
        self._threads: list[threading.Thread] = []
        self._came.connect(self._tell)

    # -- what is asked ------------------------------------------------------------------------
    def get(self, seed: int) -> QImage | None:
        """The square picture of a seed: its lengthwise cut, or its colours.

        Returns
        -------
        QImage or None
            40 × 40, not to be painted on; None until it was read, which this asks for (see `ready`), or
            where there is none.
        """
        return self._image(seed, False)

    def cuts(self, seed: int) -> QImage | None:
        """As :meth:`get`; of a volume the three cuts below each other, 40 × 120."""
        return self._image(seed, True)

    def _image(self, seed: int, whole: bool) -> QImage | None:
        known = self._images.get((seed, whole))
        if known is not None:
            self._images.move_to_end((seed, whole))
            return known
        planes = self.pixels(seed)
        if planes is None:
            return None
        image = _painted(*planes, whole)
        self._images[seed, whole] = image
        if len(self._images) > MOST_IMAGES:
            self._images.popitem(last=False)
        return image

    def pixels(self, seed: int) -> tuple[npt.NDArray[np.uint8], bool] | None:
        """Planes (3, 40, 40) of a seed and whether they are cuts, not colours; None as for :meth:`get`."""
        session = self._session()
        found = None if session is None else session.thumbnails.find(seed)
        if found is None:
            return None
        table, row = found
        with self._lock:
            place = self._number(table), row // PAGE
            page = self._pages.get(place)
            if page is None:
                self._wish(place)
                return None
            self._pages.move_to_end(place)
        return page[row % PAGE], table.is_volume

    def changed(self) -> None:
        """Forget what was read: another project, or other thumbnails."""
        with self._lock:
            self._tables, self._ahead, self._n_bytes = [], [], 0
            for held in (self._pages, self._wanted, self._bad, self._reading):
                held.clear()
        self._images.clear()
        self._read_few_ahead()
        self.ready.emit()

    def _read_few_ahead(self) -> None:
        """Read thumbnails before anybody asks, where they are few."""
        session = self._session()
        table = None if session is None else session.thumbnails.tables.get(session.pool)
        if table is not None and len(table.seeds) * THUMB_BYTES <= FEW_BYTES:
            with self._lock:
                self._number(table)
                self._wake()

    @property
    def n_bytes(self) -> int:
        """Bytes of thumbnails held."""
        return self._n_bytes

    def close(self) -> None:
        """Stop reading."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    # -- reading ------------------------------------------------------------------------------
    def _number(self, table: ThumbTable) -> int:
        """Number of a table; a new one is read ahead when nobody waits."""
        for i, known in enumerate(self._tables):
            if known is table:
                return i
        self._tables.append(table)
        number = len(self._tables) - 1
        self._ahead += [(number, p) for p in range(-(-len(table.seeds) // PAGE))][::-1]
        return number

    def _wish(self, place: Place) -> None:
        if place in self._bad or self._closed:
            return
        self._wanted[place] = None
        self._wanted.move_to_end(place)
        if len(self._wanted) > N_WANTED:
            self._wanted.popitem(last=False)
        self._wake()

    def _wake(self) -> None:
        while len(self._threads) < N_READERS and not self._closed:
            self._threads.append(threading.Thread(target=self._read_on, name="seedlab-thumbs", daemon=True))
            self._threads[-1].start()
        self._lock.notify_all()

    def _next(self) -> tuple[Place, ThumbTable] | None:
        """What to read next; waits for a wish, None when closed."""
        while not self._closed:
            newest = reversed(self._wanted)  # each stays a wish until it is there
            place = next((p for p in newest if p not in self._reading), None)
            if place is None and self._ahead and self._n_bytes < MOST_BYTES:
                place = self._ahead.pop()
            if place is None:
                self._lock.wait()
            elif place in self._pages or place in self._bad:
                self._wanted.pop(place, None)
            elif place not in self._reading:
                self._reading.add(place)
                return place, self._tables[place[0]]
        return None

    def _read_on(self) -> None:
        while True:
            with self._lock:
                found = self._next()
            if found is None:
                return
            place, table = found
            page: npt.NDArray[np.uint8] | None = None
            try:
                page = np.ascontiguousarray(table.page(place[1]))
            except (SeedlabError, OSError) as error:
                logger.warning("thumbnails: %s", error)
            if not self._take(place, table, page):
                return

    def _take(self, place: Place, table: ThumbTable, page: npt.NDArray[np.uint8] | None) -> bool:
        """Keep a page and tell who waits for it; False when the window went away."""
        with self._lock:
            if place[0] >= len(self._tables) or self._tables[place[0]] is not table:
                return True  # of a project that was shown before
            wished = place in self._wanted
            self._wanted.pop(place, None)
            self._reading.discard(place)
            if page is None:
                self._bad.add(place)
                return True
            self._keep(place, page)
            tell = wished and not self._told
            self._told = self._told or tell
        try:
            if tell:
                self._came.emit()
        except RuntimeError:
            return False
        return True

    def _keep(self, place: Place, page: npt.NDArray[np.uint8]) -> None:
        self._pages[place] = page
        self._n_bytes += page.nbytes
        while self._n_bytes > MOST_BYTES:
            _, old = self._pages.popitem(last=False)
            self._n_bytes -= old.nbytes

    def _tell(self) -> None:
        with self._lock:
            self._told = False
        if not self._closed:
            self.ready.emit()


def _painted(planes: npt.NDArray[np.uint8], is_volume: bool, whole: bool) -> QImage:
    """A picture of planes (3, 40, 40)."""
    edge = planes.shape[-1]
    if not is_volume:
        data = np.ascontiguousarray(planes.transpose(1, 2, 0))
        return QImage(data.tobytes(), edge, edge, 3 * edge, QImage.Format.Format_RGB888).copy()
    grey = np.ascontiguousarray(planes if whole else planes[0]).reshape(-1, edge)
    return QImage(grey.tobytes(), edge, len(grey), edge, QImage.Format.Format_Grayscale8).copy()
