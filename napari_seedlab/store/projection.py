"""What the events amount to: the present scans, seeds, regions, labels, strokes and undo history.

Every event says what was before and what is after, so applying and taking back are the same
replacement in two directions, and replaying the journal gives the same tables.
"""

from __future__ import annotations

import json
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, exc, insert, select, update

from napari_seedlab.core import (
    Event,
    EventKind,
    InputError,
    LabelState,
    ProjectDamaged,
    answers_of,
    canonical_json,
)
from napari_seedlab.store import journal, schema, seed_columns
from napari_seedlab.store.folder import is_inside, plain_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Table

    from napari_seedlab.store.blobs import Blobs

UNDOABLE = (EventKind.LABEL, EventKind.REPAIR, EventKind.STROKE, EventKind.TABLE)
CLASSIFIERS = ("head", "net")  # only one of them is shown at a time
RESTORE = "Restore it from its origin"
SEED_COLUMNS = ("id", "lot", "archived", "alias_of")
LABEL_COLUMNS = ("seed", "state", "class_id", "sequence")
REGION_COLUMNS = ("region", "scan", "seed", *schema.BOX, *schema.CENTROID, "n_voxels")
ROWS = {
    "seeds": (schema.seeds, SEED_COLUMNS),
    "labels": (schema.labels, LABEL_COLUMNS),
    "regions": (schema.regions, REGION_COLUMNS),
}


def apply(connection: Connection, event: Event, blobs: Blobs) -> None:
    """Bring the tables from before `event` to after it."""
    _APPLY[event.kind](connection, event, blobs)
    if event.kind in UNDOABLE:
        connection.execute(delete(schema.history).where(schema.history.c.undone))
        connection.execute(
            insert(schema.history).values(sequence=event.sequence, annotator=event.annotator, undone=False)
        )


def record(
    connection: Connection, kind: EventKind, payload: Mapping[str, Any], by: tuple[str, str], blobs: Blobs
) -> Event:
    """Write the next event and what it changes; `by` is the annotator and the UTC time."""
    text = journal.payload_text(payload)
    sequence, prev_hash = journal.head(connection)
    name, utc = by
    fields = (sequence + 1, str(uuid.uuid4()), utc, name, str(kind))
    own = journal.hash_of(fields, text, prev_hash)
    event = Event(*fields[:4], EventKind(kind), json.loads(text), prev_hash, own)
    journal.add(connection, event, text)
    apply(connection, event, blobs)
    return event


def rebuild(connection: Connection, blobs: Blobs) -> None:
    """Draw all tables anew from the journal."""
    for table in schema.DRAWN:
        connection.execute(delete(table))
    for event in journal.read(connection):
        with usable(f"event {event.sequence}"):
            apply(connection, event, blobs)


@contextmanager
def usable(subject: str) -> Iterator[None]:
    """Tell in one line that what a journal says cannot be used: something is missing or of a wrong kind."""
    try:
        yield
    except exc.OperationalError:  # the drive, not what is written on it
        raise
    except InputError as error:
        raise ProjectDamaged(subject, f"cannot be used ({error})", RESTORE) from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, exc.StatementError) as error:
        line = str(getattr(error, "orig", None) or error)[:60]
        cause = f"cannot be used ({type(error).__name__}: {line})"
        raise ProjectDamaged(subject, cause, RESTORE) from error


def require_name(name: object) -> str:
    """Return `name` if it is a plain file name: what a journal says never leads out of the project."""
    return plain_name(name if isinstance(name, str) else "")


def raise_number(connection: Connection, name: str, at_least: int) -> None:
    """Make the next free number of `name` at least `at_least`."""
    table = schema.numbers
    known = connection.scalar(select(table.c.next).where(table.c.name == name))
    if known is None:
        connection.execute(insert(table).values(name=name, next=at_least))
    elif known < at_least:
        connection.execute(update(table).where(table.c.name == name).values(next=at_least))


def next_number(connection: Connection, name: str) -> int:
    """The next free number of `name`, from 1."""
    table = schema.numbers
    return int(connection.scalar(select(table.c.next).where(table.c.name == name)) or 1)


# -- one event kind each -------------------------------------------------------------------------
def _scan(connection: Connection, event: Event, blobs: Blobs) -> None:
    facts, source = canonical_json(event.payload["facts"]), canonical_json(event.payload["source"])
    copy = is_inside(event.payload["source"]["path"])
    if copy:
        require_name(copy)
    connection.execute(insert(schema.scans).values(id=event.payload["scan"], facts=facts, source=source))
    raise_number(connection, "scan", event.payload["scan"] + 1)


def _scheme(connection: Connection, event: Event, blobs: Blobs) -> None:
    kind, classes = event.payload["kind"], canonical_json(event.payload["classes"])
    connection.execute(delete(schema.schemes).where(schema.schemes.c.kind == kind))
    connection.execute(insert(schema.schemes).values(kind=kind, classes=classes))


def _split(connection: Connection, event: Event, blobs: Blobs) -> None:
    payload = event.payload
    scan, first, count = payload["scan"], payload["first_seed"], payload["n_new_seeds"]
    columns = blobs.get(payload["table"])
    connection.execute(delete(schema.regions).where(schema.regions.c.scan == scan))
    rows = region_rows(scan, columns)
    _insert(connection, "seeds", [(first + i, "", False, None) for i in range(count)])
    _insert(connection, "regions", rows)
    for seeds, archived in ((payload["archived"], True), (payload["revived"], False)):
        for block in _blocks(seeds):
            connection.execute(
                update(schema.seeds).where(schema.seeds.c.id.in_(block)).values(archived=archived)
            )
    connection.execute(delete(schema.rasters).where(schema.rasters.c.scan == scan))
    connection.execute(
        insert(schema.rasters).values(
            scan=scan,
            base=require_name(payload["raster"]["name"]),
            hash=payload["raster"]["hash"],
            split=event.sequence,
            applied=event.sequence,
        )
    )
    raise_number(connection, "seed", first + count)
    raise_number(connection, "region", max((row[0] for row in rows), default=0) + 1)
    _forget_repairs(connection, scan)


def region_rows(scan: int, columns: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Rows of the table `regions` from the columns of a region table."""
    box, centroid = columns["box"].tolist(), columns["centroid"].tolist()
    plain = (columns["region"].tolist(), columns["seed"].tolist(), columns["n_voxels"].tolist())
    return [
        (region, scan, seed, *b, *c, n)
        for region, seed, n, b, c in zip(*plain, box, centroid, strict=True)
    ]  # fmt: skip


def _forget_repairs(connection: Connection, scan: int) -> None:
    """Regions that are gone cannot be repaired back, nor can what lies below such an edit."""
    table = schema.history
    undone = {row.sequence: row.undone for row in connection.execute(select(table))}
    repairs = journal.read(connection, kinds=[EventKind.REPAIR])
    mine = [e.sequence for e in repairs if e.payload["scan"] == scan and e.sequence in undone]
    last_done = max((s for s in mine if not undone[s]), default=0)
    first_undone = min((s for s in mine if undone[s]), default=None)
    connection.execute(delete(table).where(~table.c.undone, table.c.sequence <= last_done))
    if first_undone is not None:
        connection.execute(delete(table).where(table.c.undone, table.c.sequence >= first_undone))


def _label(connection: Connection, event: Event, blobs: Blobs) -> None:
    _put_labels(connection, _said(event))


def _said(event: Event) -> list[tuple[int, str, int, int]]:
    return [(*answer, event.sequence) for answer in answers_of(event.payload)]


def _put_labels(connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
    _delete(connection, "labels", [row[0] for row in rows])
    _insert(connection, "labels", [row for row in rows if row[1] != LabelState.NONE])


def _repair(connection: Connection, event: Event, blobs: Blobs) -> None:
    for name in ROWS:
        _swap(connection, name, event.payload[name]["before"], event.payload[name]["after"], event.sequence)
    rows = event.payload
    raise_number(connection, "seed", max((r[0] for r in rows["seeds"]["after"]), default=0) + 1)
    raise_number(connection, "region", max((r[0] for r in rows["regions"]["after"]), default=0) + 1)


def _swap(
    connection: Connection, name: str, gone: Sequence[Sequence[Any]], new: Sequence[Sequence[Any]], own: int
) -> None:
    _delete(connection, name, [row[0] for row in (*gone, *new)])
    if name == "labels":  # 0 stands for the event itself
        new = [(*row[:3], row[3] or own) for row in new if row[1] != LabelState.NONE]
    _insert(connection, name, new)


def _stroke(connection: Connection, event: Event, blobs: Blobs) -> None:
    names = ("scan", "axis", "position", "blob")
    values = {name: event.payload[name] for name in names}
    connection.execute(insert(schema.strokes).values(sequence=event.sequence, **values))


def _undo(connection: Connection, event: Event, blobs: Blobs) -> None:
    target, forward = journal.resolve(connection, event)
    if forward:
        _APPLY[target.kind](connection, target, blobs)
    else:
        _TAKE_BACK[target.kind](connection, target, blobs)
    table = schema.history
    connection.execute(update(table).where(table.c.sequence == target.sequence).values(undone=not forward))


def _model(connection: Connection, event: Event, blobs: Blobs) -> None:
    payload, table = event.payload, schema.models
    if "activate" in payload:
        _activate(connection, payload["activate"])
        return
    card = payload["card"]
    kind, number = card["kind"], str(card["id"]).rpartition("-")[2]
    if number.isdecimal() and card["id"] == f"{kind}-{number}":  # an id of next_model_number
        raise_number(connection, f"model-{kind}", int(number) + 1)
    connection.execute(delete(table).where(table.c.id == card["id"]))
    connection.execute(
        insert(table).values(
            id=card["id"],
            kind=card["kind"],
            folder=require_name(payload["folder"]),
            card=canonical_json(card),
            files=canonical_json({require_name(name): digest for name, digest in payload["files"].items()}),
            active=False,
            sequence=event.sequence,
        )
    )


def _activate(connection: Connection, model_id: str) -> None:
    """Show one model; models of the same task and pool step back."""
    table = schema.models
    rows = {row.id: row for row in connection.execute(select(table))}
    chosen = rows.get(model_id)
    if chosen is None:
        return
    task = CLASSIFIERS if chosen.kind in CLASSIFIERS else (chosen.kind,)
    pool = json.loads(chosen.card)["config"].get("pool")
    for row in rows.values():
        if row.kind in task and json.loads(row.card)["config"].get("pool") == pool:
            connection.execute(update(table).where(table.c.id == row.id).values(active=row.id == model_id))


def _unlabel(connection: Connection, event: Event, blobs: Blobs) -> None:
    before = zip(event.payload["seeds"], event.payload["before"], strict=True)
    _put_labels(connection, [(seed, *row) for seed, row in before])


def _unrepair(connection: Connection, event: Event, blobs: Blobs) -> None:
    for name in ROWS:
        _swap(connection, name, event.payload[name]["after"], event.payload[name]["before"], event.sequence)


def _unstroke(connection: Connection, event: Event, blobs: Blobs) -> None:
    connection.execute(delete(schema.strokes).where(schema.strokes.c.sequence == event.sequence))


def _table(connection: Connection, event: Event, blobs: Blobs) -> None:
    seed_columns.put(connection, blobs.get(event.payload["table"]), "after")


def _untable(connection: Connection, event: Event, blobs: Blobs) -> None:
    seed_columns.put(connection, blobs.get(event.payload["table"]), "before")


# -- rows ----------------------------------------------------------------------------------------
def _blocks(values: Sequence[int], size: int = 500) -> Iterable[Sequence[int]]:
    return (values[i : i + size] for i in range(0, len(values), size))


def _delete(connection: Connection, name: str, keys: Sequence[int]) -> None:
    table, columns = ROWS[name]
    if keys:
        statement = delete(table).where(table.c[columns[0]] == bindparam("key"))
        connection.execute(statement, [{"key": key} for key in dict.fromkeys(keys)])


def _insert(connection: Connection, name: str, rows: Sequence[Sequence[Any]]) -> None:
    table, columns = ROWS[name]
    if rows:
        connection.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in rows])


def rows_of(connection: Connection, name: str, table: Table | None = None) -> list[tuple[Any, ...]]:
    """All rows of ``seeds``, ``labels`` or ``regions``, ordered by their key."""
    table, columns = ROWS[name]
    picked = [table.c[c] for c in columns]
    return [tuple(row) for row in connection.execute(select(*picked).order_by(picked[0]))]


_APPLY: dict[EventKind, Callable[[Connection, Event, Blobs], None]] = {
    EventKind.SCAN: _scan,
    EventKind.SCHEME: _scheme,
    EventKind.SPLIT: _split,
    EventKind.REPAIR: _repair,
    EventKind.LABEL: _label,
    EventKind.STROKE: _stroke,
    EventKind.UNDO: _undo,
    EventKind.MODEL: _model,
    EventKind.TABLE: _table,
}
_TAKE_BACK: dict[EventKind, Callable[[Connection, Event, Blobs], None]] = {
    EventKind.LABEL: _unlabel,
    EventKind.REPAIR: _unrepair,
    EventKind.STROKE: _unstroke,
    EventKind.TABLE: _untable,
}
