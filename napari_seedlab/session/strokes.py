"""Brush strokes: one sparse, durable edit each; the raster of a slice is built from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_seedlab.core import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_seedlab.session.session import Session
    from napari_seedlab.store import Project

UNKNOWN = -1


class Strokes:
    """The strokes of the project and the last predicted slice.

    Attributes
    ----------
    predicted : tuple or None
        (scan, axis, index, classes (y, x) uint8) of the last prediction.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self.predicted: tuple[int, int, int, npt.NDArray[np.uint8]] | None = None

    def add(self, scan: int, axis: int, index: int, points: npt.NDArray[np.int32], class_id: int) -> None:
        """Save one stroke and predict the slice from all strokes on it.

        Parameters
        ----------
        scan, axis, index : int
            The slice: scan id, axis cut across (0 = z), position in voxels.
        points : (m, 2) int32
            Painted pixels of the slice, row and column.
        class_id : int
            Tissue class, 0 background, -1 erases (unknown again).
        """
        session = self._session
        session.refuse_if_blocked()
        if class_id not in (UNKNOWN, 0, *session.tissues.ids):
            raise InputError(
                f"tissue class {class_id}", "is not in the class scheme", "Choose a listed class"
            )
        shape = session.scans[scan].facts.region_shape
        plane = tuple(n for a, n in enumerate(shape) if a != axis)
        points = np.asarray(points, np.int32).reshape(-1, 2)
        inside = ((points >= 0) & (points < np.asarray(plane))).all(1)
        points = points[inside]
        if not len(points):
            return
        classes = np.full(len(points), class_id, np.int8)

        def save(project: Project) -> dict[str, Any]:
            event = project.stroke(scan, axis, index, points, classes, session.annotator)
            session.strokes_changed.emit(scan, axis, index)
            session.saved.emit(event)
            _, known = self.on_slice(project, scan, axis, index)
            if len(np.unique(known)) > 1:
                session.predict_slice(scan, axis, index)
            else:
                session.message.emit("info", "Paint a second class, such as background, to see a prediction.")
            return {"event": event.uuid}

        session.desk.do_task("stroke", save)

    def on_slice(
        self, project: Project, scan: int, axis: int, index: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        """Known pixels of a slice: points (m, 2) and classes (m,), later strokes over earlier ones."""
        raster = self.raster(project, scan, axis, index)
        points = np.argwhere(raster != UNKNOWN).astype(np.int32)
        return points, raster[tuple(points.T)].astype(np.int8)

    def raster(self, project: Project, scan: int, axis: int, index: int) -> npt.NDArray[np.int8]:
        """All strokes of one slice painted in order, (rows, columns) int8, -1 = unknown."""
        shape = self._session.scans[scan].facts.region_shape
        out = np.full([n for a, n in enumerate(shape) if a != axis], UNKNOWN, np.int8)
        for stroke in project.strokes(scan):
            if (stroke.axis, stroke.index) == (axis, index):
                out[tuple(stroke.points.T)] = stroke.classes
        return out

    def fetch_raster(self, scan: int, axis: int, index: int) -> Any:
        """Future of :meth:`raster`, for a layer to show."""
        return self._session.desk.do(lambda project: self.raster(project, scan, axis, index))
