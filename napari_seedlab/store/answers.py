"""What was said about seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_seedlab.core import Event, EventKind, LabelState
from napari_seedlab.store import payloads, queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from napari_seedlab.core import Label
    from napari_seedlab.store.database import Database
    from napari_seedlab.store.history import Append


class Answers:
    """The answers of a project, read and given.

    Parameters
    ----------
    database : Database
    append : callable
        Writes an event.
    """

    def __init__(self, database: Database, append: Append) -> None:
        self._database, self._append = database, append

    def labels(self) -> dict[int, Label]:
        """The present answer about each seed that has one."""
        with self._database.reading() as connection:
            return queries.labels(connection)

    def label_facts(self) -> dict[int, dict[str, Any]]:
        """For each labelled seed `sequence`, `annotator`, `utc` and `suggestion` (or None)."""
        with self._database.reading() as connection:
            return queries.label_facts(connection)

    def label(
        self,
        seeds: Iterable[int],
        state: LabelState | str,
        class_id: int = 0,
        annotator: str = "",
        suggestion: Mapping[int, Mapping[str, Any]] | None = None,
        shown: Mapping[int, Mapping[Any, float]] | None = None,
    ) -> Event:
        """Say what seeds are, in one event.

        Parameters
        ----------
        seeds : iterable of int
            Seed ids; an alias stands for the seed it was merged into.
        state : LabelState
            ``labelled``, ``unsure``, ``not_whole``, or ``none`` to clear.
        class_id : int
            Grain class, for ``labelled`` only.
        annotator : str
            Who.
        suggestion : mapping of int to mapping, optional
            For seeds that were asked about: uuid, strategy, reason, inclusion_p, model_id.
        shown : mapping of int to mapping, optional
            For those seeds: the predicted chance per class id that was shown.
        """
        with self._database.reading() as connection:
            payload = payloads.label(connection, seeds, LabelState(state), class_id)
        payload |= {"suggestion": dict(suggestion or {}), "shown": dict(shown or {})}
        return self._append(EventKind.LABEL, payload, annotator)

    def label_many(
        self,
        answers: Sequence[tuple[Iterable[int], LabelState | str, int]],
        annotator: str = "",
        suggestion: Mapping[int, Mapping[str, Any]] | None = None,
        shown: Mapping[int, Mapping[Any, float]] | None = None,
    ) -> Event:
        """Say different things of different seeds in one event: all or nothing, taken back as one.

        Parameters
        ----------
        answers : sequence of (seeds, state, class id)
            As :meth:`label` takes them.
        annotator : str
            Who.
        suggestion, shown : mapping of int to mapping, optional
            As :meth:`label` takes them.

        Raises
        ------
        InputError
            A seed or class is not known, or two answers are about the same seed; nothing was written.
        """
        with self._database.reading() as connection:
            payload = payloads.label_many(connection, answers)
        payload |= {"suggestion": dict(suggestion or {}), "shown": dict(shown or {})}
        return self._append(EventKind.LABEL, payload, annotator)
