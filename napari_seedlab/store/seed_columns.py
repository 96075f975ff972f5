"""What tables told of seeds: their lot, and columns of text or numbers. Nothing of it is a label."""

from __future__ import annotations

import json
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from sqlalchemy import delete, func, insert, inspect, select, update

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
Key = TypeVar("Key")


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
        self._shown: dict[str, tuple[dict[int, Fact], dict[int, int], dict[int, Fact]]] = {}

    def seed_columns(self) -> Columns:
        """By name of the column, in the order in which they came, the value of each seed that has one.

        A seed without one has that of the first seed that it took in, if any. A column that did not change is
        the same object as before.
        """
        with self._database.reading() as connection:
            told, keeper = self._told(connection), _keepers(connection)
        before, self._shown = self._shown, {}
        for name, cells in told.items():
            known = before.get(name)
            is_same = known is not None and known[0] is cells and known[1] == keeper
            self._shown[name] = known if known and is_same else (cells, keeper, _joined(cells, keeper))
        return {name: shown for name, (_, _, shown) in self._shown.items()}

    def _told(self, connection: Connection) -> Columns:
        """What tables told of each seed itself; texts that did not change are not parsed again."""
        before = self._known
        self._known = {
            name: before[name] if name in before and before[name][0] == text else (text, _parsed(text))
            for name, text in _texts(connection)
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
        if len(set(ids)) != len(ids) or all(set(map(type, c)) <= {NoneType} for c in _all(columns, lots)):
            raise InputError(source or "table", "tells nothing, or twice of a seed", "Check its rows")
        with self._database.reading() as connection:
            lot_of = _lots(connection, ids)
            known = self._told(connection)
        told: list[tuple[str, Any]] = []  # in their order
        for name, after in columns.items():
            told.append((name, {"after": list(after), "before": list(map(known.get(name, {}).get, ids))}))
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
    rows = connection.execute(select(schema.seeds.c.id, schema.seeds.c.lot)).tuples()
    found = dict(rows.all())
    for seed in seeds:
        if seed not in found:
            raise InputError(f"seed {seed}", "is not in this project", "Check the seed ids")
    return found


def read(connection: Connection) -> Columns:
    """What tables told of each seed itself, by column."""
    return {name: _parsed(text) for name, text in _texts(connection)}


def _keepers(connection: Connection) -> dict[int, int]:
    """The seed that each merged one is part of today, by the merged one, lowest first."""
    table = schema.seeds
    query = select(table.c.id, table.c.alias_of).where(table.c.alias_of.is_not(None)).order_by(table.c.id)
    alias = {int(row.id): int(row.alias_of) for row in connection.execute(query)}
    found = {}
    for seed, keeper in alias.items():
        while alias.get(keeper, keeper) < keeper:  # the lowest id survives a merge
            keeper = alias[keeper]
        found[seed] = keeper
    return found


def _joined(cells: dict[int, Fact], keeper: Mapping[int, int]) -> dict[int, Fact]:
    """A column in which seeds without a value have that of the first seed that they took in."""
    taken: dict[int, Fact] = {}
    for seed, kept in keeper.items():
        if seed in cells and kept not in cells:
            taken.setdefault(kept, cells[seed])
    return cells | taken if taken else cells


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
    keys = [str(seed) for seed in seeds]
    told = json.loads(blob["told"].tobytes())
    for name, cells in told["columns"]:
        _put_column(connection, str(name), _changes(keys, cells, side))
    if "lot" in told:
        rows = [(str(lot), seed) for seed, lot in _changes(seeds, told["lot"], side).items()]
        if rows:  # by the driver, which builds no statement for each row
            connection.exec_driver_sql("UPDATE seeds SET lot = ? WHERE id = ?", rows)


def _changes(keys: list[Key], cells: Mapping[str, list[Any]], side: str) -> dict[Key, Any]:
    """Seeds that the table names in this column, and what they have on one side of it."""
    after, values = cells["after"], cells[side]
    if not set(map(type, values)) <= {str, int, float, NoneType}:
        raise ValueError("a value is neither text nor a number")
    both = zip(keys, values, after, strict=True)
    return {key: value for key, value, told in both if told is not None}


def _put_column(connection: Connection, name: str, changes: dict[str, Any]) -> None:
    table = schema.seed_columns
    text = connection.scalar(select(table.c.cells).where(table.c.name == name))
    cells = {} if text is None else json.loads(text)
    cells.update(changes)
    if None in changes.values():
        cells = {key: value for key, value in cells.items() if value is not None}
    if not cells:
        connection.execute(delete(table).where(table.c.name == name))
    elif text is None:
        number = int(connection.scalar(select(func.max(table.c.number))) or 0) + 1
        connection.execute(insert(table).values(number=number, name=name, cells=_text(cells)))
    else:
        connection.execute(update(table).where(table.c.name == name).values(cells=_text(cells)))


def _text(cells: dict[str, Fact]) -> str:
    """Canonical JSON of a column, made without an object for each of its cells."""
    seeds = sorted(cells)
    values = json.dumps([cells[s] for s in seeds], separators=("\n", ""), allow_nan=False, ensure_ascii=False)
    pairs = zip(seeds, values[1:-1].split("\n"), strict=True)  # no text holds a line end unescaped
    return "{" + ",".join([f'"{seed}":{value}' for seed, value in pairs]) + "}"
