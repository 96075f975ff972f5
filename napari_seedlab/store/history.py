"""Taking edits back and doing them again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from napari_seedlab.core import Event, EventKind
from napari_seedlab.store import journal, queries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_seedlab.store.database import Database


class Append(Protocol):
    """Writes one event (see :meth:`Project.append`)."""

    def __call__(self, kind: EventKind, payload: Mapping[str, Any], annotator: str = "") -> Event:
        """Write it."""


class History:
    """The edits of a project that can be taken back or done again.

    Parameters
    ----------
    database : Database
    append : callable
        Writes an event.
    repaired : callable
        Told the scan whose region raster has to follow.
    """

    def __init__(self, database: Database, append: Append, repaired: Callable[[int], object]) -> None:
        self._database, self._append, self._repaired = database, append, repaired

    def history(self) -> tuple[list[Event], list[Event]]:
        """Edits that can be taken back, newest first, and edits that can be done again, next first."""
        with self._database.reading() as connection:
            done, undone = queries.history(connection)
            return [journal.get(connection, s) for s, _ in done], [
                journal.get(connection, s) for s, _ in undone
            ]

    def undo(self, annotator: str = "") -> Event | None:
        """Take the newest edit back; None when there is none, or it is somebody else's.

        The state before is restored, also where that was *no label*. Works across restarts.

        Parameters
        ----------
        annotator : str
            Who; an edit of another annotator is then never taken back. Empty takes any.
        """
        with self._database.reading() as connection:
            edit = queries.next_back(connection)
        if edit is None or annotator not in ("", edit[1]):
            return None
        return self._take_back(edit[0], annotator)

    def redo(self, annotator: str = "") -> Event | None:
        """Do the edit that was taken back last once more; None when there is none."""
        with self._database.reading() as connection:
            edit = queries.next_again(connection)
            if edit is None or annotator not in ("", edit[1]):
                return None
            undo = journal.last_undo_of(connection, edit[0])
        return self._take_back(undo, annotator)

    def edit_of(self, event: Event) -> Event:
        """The edit that an event takes back or does again; the event itself where it does neither."""
        with self._database.reading() as connection:
            return journal.resolve(connection, event)[0]

    def _take_back(self, sequence: int, annotator: str) -> Event:
        with self._database.reading() as connection:
            target = journal.get(connection, sequence)
            edit, _ = journal.resolve(connection, target)
        event = self._append(EventKind.UNDO, {"undoes": sequence, "uuid": target.uuid}, annotator)
        if edit.kind is EventKind.REPAIR:
            self._repaired(int(edit.payload["scan"]))
        return event
