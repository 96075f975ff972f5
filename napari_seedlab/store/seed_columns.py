"""What tables told of seeds: their lot, and columns of text or numbers. Nothing of it is a label."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sqlalchemy import bindparam, delete, func, insert, inspect, select, update

from napari_seedlab.core import Event, EventKind, InputError, canonical_json
from napari_seedlab.store import schema

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from sqlalchemy import Connection

    from napari_seedlab.store.blobs import Blobs
    from napari_seedlab.store.database import Database
    from napari_seedlab.store.history import Append

Fact: TypeAlias = str | int | float
Columns: TypeAlias = dict[str, dict[int, Fact]]
BLOCK = 500  # seeds looked up at a time


class SeedColumns:
    """The facts of seeds in a project, read and added to.

    Parameters
    ----------
    database : Database
    blobs : Blobs
        Take what a table told, with what was known before.
    append : callable
        Writes an event.
    """

    def __init__(self, database: Database, blobs: Blobs, append: Append) -> None:
        self._database, self._blobs, self._append = database, blobs, append
        self._known: dict[str, tuple[str, dict[int, Fact]]] = {}  # what was read last, as text and parsed

    def seed_columns(self) -> Columns:
        """By name of the column, in the order in which they came, the value of each seed that has one.

        A column that did not change is the same object as before.
        """
        with self._database.reading() as connection:
            texts = _texts(connection)
        before = self._known
        self._known = {
            name: before[name] if name in before and before[name][0] == text else (text, _parsed(text))
            for name, text in texts
        }
        return {name: cells for name, (_, cells) in self._known.items()}

    def add_seed_table(
        self,
        seeds: Sequence[int],
        columns: Mapping[str, Sequence[Fact | None]],
        lots: Sequence[str | None] | None = None,
        source: str = "",
        annotator: str = "",
    ) -> Event:
        """Keep what a table tells of seeds, in one event that can be taken back as one.

        Parameters
        ----------
        seeds : sequence of int
            Each once.
        columns : mapping of str to sequence
            By name a value for each seed; None leaves what is known.
        lots : sequence of str, optional
            Lot of each seed; None leaves what is known.
        source : str
            What the table is called.
        annotator : str
            Who added it.

        Raises
        ------
        InputError
            A seed is not in the project, is named twice, or no value is given.
        """
        ids = [int(s) for s in seeds]
        if len(set(ids)) != len(ids) or not any(v is not None for c in _all(columns, lots) for v in c):
            raise InputError(source or "table", "tells nothing, or twice of a seed", "Check its rows")
        with self._database.reading() as connection:
            lot_of = _lots(connection, ids)
            known = read(connection)
        told: list[tuple[str, Any]] = []  # in their order
        for name, after in columns.items():
            cells = known.get(name, {})
            told.append((name, {"after": list(after), "before": [cells.get(s) for s in ids]}))
        value: dict[str, Any] = {"columns": told}
        if lots is not None:
            value["lot"] = {"after": list(lots), "before": [lot_of[s] for s in ids]}
        text = np.frombuffer(canonical_json(value).encode(), np.uint8)
        blob = self._blobs.put(seed=np.asarray(ids, np.int64), told=text)
        payload = {"table": blob, "columns": list(columns), "n": len(ids), "source": source}
        return self._append(EventKind.TABLE, payload | {"has_lot": lots is not None}, annotator)


def _all(
    columns: Mapping[str, Sequence[Fact | None]], lots: Sequence[str | None] | None
) -> list[Sequence[Fact | None]]:
    return [*columns.values(), *([lots] if lots is not None else [])]


def _lots(connection: Connection, seeds: list[int]) -> dict[int, str]:
    """Lot of some seeds; InputError for one that is not in the project."""
    table, found = schema.seeds, {}
    for i in range(0, len(seeds), BLOCK):
        query = select(table.c.id, table.c.lot).where(table.c.id.in_(seeds[i : i + BLOCK]))
        found.update({row.id: row.lot for row in connection.execute(query)})
    for seed in seeds:
        if seed not in found:
            raise InputError(f"seed {seed}", "is not in this project", "Check the seed ids")
    return found


def read(connection: Connection) -> Columns:
    """What is known of seeds, by column."""
    return {name: _parsed(text) for name, text in _texts(connection)}


def _texts(connection: Connection) -> list[tuple[str, str]]:
    """Name and cells of each column, in their order; nothing in a project of the first format."""
    table = schema.seed_columns
    if not inspect(connection).has_table(table.name):
        return []
    rows = connection.execute(select(table.c.name, table.c.cells).order_by(table.c.number))
    return [(row.name, row.cells) for row in rows]


def _parsed(text: str) -> dict[int, Fact]:
    return {int(seed): value for seed, value in json.loads(text).items()}


def put(connection: Connection, blob: Mapping[str, npt.NDArray[Any]], side: str) -> None:
    """Bring the tables to what a blob says of the time `before` or `after`; ValueError where it is none."""
    seeds = [int(s) for s in blob["seed"]]
    told = json.loads(blob["told"].tobytes())
    for name, cells in told["columns"]:
        _put_column(connection, str(name), _changes(seeds, cells, side))
    if "lot" in told:
        rows = [{"key": seed, "lot": str(lot)} for seed, lot in _changes(seeds, told["lot"], side)]
        statement = update(schema.seeds).where(schema.seeds.c.id == bindparam("key"))
        if rows:
            connection.execute(statement.values(lot=bindparam("lot")), rows)


def _changes(seeds: list[int], cells: Mapping[str, list[Any]], side: str) -> list[tuple[int, Any]]:
    """Seeds that the table names in this column, and what they have on one side of it."""
    both = zip(seeds, cells["after"], cells[side], strict=True)
    found = [(seed, value) for seed, after, value in both if after is not None]
    if any(isinstance(v, bool) or not isinstance(v, str | int | float | None) for _, v in found):
        raise ValueError("a value is neither text nor a number")
    return found


def _put_column(connection: Connection, name: str, changes: list[tuple[int, Any]]) -> None:
    table = schema.seed_columns
    text = connection.scalar(select(table.c.cells).where(table.c.name == name))
    cells = {} if text is None else json.loads(text)
    for seed, value in changes:
        if value is None:
            cells.pop(str(seed), None)
        else:
            cells[str(seed)] = value
    if not cells:
        connection.execute(delete(table).where(table.c.name == name))
    elif text is None:
        number = int(connection.scalar(select(func.max(table.c.number))) or 0) + 1
        connection.execute(insert(table).values(number=number, name=name, cells=canonical_json(cells)))
    else:
        connection.execute(update(table).where(table.c.name == name).values(cells=canonical_json(cells)))
