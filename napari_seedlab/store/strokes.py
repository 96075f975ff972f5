"""The strokes of a project, each read once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from napari_seedlab.store import schema
from napari_seedlab.store.records import Stroke

if TYPE_CHECKING:
    from napari_seedlab.store.blobs import Blobs
    from napari_seedlab.store.database import Database


class StrokeBook:
    """Reads strokes; those once read stay in memory, since they never change."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database, self._blobs = database, blobs
        self._known: dict[int, Stroke] = {}

    def on_scan(self, scan: int) -> list[Stroke]:
        """The strokes on a scan that were not taken back, oldest first."""
        table, events = schema.strokes, schema.events
        query = select(table, events.c.uuid).join(events, events.c.sequence == table.c.sequence)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(table.c.scan == scan).order_by(table.c.sequence)).all()
        return [self._known.get(row.sequence) or self._read(row) for row in rows]

    def _read(self, row: Any) -> Stroke:
        arrays = self._blobs.get(row.blob)
        stroke = Stroke(
            row.sequence, row.uuid, row.scan, row.axis, row.position, arrays["points"], arrays["classes"]
        )
        self._known[row.sequence] = stroke
        return stroke
